//! Metrics of the process: the log, and what TLS listeners need.

use super::{log::Log, tls::Tls};
use crate::metrics::{Kind, Metrics, Sampled, Value};

/// Adds the metrics of the log, and those of certificates if there is a TLS listener.
pub fn add_metrics(metrics: &Metrics, log: &Log, tls: Option<Tls>) {
    let log = log.clone();
    metrics.add(Sampled::one(
        "ipvsd_log_lines_lost",
        "Lines of the log that were lost, because standard error did not take them.",
        Kind::Counter,
        move || Value::Integer(log.lost()),
    ));
    let Some(tls) = tls else {
        return;
    };
    metrics.add(Sampled {
        name: "ipvsd_certificate_expiry_timestamp_seconds",
        help: "When the certificate or revocation list expires that expires first, by the key of the configuration.",
        kind: Kind::Gauge,
        unit: None,
        read: Box::new(move || {
            let expiries = tls.expiries().into_iter();
            let expiries = expiries.map(|(key, at)| {
                let labels = vec![("file", key.to_owned())];
                (labels, Value::Real(at as f64))
            });
            expiries.collect()
        }),
    });
}

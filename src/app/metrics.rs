//! Metrics of the daemon that are read from where they are kept.

use std::sync::Arc;

use crate::{
    audit::AuditLog,
    executor::Executor,
    metrics::{Kind, Metrics, Sampled, Value},
    sampling::Sampler,
};

/// The metrics of a daemon with this executor and this audit trail.
pub(super) fn sources(executor: &Executor, audit: &AuditLog, sampler: &Arc<Sampler>) -> Metrics {
    let metrics = Metrics::new(executor.metrics.clone());
    add_queues(&metrics, executor);
    let (watch, streams) = (executor.watch.clone(), sampler.clone());
    metrics.add(Sampled {
        name: "ipvsd_subscribers",
        help: "Clients that receive events.",
        kind: Kind::Gauge,
        unit: None,
        read: Box::new(move || {
            let kinds = [("watch", watch.watchers()), ("stats", streams.streams())];
            let kinds = kinds.into_iter().map(|(stream, count)| {
                let labels = vec![("stream", stream.to_owned())];
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                (labels, Value::Integer(count))
            });
            kinds.collect()
        }),
    });
    let streams = sampler.clone();
    metrics.add(Sampled::one(
        "ipvsd_stats_frames_skipped",
        "Frames of statistics streams that clients have skipped, because they did not read in time.",
        Kind::Counter,
        move || Value::Integer(streams.skipped()),
    ));
    let budget = executor.budget.clone();
    metrics.add(Sampled::one(
        "ipvsd_request_memory_bytes",
        "Memory of requests and responses in progress, of at most limits.max_memory_bytes.",
        Kind::Gauge,
        move || Value::Integer(u64::try_from(budget.used()).unwrap_or(u64::MAX)),
    ));
    let audit = audit.clone();
    metrics.add(Sampled::one(
        "ipvsd_audit_records_lost",
        "Records of the audit trail that were lost, because they could not be written in time.",
        Kind::Counter,
        move || Value::Integer(audit.lost()),
    ));
    metrics
}

/// Adds the metrics of the executor's queues.
fn add_queues(metrics: &Metrics, executor: &Executor) {
    let queues = |name, help, kind, of: fn((usize, u64)) -> u64| {
        let reader = executor.reader.clone();
        metrics.add(Sampled {
            name,
            help,
            kind,
            unit: None,
            read: Box::new(move || {
                let queues = reader.queues().into_iter();
                let queues = queues.map(|(queue, waiting, refused)| {
                    let labels = vec![("queue", queue.to_owned())];
                    (labels, Value::Integer(of((waiting, refused))))
                });
                queues.collect()
            }),
        });
    };
    queues(
        "ipvsd_executor_queue_length",
        "Requests that wait for the kernel.",
        Kind::Gauge,
        |(waiting, _)| u64::try_from(waiting).unwrap_or(u64::MAX),
    );
    queues(
        "ipvsd_executor_refused_requests",
        "Requests that were refused, because the queue was full.",
        Kind::Counter,
        |(_, refused)| refused,
    );
}

//! The registry of the daemon's own metrics.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::{prometheus_text, text},
    registry::{Registry, Unit},
};

use super::{
    Format, Histogram, KernelMetrics, RequestMetrics,
    process::ProcessMetrics,
    sampled::{Histograms, Kind, Labels, Sampled, Value},
};
use crate::version;

/// The metrics of the daemon.
#[derive(Debug)]
pub struct Metrics {
    requests: Arc<RequestMetrics>,
    kernel: Arc<KernelMetrics>,
    registry: Mutex<Registry>,
}

// === impl Metrics ===

impl Metrics {
    /// The metrics of a daemon with this executor.
    pub fn new(kernel: Arc<KernelMetrics>) -> Self {
        let requests = Arc::new(RequestMetrics::default());
        let mut registry = Registry::default();
        register_build(&mut registry);
        register_requests(&mut registry, &requests);
        register_kernel(&mut registry, &kernel);
        register_executor(&mut registry, &kernel);
        registry.register_collector(Box::new(ProcessMetrics));
        Self {
            requests,
            kernel,
            registry: Mutex::new(registry),
        }
    }

    /// Adds a family that is read when somebody scrapes.
    pub fn add(&self, family: Sampled) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(family));
    }

    /// Adds a histogram of durations.
    pub fn add_durations(&self, name: &'static str, help: &'static str, durations: Arc<Histogram>) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register_collector(Box::new(Histograms {
            name,
            help,
            unit: Some(Unit::Seconds),
            each: Box::new(move |see| see(Labels::new(), &durations)),
        }));
    }

    /// The counters of requests.
    pub fn requests(&self) -> &Arc<RequestMetrics> {
        &self.requests
    }

    /// The counters of the executor.
    pub fn kernel(&self) -> &Arc<KernelMetrics> {
        &self.kernel
    }

    /// The daemon's own families as text, without the end marker of OpenMetrics.
    ///
    /// # Errors
    /// Never fails: a text takes anything.
    pub fn encode(&self, format: Format) -> Result<String, fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        encode(&registry, format)
    }
}

/// The families of a registry as text, without the end marker of OpenMetrics.
pub(super) fn encode(registry: &Registry, format: Format) -> Result<String, fmt::Error> {
    let mut out = String::new();
    match format {
        Format::OpenMetrics => text::encode_registry(&mut out, registry)?,
        Format::Prometheus => prometheus_text::encode(&mut out, registry)?,
    }
    Ok(out)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

fn register_build(registry: &mut Registry) {
    let labels = [
        ("version", version::VERSION),
        ("commit", version::COMMIT),
        ("date", version::DATE),
    ];
    let labels = labels
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec();
    registry.register_collector(Box::new(Sampled {
        name: "ipvsd_build",
        help: "Version of ipvsd, the commit from which it was built, and the time of the commit.",
        kind: Kind::Info,
        unit: None,
        read: Box::new(move || vec![(labels.clone(), Value::Integer(1))]),
    }));
}

fn register_requests(registry: &mut Registry, requests: &Arc<RequestMetrics>) {
    for is_grpc in [false, true] {
        let (requests_name, latency_name, help) = match is_grpc {
            false => (
                "ipvsd_http_requests",
                "ipvsd_http_request_duration",
                "Requests over HTTP by method, route and status.",
            ),
            true => (
                "ipvsd_grpc_requests",
                "ipvsd_grpc_request_duration",
                "Calls over gRPC by method and status.",
            ),
        };
        let labels = move |method: &str, path: &str| {
            let mut labels: Labels = vec![("method", method.to_owned())];
            if !is_grpc {
                labels.push(("route", path.to_owned()));
            }
            labels
        };
        let counted = requests.clone();
        registry.register_collector(Box::new(Sampled {
            name: requests_name,
            help,
            kind: Kind::Counter,
            unit: None,
            read: Box::new(move || {
                let routes = counted.all(is_grpc).iter();
                let samples = routes.flat_map(|of| {
                    of.statuses().map(move |(status, count)| {
                        let mut labels = labels(&of.method, &of.path);
                        labels.push(("status", status));
                        (labels, Value::Integer(count))
                    })
                });
                samples.collect()
            }),
        }));
        let timed = requests.clone();
        registry.register_collector(Box::new(Histograms {
            name: latency_name,
            help: "Time from the head of a request to the head of its response.",
            unit: Some(Unit::Seconds),
            each: Box::new(move |see| {
                let routes = timed.all(is_grpc).iter();
                routes.for_each(|of| see(labels(&of.method, &of.path), &of.latency));
            }),
        }));
    }
    let failed = requests.clone();
    registry.register_collector(Box::new(Sampled {
        name: "ipvsd_authentication_failures",
        help: "Requests without a credential that need one, or with one that is not valid.",
        kind: Kind::Counter,
        unit: None,
        read: Box::new(move || labelled("credential", failed.failed_authentications())),
    }));
}

fn register_kernel(registry: &mut Registry, kernel: &Arc<KernelMetrics>) {
    let commands = kernel.clone();
    registry.register_collector(Box::new(Sampled {
        name: "ipvsd_kernel_commands",
        help: "Operations that were sent to the kernel, by result: ok, lost (no reply), not_sent, or an errno.",
        kind: Kind::Counter,
        unit: None,
        read: Box::new(move || {
            let samples = commands.commands().into_iter();
            let samples = samples.map(|(command, result, count)| {
                let labels = vec![("command", command.to_owned()), ("result", result)];
                (labels, Value::Integer(count))
            });
            samples.collect()
        }),
    }));
    let reads = kernel.clone();
    registry.register_collector(Box::new(Histograms {
        name: "ipvsd_kernel_read_duration",
        help: "Duration of reads of the kernel. A read of the query table is a dump of all services and servers.",
        unit: Some(Unit::Seconds),
        each: Box::new(move |see| {
            for (query, duration, _) in reads.reads() {
                see(vec![("query", query.to_owned())], duration);
            }
        }),
    }));
    let reads = kernel.clone();
    registry.register_collector(Box::new(Sampled {
        name: "ipvsd_kernel_read_errors",
        help: "Reads of the kernel that failed.",
        kind: Kind::Counter,
        unit: None,
        read: Box::new(move || labelled("query", reads.reads().map(|(query, _, n)| (query, n)))),
    }));
}

fn register_executor(registry: &mut Registry, kernel: &Arc<KernelMetrics>) {
    let batches = kernel.clone();
    registry.register_collector(Box::new(Histograms {
        name: "ipvsd_kernel_batch_operations",
        help: "Operations that are sent to the kernel together.",
        unit: None,
        each: Box::new(move |see| see(Labels::new(), batches.batches())),
    }));
    let cache = kernel.clone();
    registry.register_collector(Box::new(Sampled {
        name: "ipvsd_kernel_queries",
        help: "Queries by the origin of their results: a kept one (hit), the read of another query (shared), or a read (miss).",
        kind: Kind::Counter,
        unit: None,
        read: Box::new(move || labelled("cache", cache.cache())),
    }));
    let (retries, rebuilds) = (kernel.clone(), kernel.clone());
    let counters = [
        Sampled::one(
            "ipvsd_kernel_dump_retries",
            "Dumps that were repeated, because the table changed meanwhile.",
            Kind::Counter,
            move || Value::Integer(retries.dump_retries()),
        ),
        Sampled::one(
            "ipvsd_kernel_socket_rebuilds",
            "Netlink sockets that were closed and replaced, after an error or a change of the module or the namespace.",
            Kind::Counter,
            move || Value::Integer(rebuilds.socket_rebuilds()),
        ),
    ];
    for counter in counters {
        registry.register_collector(Box::new(counter));
    }
}

/// Samples with one label.
fn labelled(
    label: &'static str,
    samples: impl IntoIterator<Item = (&'static str, u64)>,
) -> Vec<(Labels, Value)> {
    let samples = samples.into_iter();
    let samples = samples.map(|(name, n)| (vec![(label, name.to_owned())], Value::Integer(n)));
    samples.collect()
}

//! What the process uses, by the names that Prometheus' clients have for it.

use std::fmt;

use procfs::{
    WithCurrentSystemInfo,
    process::{LimitValue, Process},
};
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::sampled::{Kind, Sampled, Value};

/// The families `process_*`.
#[derive(Debug)]
pub(super) struct ProcessMetrics;

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Without /proc, the other families are shown all the same.
        for (name, help, kind, value) in samples().unwrap_or_default() {
            let family = Sampled::one(name, help, kind, move || value);
            family.encode_into(&mut encoder)?;
        }
        Ok(())
    }
}

type Sample = (&'static str, &'static str, Kind, Value);

fn samples() -> procfs::ProcResult<Vec<Sample>> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = (stat.utime + stat.stime) as f64;
    let started = stat.starttime as f64 / procfs::ticks_per_second() as f64;
    let boot = procfs::boot_time_secs()? as f64;
    let mut samples = vec![
        (
            "process_cpu_seconds",
            "Total user and system CPU time spent in seconds.",
            Kind::Counter,
            Value::Real(ticks / procfs::ticks_per_second() as f64),
        ),
        (
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            Kind::Gauge,
            Value::Integer(stat.rss_bytes().get()),
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            Kind::Gauge,
            Value::Integer(stat.vsize),
        ),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            Kind::Gauge,
            Value::Real(boot + started),
        ),
        (
            "process_threads",
            "Number of OS threads in the process.",
            Kind::Gauge,
            Value::Integer(u64::try_from(stat.num_threads).unwrap_or_default()),
        ),
    ];
    if let Ok(open) = process.fd_count() {
        samples.push((
            "process_open_fds",
            "Number of open file descriptors.",
            Kind::Gauge,
            Value::Integer(open as u64),
        ));
    }
    // Without a limit, there is no number that both formats write.
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        samples.push((
            "process_max_fds",
            "Maximum number of open file descriptors.",
            Kind::Gauge,
            Value::Integer(most),
        ));
    }
    Ok(samples)
}

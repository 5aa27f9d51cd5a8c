//! Queries that read files below `/proc`.

use std::{collections::BTreeMap, io};

use super::{
    dump,
    query::{Source, TypedQuery},
    socket::Outcome,
};
use crate::{
    codec,
    kernel::Kernel,
    model::{
        ConnectionFilter, CountBy, Errno, Error, Op, Query, Rates, Reason, SETTINGS, SettingSpec,
        SettingValue, Settings, Stats,
    },
};

/// [`Query::Settings`]: those that this kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SettingsQuery;

/// [`Query::Estimation`]: whether the kernel refreshes counters and rates. Kernels without a setting
/// for it always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EstimationQuery;

/// [`Query::Totals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TotalsQuery;

/// [`Query::Totals`] as the kernel counts them with each packet, which are never zeroed; `None` on a kernel without
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CountedTotalsQuery;

/// [`Query::System`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SystemQuery;

/// [`Query::Connections`]: the connections that match `filter`, at most `limit`, in the kernel's
/// order.
#[derive(Clone, Debug)]
pub struct ConnectionsQuery {
    /// Which connections.
    pub filter: ConnectionFilter,
    /// The most connections; `None` for all.
    pub limit: Option<u64>,
}

/// [`Query::ConnectionCounts`]: the number of connections that match `filter` per group, the
/// largest group first.
#[derive(Clone, Debug)]
pub struct ConnectionCountsQuery {
    /// Which connections.
    pub filter: ConnectionFilter,
    /// What a group has in common.
    pub by: CountBy,
}

/// The kernel's release and its modules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Release, such as `6.1.0-37-amd64`; empty if the kernel has no such file.
    pub release: String,
    /// Names of the loaded modules; empty if the kernel has none or does not list them.
    pub modules: Vec<String>,
}

/// Directory of the settings below `/proc`.
const SETTINGS_DIRECTORY: &str = "sys/net/ipv4/vs/";
/// The path of a setting below `/proc`.
pub(super) fn setting_path(name: &str) -> String {
    format!("{SETTINGS_DIRECTORY}{name}")
}

/// Writes a setting.
pub(super) fn write_setting(kernel: &dyn Kernel, op: &Op) -> Outcome {
    let Op::SetSetting { name, text } = op else {
        return Outcome::NotSent;
    };
    match kernel.write(&setting_path(name), text) {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Rejected(errno(&error)),
    }
}

/// The errno of a failed write to a file.
fn errno(error: &io::Error) -> Errno {
    let of_kind = match error.kind() {
        io::ErrorKind::NotFound => libc::ENOENT,
        io::ErrorKind::PermissionDenied => libc::EACCES,
        io::ErrorKind::InvalidInput => libc::EINVAL,
        _ => libc::EIO,
    };
    Errno(error.raw_os_error().unwrap_or(of_kind))
}

// === impl TypedQuery ===

impl TypedQuery for SettingsQuery {
    type Answer = Settings;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Settings)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Settings, Error> {
        let settings = SETTINGS
            .iter()
            .filter_map(|spec| setting(source, spec).transpose());
        let settings = settings.collect::<Result<BTreeMap<_, _>, _>>()?;
        if settings.is_empty() {
            // The connection attempt has the better error if the kernel has no IPVS at all.
            source.socket.read(dump::info)?;
            return Err(Error::new(
                Reason::KernelUnavailable,
                "the IPVS settings cannot be read from /proc/sys/net/ipv4/vs",
            )
            .with_hint("they exist only in network namespaces of the initial user namespace"));
        }
        Ok(settings)
    }

    fn project(settings: &mut Settings, op: &Op) -> Result<(), Error> {
        if let Op::SetSetting { name, text } = op
            && let Some(spec) = SettingSpec::find(name)
        {
            settings.insert((*name).to_owned(), spec.parse(text));
        }
        Ok(())
    }
}

impl TypedQuery for EstimationQuery {
    type Answer = bool;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Estimation)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<bool, Error> {
        let run = source.file(&setting_path("run_estimation"))?;
        // Threads estimate, on these CPUs; an empty list stops them.
        let cpus = source.file(&setting_path("est_cpulist"))?;
        Ok(run.is_none_or(|run| run.trim() != "0")
            && cpus.is_none_or(|cpus| !cpus.trim().is_empty()))
    }
}

impl TypedQuery for TotalsQuery {
    type Answer = (Stats, Rates);

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Totals)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<(Stats, Rates), Error> {
        let text = source.file("net/ip_vs_stats")?;
        text.as_deref().and_then(codec::totals).ok_or_else(|| {
            Error::new(
                Reason::Internal,
                "the totals in /proc/net/ip_vs_stats cannot be read",
            )
        })
    }
}

impl TypedQuery for CountedTotalsQuery {
    type Answer = Option<Stats>;

    fn query(&self) -> Option<Query> {
        Some(Query::Totals)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Option<Stats>, Error> {
        let text = source.file("net/ip_vs_stats_percpu")?;
        Ok(text.as_deref().and_then(codec::counted_totals))
    }
}

impl TypedQuery for SystemQuery {
    type Answer = System;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::System)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<System, Error> {
        let release = source.file("sys/kernel/osrelease")?.unwrap_or_default();
        let modules = source.file("modules")?.unwrap_or_default();
        let names = modules.lines().filter_map(|line| line.split(' ').next());
        Ok(System {
            release: release.trim().to_owned(),
            modules: names.map(str::to_owned).collect(),
        })
    }
}

/// The value of a setting; `None` if this kernel does not have it.
fn setting(
    source: &Source<'_>,
    spec: &SettingSpec,
) -> Result<Option<(String, SettingValue)>, Error> {
    let text = source.file(&setting_path(spec.name))?;
    Ok(text.map(|text| (spec.name.to_owned(), spec.parse(&text))))
}

// === impl ConnectionsQuery, ConnectionCountsQuery ===

impl ConnectionsQuery {
    /// The query as a value of the closed set.
    pub fn query(&self) -> Query {
        Query::Connections
    }
}

impl ConnectionCountsQuery {
    /// The query as a value of the closed set.
    pub fn query(&self) -> Query {
        Query::ConnectionCounts
    }
}

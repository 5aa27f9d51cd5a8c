//! Typed queries: the type of a query determines the type of its result.

use std::{collections::BTreeMap, fmt::Debug, hash::Hash, io::Read, net::IpAddr, sync::Arc};

use super::{
    dump::{self, Interleave},
    reconnect::ReconnectingSocket,
};
use crate::{
    codec,
    kernel::Kernel,
    model::{
        ConnectionFilter, CountBy, Errno, Error, Info, Op, Query, Rates, Reason, SETTINGS, Server,
        Service, ServiceEntry, ServiceKey, SettingSpec, Settings, Stats, SyncDaemon, SyncState,
        Timeouts,
    },
};

/// A query of the executor's thread.
pub trait TypedQuery: Clone + Debug + Eq + Hash + Send + 'static {
    /// The result.
    type Answer: Clone + Debug + Send + Sync + 'static;

    /// Whether results may be kept for requests that accept some age. Results of queries with
    /// parameters are not kept: there may be many, and each is cheap to read again.
    const CACHED: bool = false;

    /// The query as a value of the closed set.
    fn query(&self) -> Option<Query>;

    /// Reads the result from the kernel.
    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error>;

    /// Changes a result as executing `op` would, for a dry run. Fails as the kernel would.
    fn project(_answer: &mut Self::Answer, _op: &Op) -> Result<(), Error> {
        Ok(())
    }
}

/// What a query reads from.
pub struct Source<'a> {
    pub(super) kernel: &'a dyn Kernel,
    pub(super) socket: &'a mut ReconnectingSocket,
    pub(super) interleave: &'a mut Interleave<'a>,
}

/// Reads nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nothing;

/// [`Query::Info`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InfoQuery;

/// [`Query::Timeouts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeoutsQuery;

/// [`Query::SyncDaemons`], the master first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncDaemonsQuery;

/// [`Query::Services`]: entries without servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServicesQuery;

/// [`Query::Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableQuery;

/// [`Query::Service`]; `None` if it does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceQuery(pub ServiceKey);

/// [`Query::ServiceWithServers`]; `None` if it does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceWithServersQuery(pub ServiceKey);

/// [`Query::Servers`]; `None` if the service does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServersQuery(pub ServiceKey);

/// [`Query::Settings`]: those that this kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SettingsQuery;

/// [`Query::Estimation`]: whether the kernel refreshes counters and rates. Kernels without the
/// setting always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EstimationQuery;

/// [`Query::Totals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TotalsQuery;

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
    /// Release, such as `6.1.0-37-amd64`; empty if it cannot be read.
    pub release: String,
    /// Names of the loaded modules; empty if the kernel has none or does not list them.
    pub modules: Vec<String>,
}

/// Directory of the settings below `/proc`.
const SETTINGS_DIRECTORY: &str = "sys/net/ipv4/vs/";
/// The most that is read of a small file. The longest setting is a list of CPUs.
const MAX_SMALL_FILE: u64 = 64 << 10;

/// The path of a setting below `/proc`.
pub(super) fn setting_path(name: &str) -> String {
    format!("{SETTINGS_DIRECTORY}{name}")
}

// === impl Source ===

impl Source<'_> {
    /// The text of a small file below `/proc`; `None` if it cannot be read.
    pub(super) fn file(&self, path: &str) -> Option<String> {
        let mut text = String::new();
        let file = self.kernel.open(path).ok()?;
        file.take(MAX_SMALL_FILE).read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// Names of the loaded modules.
    pub(super) fn modules(&self) -> Vec<String> {
        let text = self.file("modules").unwrap_or_default();
        let names = text.lines().filter_map(|line| line.split(' ').next());
        names.map(str::to_owned).collect()
    }

    fn setting(&self, spec: &SettingSpec) -> Option<(String, crate::model::SettingValue)> {
        let text = self.file(&setting_path(spec.name))?;
        Some((spec.name.to_owned(), spec.parse(&text)))
    }
}

// === impl TypedQuery ===

impl TypedQuery for Nothing {
    type Answer = ();

    fn query(&self) -> Option<Query> {
        None
    }

    fn fetch(&self, _source: &mut Source<'_>) -> Result<(), Error> {
        Ok(())
    }
}

impl TypedQuery for InfoQuery {
    type Answer = Info;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Info)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Info, Error> {
        source.socket.read(dump::info)
    }
}

impl TypedQuery for TimeoutsQuery {
    type Answer = Timeouts;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Timeouts)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Timeouts, Error> {
        source.socket.read(dump::timeouts)
    }

    fn project(timeouts: &mut Timeouts, op: &Op) -> Result<(), Error> {
        if let Op::SetTimeouts(new) = op {
            *timeouts = *new;
        }
        Ok(())
    }
}

impl TypedQuery for SyncDaemonsQuery {
    type Answer = Vec<SyncDaemon>;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::SyncDaemons)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Vec<SyncDaemon>, Error> {
        source.socket.read(dump::sync_daemons)
    }

    fn project(daemons: &mut Vec<SyncDaemon>, op: &Op) -> Result<(), Error> {
        match op {
            Op::StopSyncDaemon(state) => daemons.retain(|daemon| daemon.state != *state),
            Op::StartSyncDaemon(config) => {
                // The header of a message leaves this much of an Ethernet frame.
                let longest = match config.multicast_group {
                    IpAddr::V4(_) => 1472,
                    IpAddr::V6(_) => 1452,
                };
                daemons.push(SyncDaemon {
                    state: config.state,
                    interface: config.interface,
                    sync_id: config.sync_id,
                    max_length: config.max_length.unwrap_or(longest),
                    multicast_group: config.multicast_group,
                    multicast_port: config.multicast_port,
                    multicast_ttl: config.multicast_ttl,
                });
                daemons.sort_unstable_by_key(|daemon| daemon.state == SyncState::Backup);
            }
            _ => {}
        }
        Ok(())
    }
}

impl TypedQuery for ServicesQuery {
    type Answer = Arc<Vec<ServiceEntry>>;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Services)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        let interleave = &mut *source.interleave;
        source
            .socket
            .read(|socket| dump::services_alone(socket, interleave))
            .map(Arc::new)
    }
}

impl TypedQuery for TableQuery {
    type Answer = Arc<Vec<ServiceEntry>>;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Table)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        let interleave = &mut *source.interleave;
        source
            .socket
            .read(|socket| dump::table(socket, interleave))
            .map(Arc::new)
    }
}

impl TypedQuery for ServiceQuery {
    type Answer = Option<Arc<ServiceEntry>>;

    fn query(&self) -> Option<Query> {
        Some(Query::Service(self.0))
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        let mut found = source
            .socket
            .read(|socket| dump::services_by_key(socket, &[self.0]))?;
        Ok(found.pop().flatten().map(Self::entry))
    }
}

impl ServiceQuery {
    /// The result for a service that exists.
    pub(super) fn entry(service: Service) -> Arc<ServiceEntry> {
        Arc::new(ServiceEntry {
            service,
            servers: Vec::new(),
        })
    }
}

impl TypedQuery for ServiceWithServersQuery {
    type Answer = Option<Arc<ServiceEntry>>;

    fn query(&self) -> Option<Query> {
        Some(Query::ServiceWithServers(self.0))
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        let interleave = &mut *source.interleave;
        source
            .socket
            .read(|socket| dump::service_with_servers(socket, self.0, interleave))
            .map(|entry| entry.map(Arc::new))
    }

    fn project(entry: &mut Self::Answer, op: &Op) -> Result<(), Error> {
        let result = match (op, entry.as_mut().map(Arc::make_mut)) {
            (Op::CreateService(key, config), None) => {
                *entry = Some(ServiceQuery::entry(Service {
                    key: *key,
                    config: *config,
                    stats: Stats::default(),
                    rates: Rates::default(),
                }));
                Ok(())
            }
            (Op::CreateService(..), Some(_)) => Err(Errno::EEXIST),
            (Op::DeleteService(_), Some(_)) => {
                *entry = None;
                Ok(())
            }
            (Op::SetService(_, config), Some(entry)) => {
                entry.service.config = *config;
                Ok(())
            }
            (op, Some(entry)) => project_servers(&mut entry.servers, op),
            (_, None) => Err(Errno::ESRCH),
        };
        result.map_err(|errno| codec::rejected(op, errno, true))
    }
}

impl TypedQuery for ServersQuery {
    type Answer = Option<Arc<Vec<Server>>>;

    fn query(&self) -> Option<Query> {
        Some(Query::Servers(self.0))
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Self::Answer, Error> {
        let interleave = &mut *source.interleave;
        source
            .socket
            .read(|socket| dump::servers(socket, self.0, interleave))
            .map(|servers| servers.map(Arc::new))
    }

    fn project(servers: &mut Self::Answer, op: &Op) -> Result<(), Error> {
        let result = match servers {
            Some(servers) => project_servers(Arc::make_mut(servers), op),
            None => Err(Errno::ESRCH),
        };
        result.map_err(|errno| codec::rejected(op, errno, true))
    }
}

/// Changes the servers of a service as executing `op` would, or fails as the kernel would.
fn project_servers(servers: &mut Vec<Server>, op: &Op) -> Result<(), Errno> {
    let position = |key| servers.iter().position(|server: &Server| server.key == key);
    match op {
        Op::CreateServer(_, key, config) => {
            if position(*key).is_some() {
                return Err(Errno::EEXIST);
            }
            let server = Server {
                key: *key,
                config: *config,
                active_connections: 0,
                inactive_connections: 0,
                persistent_connections: 0,
                stats: Stats::default(),
                rates: Rates::default(),
            };
            // The kernel inserts a new server before the others.
            servers.insert(0, server);
        }
        Op::SetServer(_, key, config) => {
            let position = position(*key).ok_or(Errno::ENOENT)?;
            servers[position].config = *config;
        }
        Op::DeleteServer(_, key) => {
            let position = position(*key).ok_or(Errno::ENOENT)?;
            servers.remove(position);
        }
        _ => {}
    }
    Ok(())
}

impl TypedQuery for SettingsQuery {
    type Answer = Settings;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Settings)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<Settings, Error> {
        let settings = SETTINGS.iter().filter_map(|spec| source.setting(spec));
        let settings: BTreeMap<_, _> = settings.collect();
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
        let text = source.file(&setting_path("run_estimation"));
        Ok(text.is_none_or(|text| text.trim() != "0"))
    }
}

impl TypedQuery for TotalsQuery {
    type Answer = (Stats, Rates);

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::Totals)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<(Stats, Rates), Error> {
        let text = source.file("net/ip_vs_stats");
        text.as_deref().and_then(codec::totals).ok_or_else(|| {
            Error::new(
                Reason::Internal,
                "the totals in /proc/net/ip_vs_stats cannot be read",
            )
        })
    }
}

impl TypedQuery for SystemQuery {
    type Answer = System;

    const CACHED: bool = true;

    fn query(&self) -> Option<Query> {
        Some(Query::System)
    }

    fn fetch(&self, source: &mut Source<'_>) -> Result<System, Error> {
        let release = source.file("sys/kernel/osrelease").unwrap_or_default();
        Ok(System {
            release: release.trim().to_owned(),
            modules: source.modules(),
        })
    }
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

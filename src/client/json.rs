//! The daemon's JSON, and its conversion into types of the model. Unknown fields are ignored.

use std::{net::Ipv4Addr, sync::Arc};

use serde::{Deserialize, Deserializer, de};

use crate::model::{
    Checksum, ConnectionProtocol, ConnectionService, Endpoint, Forwarding, HealthCheck, Hold, Kept,
    Labels, Membership, Name, Netmask, Rates, SchedulerFlags, Server, ServerConfig, ServerKey,
    Service, ServiceConfig, ServiceEntry, ServiceKey, Stats, StoredFields, SyncDaemon, Tunnel,
    TunnelType,
};

/// Daemon and kernel information (`GET /v1/info`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Info {
    /// Version of ipvsd.
    pub version: String,
    /// The commit from which it was built, with `-dirty` at the end if the sources differed from it, or `unknown`;
    /// `None` of a daemon that does not say it.
    pub commit: Option<String>,
    /// Time of the commit (RFC 3339), or `unknown`; `None` of a daemon that does not say it.
    pub build_date: Option<String>,
    /// Managed network namespace; `None` for the daemon's own.
    pub namespace: Option<String>,
    /// The kernel.
    pub kernel: Kernel,
    /// Schedulers that mainline kernels have.
    pub schedulers: Vec<Scheduler>,
    /// Persistence engines that are loaded.
    pub persistence_engines: Vec<String>,
}

/// Kernel information.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Kernel {
    /// `netlink`, or `fake` for the in-memory simulator.
    pub kind: String,
    /// Release, such as `6.1.0-37-amd64`.
    pub release: String,
    /// Version of IPVS, such as `1.2.1`.
    pub ipvs_version: String,
    /// Buckets of the connection table; 0 if a kernel that resizes it has none yet.
    pub connection_table_size: u32,
    /// Whether the kernel estimates rates (settings `run_estimation` and `est_cpulist`). If not, counters and rates do
    /// not change.
    pub estimation: bool,
    /// Optional features: `conntrack`, `debug`, `estimation_threads`, `resizable_tables`.
    pub features: Vec<String>,
}

/// A scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Scheduler {
    /// The kernel's name, such as `wlc`.
    pub name: String,
    /// Whether its module is loaded. The kernel loads a module on first use.
    pub loaded: bool,
}

/// Totals, and the services and servers with the highest values (`GET /v1/stats`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StatsReport {
    /// Counters of all services since the last zero, deleted services included.
    pub stats: Stats,
    /// Rates of all services.
    pub rates: Rates,
    /// Whether the kernel estimates rates, see [`Kernel::estimation`].
    pub estimation: bool,
    /// Number of virtual services.
    pub service_count: u64,
    /// Number of real servers; one server of two services counts twice.
    pub server_count: u64,
    /// Established connections of all services.
    pub active_connections: u64,
    /// Other connections of all services.
    pub inactive_connections: u64,
    /// The first services in the requested order.
    pub top_services: Vec<TopService>,
    /// The first servers in the requested order.
    pub top_servers: Vec<TopServer>,
}

/// A virtual service in a [`StatsReport`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TopService {
    /// Id of the service.
    pub id: ServiceKey,
    /// Counters.
    pub stats: Stats,
    /// Rates.
    pub rates: Rates,
}

/// A real server in a [`StatsReport`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TopServer {
    /// Id of the service.
    pub service: ServiceKey,
    /// Id of the server.
    pub id: ServerKey,
    /// Established connections.
    pub active_connections: u32,
    /// Other connections.
    pub inactive_connections: u32,
    /// Counters.
    pub stats: Stats,
    /// Rates.
    pub rates: Rates,
}

/// An entry of the kernel's connection table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Connection {
    /// Protocol; `ip` for the template of a firewall mark.
    #[serde(deserialize_with = "from_text")]
    pub protocol: ConnectionProtocol,
    /// The client; masked and with port 0 in a template.
    pub client: Endpoint,
    /// The virtual service.
    #[serde(
        rename = "virtual",
        alias = "fwmark",
        deserialize_with = "connection_service"
    )]
    pub service: ConnectionService,
    /// The real server.
    pub destination: Endpoint,
    /// The kernel's name of the state, such as `ESTABLISHED`.
    pub state: String,
    /// Whether this is a persistence template.
    #[serde(default)]
    pub template: bool,
    /// Whether this is a template that directs no connections.
    #[serde(default)]
    pub invalidated: bool,
    /// Seconds until the entry expires if no packet arrives.
    pub expires_in_seconds: u32,
    /// Persistence engine, if one has data for this entry.
    pub persistence_engine: Option<String>,
    /// Data of the persistence engine; for `sip` the Call-ID.
    pub persistence_data: Option<String>,
}

/// The number of connections in a group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ConnectionCount {
    /// The value that the connections have in common: a protocol, an address, a state.
    pub group: String,
    /// Number of connections.
    pub count: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct ConnectionCounts {
    pub counts: Vec<ConnectionCount>,
}

/// A page of services.
#[derive(Debug, Deserialize)]
pub(super) struct ServicePage {
    #[serde(deserialize_with = "entries")]
    pub services: Vec<ServiceEntry>,
}

/// A page of real servers, or the servers that a write has created.
#[derive(Debug, Deserialize)]
pub(super) struct ServerPage {
    #[serde(deserialize_with = "servers")]
    pub servers: Vec<Server>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SyncDaemons {
    pub sync_daemons: Vec<SyncDaemon>,
}

/// The response to a clearance.
#[derive(Debug, Deserialize)]
pub(super) struct Deleted {
    pub deleted: u64,
}

/// The token of the next page.
#[derive(Debug, Deserialize)]
pub(super) struct NextPage {
    pub next_page_token: Option<String>,
}

/// Whether a write has changed the kernel; a field of each response to a write.
#[derive(Debug, Deserialize)]
pub(super) struct Changed {
    pub changed: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct ServiceJson {
    id: ServiceKey,
    scheduler: Name,
    scheduler_flags: Vec<String>,
    one_packet: bool,
    persistence: Option<PersistenceJson>,
    #[serde(default, deserialize_with = "netmask")]
    netmask: Option<Netmask>,
    persistence_engine: Option<Name>,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    health_check: Option<Arc<HealthCheck>>,
    #[serde(default)]
    servers: Vec<ServerJson>,
    #[serde(default)]
    stats: Stats,
    #[serde(default)]
    rates: Rates,
}

#[derive(Debug, Deserialize)]
struct PersistenceJson {
    timeout_seconds: u32,
    #[serde(deserialize_with = "netmask")]
    netmask: Option<Netmask>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ServerJson {
    id: ServerKey,
    forwarding: Forwarding,
    weight: u32,
    upper_threshold: u32,
    lower_threshold: u32,
    tunnel: Option<TunnelJson>,
    effective_weight: Option<u32>,
    #[serde(default)]
    holds: Vec<Hold>,
    membership: Option<String>,
    /// The servers of declared tables have no connections.
    #[serde(default)]
    active_connections: u32,
    #[serde(default)]
    inactive_connections: u32,
    #[serde(default)]
    persistent_connections: u32,
    #[serde(default)]
    stats: Stats,
    #[serde(default)]
    rates: Rates,
}

#[derive(Debug, Deserialize)]
struct TunnelJson {
    #[serde(rename = "type")]
    kind: TunnelType,
    port: Option<u16>,
    checksum: Checksum,
}

pub(super) fn entries<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<ServiceEntry>, D::Error> {
    let services = Vec::<ServiceJson>::deserialize(deserializer)?;
    Ok(services.into_iter().map(ServiceEntry::from).collect())
}

fn servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Server>, D::Error> {
    let servers = Vec::<ServerJson>::deserialize(deserializer)?;
    Ok(servers.into_iter().map(Server::from).collect())
}

/// The value of `virtual` or of `fwmark`.
fn connection_service<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<ConnectionService, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Json {
        Address(Endpoint),
        Fwmark(u32),
    }
    Ok(match Json::deserialize(deserializer)? {
        Json::Address(address) => ConnectionService::Address(address),
        Json::Fwmark(mark) => ConnectionService::Fwmark(mark),
    })
}

fn from_text<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<T, D::Error>
where
    T: std::str::FromStr<Err = crate::model::Error>,
{
    let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
    text.parse().map_err(de::Error::custom)
}

fn netmask<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Netmask>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let mask = text.parse::<Ipv4Addr>().map(Netmask::V4);
    mask.or_else(|_| text.parse().map(Netmask::V6))
        .map(Some)
        .map_err(|_| de::Error::custom(format_args!("{text:?} is not a netmask")))
}

// === impl ServiceEntry ===

impl From<ServiceJson> for ServiceEntry {
    fn from(json: ServiceJson) -> Self {
        let ServiceJson {
            id,
            scheduler,
            scheduler_flags,
            one_packet,
            persistence,
            netmask,
            persistence_engine,
            labels,
            health_check,
            servers,
            stats,
            rates,
        } = json;
        let flags = SchedulerFlags::parse(&scheduler_flags, scheduler.as_str());
        let (timeout, mask) = match persistence {
            Some(persistence) => (Some(persistence.timeout_seconds), persistence.netmask),
            None => (None, netmask),
        };
        Self {
            service: Service {
                key: id,
                config: ServiceConfig {
                    scheduler,
                    scheduler_flags: flags.unwrap_or_default(),
                    one_packet,
                    persistence_timeout: timeout,
                    netmask: mask.unwrap_or(Netmask::full(id.family())),
                    persistence_engine,
                },
                stats,
                rates,
                kept: Kept::storing(
                    &None,
                    StoredFields {
                        labels,
                        health_check,
                    },
                ),
            },
            servers: servers.into_iter().map(Server::from).collect(),
        }
    }
}

// === impl Server ===

fn membership_of(word: &str) -> Option<Membership> {
    let found = Membership::WORDS.iter().find(|(name, _)| *name == word);
    found.map(|(_, membership)| *membership)
}

impl From<ServerJson> for Server {
    fn from(json: ServerJson) -> Self {
        let ServerJson {
            id,
            forwarding,
            weight,
            upper_threshold,
            lower_threshold,
            tunnel,
            effective_weight,
            holds,
            membership,
            active_connections,
            inactive_connections,
            persistent_connections,
            stats,
            rates,
        } = json;
        let tunnel = tunnel.map(|tunnel| Tunnel {
            kind: tunnel.kind,
            port: tunnel.port.unwrap_or(0),
            checksum: tunnel.checksum,
        });
        Self {
            key: id,
            config: ServerConfig {
                forwarding,
                weight,
                upper_threshold,
                lower_threshold,
                tunnel: tunnel.unwrap_or_default(),
            },
            // A daemon before 0.2 holds no weights.
            effective_weight: effective_weight.unwrap_or(weight),
            membership: membership.as_deref().and_then(membership_of),
            holds: Some(holds).filter(|holds| !holds.is_empty()).map(Arc::from),
            active_connections,
            inactive_connections,
            persistent_connections,
            stats,
            rates,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn unknown_fields_of_a_newer_daemon_are_ignored() {
        let service: ServiceJson = serde_json::from_str(
            r#"{"id":"tcp-192.0.2.1-80","scheduler":"sh","scheduler_flags":["sh-port"],
                "one_packet":false,"persistence":{"timeout_seconds":60,"netmask":"255.255.255.0",
                "new":1},"owner":"k8s","labels":{"a":"b"},"etag":"t-0","servers":[{
                "id":"10.0.0.1-80","forwarding":"tunnel","weight":1,"upper_threshold":0,
                "lower_threshold":0,"tunnel":{"type":"gue","port":6080,"checksum":"none","new":[]},
                "active_connections":1,"inactive_connections":2,"persistent_connections":3,
                "health":null}]}"#,
        )
        .unwrap();
        let entry = ServiceEntry::from(service);
        assert_eq!(entry.service.config.persistence_timeout, Some(60));
        assert_eq!(entry.service.config.scheduler_flags.bits(), 0x10);
        assert_eq!(entry.servers[0].config.tunnel.port, 6080);
    }
}

//! What the daemon sends, as the model's own types.

use std::net::Ipv4Addr;

use serde::{Deserialize, Deserializer, de};

use crate::model::{
    Checksum, ConnectionProtocol, Endpoint, Forwarding, Name, Netmask, Rates, SchedulerFlags,
    Server, ServerConfig, ServerKey, Service, ServiceConfig, ServiceEntry, ServiceKey, Stats,
    SyncDaemon, Tunnel, TunnelType,
};

/// What the daemon tells of itself and its kernel, in part.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Info {
    /// Version of ipvsd.
    pub version: String,
    /// Network namespace that is managed, where it is not the daemon's own.
    pub namespace: Option<String>,
    /// The kernel.
    pub kernel: Kernel,
    /// Schedulers.
    pub schedulers: Vec<Scheduler>,
    /// Persistence engines that are loaded.
    pub persistence_engines: Vec<String>,
}

/// The kernel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Kernel {
    /// `netlink` or `fake`.
    pub kind: String,
    /// Its release.
    pub release: String,
    /// Version of its IPVS.
    pub ipvs_version: String,
    /// Buckets of the connection table.
    pub connection_table_size: u32,
    /// Whether it estimates.
    pub estimation: bool,
    /// Optional features.
    pub features: Vec<String>,
}

/// A scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Scheduler {
    /// Its name.
    pub name: String,
    /// Whether its module is loaded.
    pub loaded: bool,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Connection {
    /// Its protocol.
    #[serde(deserialize_with = "from_text")]
    pub protocol: ConnectionProtocol,
    /// The client.
    pub client: Endpoint,
    /// The virtual service.
    #[serde(rename = "virtual")]
    pub virtual_address: Endpoint,
    /// The real server.
    pub destination: Endpoint,
    /// The kernel's name of its state.
    pub state: String,
    /// Seconds until it is dropped.
    pub expires_in_seconds: u32,
    /// Persistence engine.
    pub persistence_engine: Option<String>,
    /// Its data.
    pub persistence_data: Option<String>,
}

/// A page of services.
#[derive(Debug, Deserialize)]
pub(super) struct ServicePage {
    #[serde(deserialize_with = "entries")]
    pub services: Vec<ServiceEntry>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SyncDaemons {
    pub sync_daemons: Vec<SyncDaemon>,
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
struct ServerJson {
    id: ServerKey,
    forwarding: Forwarding,
    weight: u32,
    upper_threshold: u32,
    lower_threshold: u32,
    tunnel: Option<TunnelJson>,
    active_connections: u32,
    inactive_connections: u32,
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

fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ServiceEntry>, D::Error> {
    let services = Vec::<ServiceJson>::deserialize(deserializer)?;
    Ok(services.into_iter().map(ServiceEntry::from).collect())
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
            },
            servers: servers.into_iter().map(Server::from).collect(),
        }
    }
}

// === impl Server ===

impl From<ServerJson> for Server {
    fn from(json: ServerJson) -> Self {
        let ServerJson {
            id,
            forwarding,
            weight,
            upper_threshold,
            lower_threshold,
            tunnel,
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
            active_connections,
            inactive_connections,
            persistent_connections,
            stats,
            rates,
        }
    }
}

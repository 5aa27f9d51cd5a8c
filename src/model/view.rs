//! Resources in responses, with the same fields in JSON and gRPC.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::{
    Checksum, Etag, Family, Forwarding, HealthCheck, Hold, Kept, KeptFields, Labels, Membership,
    Name, Netmask, Owner, Protocol, Rates, Server, ServerConfig, ServerKey, Service, ServiceConfig,
    ServiceEntry, ServiceKey, Stats, StoredFields, StoredTarget, SyncDaemon, TargetService, Tunnel,
    TunnelType, scheduler::NamedFlags,
};

/// The optional parts of services in a response (query parameter `include`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Include {
    /// Real servers. Default yes.
    pub servers: bool,
    /// Counters. Default no.
    pub stats: bool,
    /// Rates. Default no.
    pub rates: bool,
}

/// A virtual service.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ServiceView<'a> {
    /// Id, a URL path segment: `tcp-192.0.2.1-80`, `udp-2001:db8::1-53`, `fwmark-7`, `fwmark6-7`.
    pub id: ServiceKey,
    /// Transport protocol: `tcp`, `udp` or `sctp`; a number if another program set another protocol.
    /// Absent with `fwmark`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Virtual address. Absent with `fwmark`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Port; 0 for any. Absent with `fwmark`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Firewall mark. Absent with `address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<u32>,
    /// Address family of the packets with this `fwmark`. Absent with `address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Scheduler by the kernel's name.
    pub scheduler: Name,
    /// Flags of the scheduler.
    scheduler_flags: NamedFlags,
    /// One-packet scheduling: each packet is scheduled separately, except of flows that were in the
    /// connection table when it was turned on.
    pub one_packet: bool,
    /// Persistence. Absent if the service is not persistent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Netmask that the kernel stores for a service without persistence. Absent if it is full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netmask: Option<Netmask>,
    /// Persistence engine. Absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence_engine: Option<Name>,
    /// Owner of the table that declares the service; `_unmanaged` if none does. Absent in a description of what
    /// is to be, and if it is not known, because the daemon serves without its store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a str>,
    /// Labels. Absent without any, except in a declaration of none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<&'a Labels>,
    /// The health check. Absent without one, except in a declaration of none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check: Option<Option<&'a HealthCheck>>,
    /// Real servers in the kernel's order, newest first; schedulers use this order. Absent unless
    /// included.
    #[serde(skip_serializing_if = "Option::is_none")]
    servers: Option<ServerViews<'a>>,
    /// Number of real servers. Absent unless they are included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_count: Option<usize>,
    /// Counters. Absent unless included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<&'a Stats>,
    /// Rates. Absent unless included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<&'a Rates>,
    /// ETag of the configuration, for `If-Match`. Covers the servers if they are included.
    pub etag: Etag,
}

/// Persistence of a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Persistence {
    /// Seconds for which a client is bound to its server after its last connection.
    pub timeout_seconds: u32,
    /// The part of a client's address that identifies it: dotted quad for IPv4, prefix length for
    /// IPv6.
    pub netmask: Netmask,
}

/// A real server of a virtual service.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ServerView<'a> {
    /// Id within the service, a URL path segment.
    pub id: ServerKey,
    /// Address.
    pub address: IpAddr,
    /// Port; 0 keeps the packet's destination port.
    pub port: u16,
    /// Forwarding method: `masquerade`, `tunnel` or `direct`; `local` and `bypass` are set by the
    /// kernel.
    pub forwarding: Forwarding,
    /// Capacity relative to the other servers, as it is intended. A server of weight 0 receives no new
    /// connections.
    pub weight: u32,
    /// Number of connections above which the server receives no new ones; 0: no limit.
    pub upper_threshold: u32,
    /// Number of connections below which the server receives new ones again; 0: three quarters of
    /// `upper_threshold`.
    pub lower_threshold: u32,
    /// Encapsulation. Only with `forwarding` `tunnel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelView>,
    /// The weight in the kernel. Another than `weight` while there are holds.
    pub effective_weight: u32,
    /// The holds on the weight. Absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<&'a [Hold]>,
    /// `removing`: the table of the service does not declare the server any more. `fallback`: the daemon has added it.
    /// Absent of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<Membership>,
    /// Current connections in state ESTABLISHED.
    pub active_connections: u32,
    /// Current connections in other states.
    pub inactive_connections: u32,
    /// Current persistence templates.
    pub persistent_connections: u32,
    /// Counters. Absent unless included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stats: Option<&'a Stats>,
    /// Rates. Absent unless included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rates: Option<&'a Rates>,
    /// ETag of the configuration, for `If-Match`.
    pub etag: Etag,
}

/// The configuration of a real server. A [`ServerView`] without connections and counters.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ServerConfigView {
    /// As in [`ServerView`].
    pub id: ServerKey,
    /// As in [`ServerView`].
    pub address: IpAddr,
    /// As in [`ServerView`].
    pub port: u16,
    /// As in [`ServerView`].
    pub forwarding: Forwarding,
    /// As in [`ServerView`].
    pub weight: u32,
    /// As in [`ServerView`].
    pub upper_threshold: u32,
    /// As in [`ServerView`].
    pub lower_threshold: u32,
    /// As in [`ServerView`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelView>,
    /// As in [`ServerView`]; `None` for a server that is only declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
}

/// Encapsulation of packets to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TunnelView {
    /// Encapsulation: `ipip`, `gue` or `gre`.
    #[serde(rename = "type")]
    pub kind: TunnelType,
    /// UDP port. Only with `gue`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Checksum: `none`, `checksum` or `remote`.
    pub checksum: Checksum,
}

/// A running sync daemon.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SyncDaemonView {
    /// The daemon.
    #[serde(flatten)]
    pub daemon: SyncDaemon,
    /// ETag, for `If-Match`.
    pub etag: Etag,
}

#[derive(Clone, Copy, Debug)]
struct ServerViews<'a>(&'a [Server], Include);

// === impl Include ===

impl Include {
    /// None of the parts: configuration alone.
    pub const NONE: Self = Self {
        servers: false,
        stats: false,
        rates: false,
    };
}

impl Default for Include {
    fn default() -> Self {
        Self {
            servers: true,
            stats: false,
            rates: false,
        }
    }
}

// === impl ServiceView ===

impl<'a> ServiceView<'a> {
    /// The view of a configuration.
    pub fn of_config(key: ServiceKey, config: &ServiceConfig) -> Self {
        let (protocol, address, port, fwmark, family) = match key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => (Some(protocol), Some(address), Some(port), None, None),
            ServiceKey::Fwmark { family, mark } => (None, None, None, Some(mark), Some(family)),
        };
        Self {
            id: key,
            protocol,
            address,
            port,
            fwmark,
            family,
            scheduler: config.scheduler,
            scheduler_flags: NamedFlags(config.scheduler_flags, config.scheduler),
            one_packet: config.one_packet,
            persistence: config
                .persistence_timeout
                .map(|timeout_seconds| Persistence {
                    timeout_seconds,
                    netmask: config.netmask,
                }),
            netmask: (config.persistence_timeout.is_none() && !config.netmask.is_full())
                .then_some(config.netmask),
            persistence_engine: config.persistence_engine,
            owner: None,
            labels: None,
            health_check: None,
            servers: None,
            server_count: None,
            stats: None,
            rates: None,
            etag: Service::etag_of(key, config, StoredFields::NONE),
        }
    }

    /// The view of a configuration with what is kept about the service.
    pub fn with_kept(key: ServiceKey, config: &ServiceConfig, kept: &'a KeptFields) -> Self {
        Self {
            owner: Kept::owner(kept).map(Owner::as_str),
            ..Self::storing(key, config, Kept::stored(kept))
        }
    }

    /// The view of a configuration with stored fields.
    pub fn storing(key: ServiceKey, config: &ServiceConfig, stored: &'a StoredFields) -> Self {
        Self {
            labels: Some(&stored.labels).filter(|labels| !labels.is_empty()),
            health_check: stored.health_check.as_deref().map(Some),
            etag: Service::etag_of(key, config, stored),
            ..Self::of_config(key, config)
        }
    }

    /// The view of a declared service without its servers.
    pub fn declared(target: &'a TargetService) -> Self {
        let StoredTarget {
            labels,
            health_check,
        } = &target.stored;
        let stored = target.stored.over(StoredFields::NONE);
        Self {
            labels: labels.as_ref(),
            health_check: health_check.as_ref().map(Option::as_deref),
            etag: Service::etag_of(target.key, &target.config, &stored),
            ..Self::of_config(target.key, &target.config)
        }
    }

    /// The view of a service without its servers.
    pub fn bare(service: &'a Service, include: Include) -> Self {
        Self {
            stats: include.stats.then_some(&service.stats),
            rates: include.rates.then_some(&service.rates),
            ..Self::with_kept(service.key, &service.config, &service.kept)
        }
    }

    /// The view of a service, with its servers if they are included.
    pub fn new(entry: &'a ServiceEntry, include: Include) -> Self {
        Self::of(&entry.service, &entry.servers, include)
    }

    /// The view of a service with these servers, if they are included.
    pub fn of(service: &'a Service, servers: &'a [Server], include: Include) -> Self {
        let bare = Self::bare(service, include);
        if !include.servers {
            return bare;
        }
        Self {
            servers: Some(ServerViews(servers, include)),
            server_count: Some(servers.len()),
            etag: service.etag_with(servers),
            ..bare
        }
    }

    /// The names of the scheduler flags.
    pub fn scheduler_flags(&self) -> impl Iterator<Item = &'static str> {
        self.scheduler_flags.0.names(self.scheduler)
    }

    /// The servers, if they are included.
    pub fn servers(&self) -> Option<impl Iterator<Item = ServerView<'a>>> {
        let ServerViews(servers, include) = self.servers?;
        Some(
            servers
                .iter()
                .map(move |server| ServerView::new(server, include)),
        )
    }
}

// === impl ServerView ===

impl<'a> ServerView<'a> {
    /// The view of a server.
    pub fn new(server: &'a Server, include: Include) -> Self {
        let config = &server.config;
        Self {
            id: server.key,
            address: server.key.address,
            port: server.key.port,
            forwarding: config.forwarding,
            weight: config.weight,
            upper_threshold: config.upper_threshold,
            lower_threshold: config.lower_threshold,
            tunnel: TunnelView::of(config),
            effective_weight: server.effective_weight,
            holds: server.holds.as_deref(),
            membership: server.membership,
            active_connections: server.active_connections,
            inactive_connections: server.inactive_connections,
            persistent_connections: server.persistent_connections,
            stats: include.stats.then_some(&server.stats),
            rates: include.rates.then_some(&server.rates),
            etag: server.etag(),
        }
    }
}

// === impl ServerConfigView ===

impl ServerConfigView {
    /// The view of a configuration.
    pub fn new(key: ServerKey, config: &ServerConfig) -> Self {
        Self {
            etag: Some(Server::etag_of(key, config)),
            ..Self::declared(key, config)
        }
    }

    /// The view of a configuration that is declared.
    pub fn declared(key: ServerKey, config: &ServerConfig) -> Self {
        Self {
            id: key,
            address: key.address,
            port: key.port,
            forwarding: config.forwarding,
            weight: config.weight,
            upper_threshold: config.upper_threshold,
            lower_threshold: config.lower_threshold,
            tunnel: TunnelView::of(config),
            etag: None,
        }
    }
}

// === impl TunnelView ===

impl TunnelView {
    /// The encapsulation of a server; `None` unless its forwarding method is tunneling.
    pub fn of(config: &ServerConfig) -> Option<Self> {
        let Tunnel {
            kind,
            port,
            checksum,
        } = config.tunnel;
        (config.forwarding == Forwarding::Tunnel).then_some(Self {
            kind,
            port: (port != 0).then_some(port),
            checksum,
        })
    }
}

impl Serialize for ServerViews<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|server| ServerView::new(server, self.1)))
    }
}

// === impl SyncDaemonView ===

impl From<SyncDaemon> for SyncDaemonView {
    fn from(daemon: SyncDaemon) -> Self {
        Self {
            daemon,
            etag: daemon.etag(),
        }
    }
}

//! The shapes of answers, with the same names and meanings in every protocol.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::{
    Checksum, Etag, Family, Forwarding, Name, Netmask, Protocol, Rates, Server, ServerConfig,
    ServerKey, Service, ServiceEntry, ServiceKey, Stats, SyncDaemon, Tunnel, TunnelType,
    scheduler::NamedFlags,
};

/// What an answer about services tells beside their configuration (`?include=`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Include {
    /// The real servers; default yes.
    pub servers: bool,
    /// Counters; default no.
    pub stats: bool,
    /// Rates; default no.
    pub rates: bool,
}

/// A virtual service.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Service)]
pub struct ServiceView<'a> {
    /// Id, one URL segment: `tcp-192.0.2.1-80`, `udp-2001:db8::1-53`, `fwmark-7`, `fwmark6-7`.
    #[schema(value_type = String, example = "tcp-192.0.2.1-80")]
    pub id: ServiceKey,
    /// Transport protocol: `tcp`, `udp` or `sctp`; a number for one that only another program can
    /// have set. Absent with `fwmark`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "tcp")]
    pub protocol: Option<Protocol>,
    /// Virtual address. Absent with `fwmark`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "192.0.2.1")]
    pub address: Option<IpAddr>,
    /// Port; 0 for any. Absent with `fwmark`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 80)]
    pub port: Option<u16>,
    /// Firewall mark, of a service that is named by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<u32>,
    /// Family of the packets with this `fwmark`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Scheduler, by the kernel's name.
    #[schema(value_type = String, example = "wlc")]
    pub scheduler: Name,
    /// Flags of the scheduler, by name.
    #[schema(value_type = Vec<super::schema::SchedulerFlag>)]
    scheduler_flags: NamedFlags,
    /// One-packet scheduling.
    pub one_packet: bool,
    /// Persistence; absent: not persistent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Netmask that the kernel keeps for a service that is not persistent, where it is not full.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub netmask: Option<Netmask>,
    /// Persistence engine; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub persistence_engine: Option<Name>,
    /// Real servers, in the kernel's order, which schedulers use: the newest first. Absent where
    /// they were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<ServerView<'_>>>)]
    servers: Option<ServerViews<'a>>,
    /// How many real servers; absent where they were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_count: Option<usize>,
    /// Counters; absent where they were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Stats>)]
    pub stats: Option<&'a Stats>,
    /// Rates; absent where they were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Rates>)]
    pub rates: Option<&'a Rates>,
    /// Fingerprint of the configuration, for `If-Match`: with the servers where they are told.
    #[schema(value_type = String, example = "t-0123456789abcdef")]
    pub etag: Etag,
}

/// Persistence of a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Persistence {
    /// Seconds that a client is remembered after its last connection.
    #[schema(example = 300)]
    pub timeout_seconds: u32,
    /// How much of a client's address counts: dotted quad for IPv4, prefix length for IPv6.
    #[schema(value_type = String, example = "255.255.255.255")]
    pub netmask: Netmask,
}

/// A real server of a virtual service.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Server)]
pub struct ServerView<'a> {
    /// Id within the service, one URL segment.
    #[schema(value_type = String, example = "192.168.10.1-80")]
    pub id: ServerKey,
    /// Address.
    #[schema(value_type = String, example = "192.168.10.1")]
    pub address: IpAddr,
    /// Port; 0 for the one that the client asked for.
    #[schema(example = 80)]
    pub port: u16,
    /// How packets reach it: `masquerade`, `tunnel`, `direct`; `local` and `bypass` are set by the
    /// kernel.
    #[schema(value_type = String, example = "masquerade")]
    pub forwarding: Forwarding,
    /// Capacity relative to the others; 0 takes no new connections.
    pub weight: u32,
    /// Connections above which it gets no new ones; 0: no limit.
    pub upper_threshold: u32,
    /// Connections below which it gets new ones again; 0: three quarters of the upper one.
    pub lower_threshold: u32,
    /// How packets are encapsulated; with `forwarding` `tunnel` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelView>,
    /// Established connections, now.
    pub active_connections: u32,
    /// Connections in other states, now.
    pub inactive_connections: u32,
    /// Persistence templates, now.
    pub persistent_connections: u32,
    /// Counters; absent where they were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Stats>)]
    pub stats: Option<&'a Stats>,
    /// Rates; absent where they were not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Rates>)]
    pub rates: Option<&'a Rates>,
    /// Fingerprint of the configuration, for `If-Match`.
    #[schema(value_type = String, example = "r-0123456789abcdef")]
    pub etag: Etag,
}

/// A tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Tunnel)]
pub struct TunnelView {
    /// Encapsulation: `ipip`, `gue` or `gre`.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "gue")]
    pub kind: TunnelType,
    /// UDP port; with `gue` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Checksums: `none`, `checksum` or `remote`.
    #[schema(value_type = String, example = "none")]
    pub checksum: Checksum,
}

/// A sync daemon.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SyncDaemonState)]
pub struct SyncDaemonView {
    /// What runs.
    #[serde(flatten)]
    pub daemon: SyncDaemon,
    /// Fingerprint, for `If-Match`.
    #[schema(value_type = String, example = "r-0123456789abcdef")]
    pub etag: Etag,
}

#[derive(Clone, Copy, Debug)]
struct ServerViews<'a>(&'a [Server], Include);

// === impl Include ===

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
    /// The view of a service whose servers were not read.
    pub fn bare(service: &'a Service, include: Include) -> Self {
        let (protocol, address, port, fwmark, family) = match service.key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => (Some(protocol), Some(address), Some(port), None, None),
            ServiceKey::Fwmark { family, mark } => (None, None, None, Some(mark), Some(family)),
        };
        let config = &service.config;
        Self {
            id: service.key,
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
            servers: None,
            server_count: None,
            stats: include.stats.then_some(&service.stats),
            rates: include.rates.then_some(&service.rates),
            etag: service.etag(),
        }
    }

    /// The view of a service with its servers, where they are included.
    pub fn new(entry: &'a ServiceEntry, include: Include) -> Self {
        let bare = Self::bare(&entry.service, include);
        if !include.servers {
            return bare;
        }
        Self {
            servers: Some(ServerViews(&entry.servers, include)),
            server_count: Some(entry.servers.len()),
            etag: entry.etag(),
            ..bare
        }
    }

    /// The scheduler's flags by name.
    pub fn scheduler_flags(&self) -> impl Iterator<Item = &'static str> {
        self.scheduler_flags.0.names(self.scheduler)
    }

    /// The servers, where they are told.
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
            active_connections: server.active_connections,
            inactive_connections: server.inactive_connections,
            persistent_connections: server.persistent_connections,
            stats: include.stats.then_some(&server.stats),
            rates: include.rates.then_some(&server.rates),
            etag: server.etag(),
        }
    }
}

// === impl TunnelView ===

impl TunnelView {
    /// The tunnel of a server, where it is reached by one.
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

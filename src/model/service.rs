//! Virtual services and their configuration.

use std::hash::Hash as _;

use serde::{Deserialize, Serialize};

use super::{
    Etag, EtagScope, Family, Kept, KeptFields, Labels, Name, Netmask, Rates, SchedulerFlags,
    Server, ServiceKey, Stats, StoredFields,
};

/// A virtual service as read from the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Protocol, address and port, or firewall mark.
    pub key: ServiceKey,
    /// Configuration.
    pub config: ServiceConfig,
    /// Counters since the last zero.
    pub stats: Stats,
    /// Rates per second.
    pub rates: Rates,
    /// What the daemon keeps about it.
    pub kept: KeptFields,
}

/// A virtual service with its real servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceEntry {
    /// The service.
    pub service: Service,
    /// Its real servers in the kernel's order, newest first. Schedulers use this order.
    pub servers: Vec<Server>,
}

/// The configuration of a virtual service. `IPVS_CMD_SET_SERVICE` replaces all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServiceConfig {
    /// Scheduler, by the kernel's name (manual: -s). Default `wlc`.
    pub scheduler: Name,
    /// Flags of the scheduler. Default none.
    pub scheduler_flags: SchedulerFlags,
    /// One-packet scheduling (manual: -o). Flows in the connection table keep their server until
    /// their entry expires. Default off.
    pub one_packet: bool,
    /// Persistence timeout in seconds (manual: -p). Default `None`: not persistent.
    pub persistence_timeout: Option<u32>,
    /// The part of a client's address that identifies it for persistence (manual: -M). Default all
    /// of it. The kernel also stores the netmask of a service without persistence, where it has no
    /// effect.
    pub netmask: Netmask,
    /// Persistence engine (ipvsadm: --pe). Default none. The kernel also stores the engine of a
    /// service without persistence.
    pub persistence_engine: Option<Name>,
}

// === impl ServiceConfig ===

impl ServiceConfig {
    /// The manual's default scheduler.
    pub const DEFAULT_SCHEDULER: &str = "wlc";
    /// The manual's default persistence timeout in seconds.
    pub const DEFAULT_TIMEOUT: u32 = 300;
    /// The longest persistence timeout in seconds: ipvsadm's limit of 31 days. The kernel
    /// multiplies the value by HZ in 32 bits without an overflow check. This limit is safe for HZ
    /// up to 1000.
    pub const MAX_TIMEOUT: u32 = 86_400 * 31;

    /// The defaults of a service of this family.
    pub fn new(family: Family) -> Self {
        Self {
            scheduler: const { Name::from_kernel(Self::DEFAULT_SCHEDULER.as_bytes()) },
            scheduler_flags: SchedulerFlags::default(),
            one_packet: false,
            persistence_timeout: None,
            netmask: Netmask::full(family),
            persistence_engine: None,
        }
    }
}

// === impl Service ===

impl Service {
    /// A service without traffic.
    pub fn idle(key: ServiceKey, config: ServiceConfig) -> Self {
        Self {
            key,
            config,
            stats: Stats::default(),
            rates: Rates::default(),
            kept: None,
        }
    }

    /// The ETag of the configuration without the servers.
    pub fn etag(&self) -> Etag {
        Self::etag_of(self.key, &self.config, self.stored())
    }

    /// The fields that the daemon stores.
    pub fn stored(&self) -> &StoredFields {
        Kept::stored(&self.kept)
    }

    /// The labels that the daemon stores.
    pub fn labels(&self) -> &Labels {
        Kept::labels(&self.kept)
    }

    /// The ETag of this configuration.
    pub fn etag_of(key: ServiceKey, config: &ServiceConfig, stored: &StoredFields) -> Etag {
        Etag::of(EtagScope::Service, &(key, config, stored))
    }

    /// The ETag of the configuration with the servers.
    pub fn etag_with(&self, servers: &[Server]) -> Etag {
        Etag::compute(EtagScope::ServiceWithServers, |hasher| {
            (self.key, self.config, self.stored()).hash(hasher);
            for server in servers.iter().filter(|server| !server.is_fallback()) {
                (server.key, server.config).hash(hasher);
            }
        })
    }
}

// === impl ServiceEntry ===

impl ServiceEntry {
    /// The servers that somebody has configured: without those that the daemon has added.
    pub fn configured(&self) -> impl DoubleEndedIterator<Item = &Server> {
        self.servers.iter().filter(|server| !server.is_fallback())
    }

    /// The ETag of the configuration with the servers.
    pub fn etag(&self) -> Etag {
        self.service.etag_with(&self.servers)
    }
}

//! Everything that this process can do to a kernel, and everything that it can ask of it.

use super::{
    Name, ServerConfig, ServerKey, ServiceConfig, ServiceKey, SyncState, Timeouts,
    sync_daemon::SyncDaemonConfig,
};

/// A change. Each is one netlink command, which the kernel does or refuses whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `IPVS_CMD_NEW_SERVICE` (ipvsadm -A).
    CreateService(ServiceKey, ServiceConfig),
    /// `IPVS_CMD_SET_SERVICE` (ipvsadm -E): replaces the whole configuration.
    SetService(ServiceKey, ServiceConfig),
    /// `IPVS_CMD_DEL_SERVICE` (ipvsadm -D), with its real servers.
    DeleteService(ServiceKey),
    /// `IPVS_CMD_NEW_DEST` (ipvsadm -a).
    CreateServer(ServiceKey, ServerKey, ServerConfig),
    /// `IPVS_CMD_SET_DEST` (ipvsadm -e): replaces the whole configuration.
    SetServer(ServiceKey, ServerKey, ServerConfig),
    /// `IPVS_CMD_DEL_DEST` (ipvsadm -d).
    DeleteServer(ServiceKey, ServerKey),
    /// `IPVS_CMD_FLUSH` (ipvsadm -C): all services.
    Clear,
    /// `IPVS_CMD_ZERO` (ipvsadm -Z): the counters of all services and the totals.
    ZeroAll,
    /// `IPVS_CMD_ZERO` of one service and its servers (ipvsadm -Z -t).
    ZeroService(ServiceKey),
    /// `IPVS_CMD_SET_CONFIG` (ipvsadm --set).
    SetTimeouts(Timeouts),
    /// `IPVS_CMD_NEW_DAEMON` (ipvsadm --start-daemon).
    StartSyncDaemon(SyncDaemonConfig),
    /// `IPVS_CMD_DEL_DAEMON` (ipvsadm --stop-daemon).
    StopSyncDaemon(SyncState),
}

/// A question that the kernel's netlink family answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// `IPVS_CMD_GET_INFO`.
    Info,
    /// `IPVS_CMD_GET_CONFIG` (ipvsadm -L --timeout).
    Timeouts,
    /// `IPVS_CMD_GET_DAEMON` (ipvsadm -L --daemon).
    SyncDaemons,
    /// `IPVS_CMD_GET_SERVICE`, all, without their real servers.
    Services,
    /// All services with their real servers (ipvsadm -L): one dump, and one more a service.
    Table,
    /// One service without its real servers.
    Service(ServiceKey),
    /// One service with its real servers (ipvsadm -L -t).
    ServiceWithServers(ServiceKey),
    /// The real servers of one service alone: one dump, where the service with them is two exchanges.
    Servers(ServiceKey),
}

// === impl Query ===

impl Query {
    /// The service that this asks about, where it is one.
    pub fn service(&self) -> Option<ServiceKey> {
        match self {
            Self::Service(key) | Self::ServiceWithServers(key) | Self::Servers(key) => Some(*key),
            Self::Info | Self::Timeouts | Self::SyncDaemons | Self::Services | Self::Table => None,
        }
    }
}

// === impl Op ===

impl Op {
    /// The service that this changes, where it is one.
    pub fn service(&self) -> Option<ServiceKey> {
        match self {
            Self::CreateService(key, _)
            | Self::SetService(key, _)
            | Self::DeleteService(key)
            | Self::CreateServer(key, ..)
            | Self::SetServer(key, ..)
            | Self::DeleteServer(key, _)
            | Self::ZeroService(key) => Some(*key),
            Self::Clear
            | Self::ZeroAll
            | Self::SetTimeouts(_)
            | Self::StartSyncDaemon(_)
            | Self::StopSyncDaemon(_) => None,
        }
    }

    /// The scheduler and the engine that this needs.
    pub fn needs(&self) -> Option<(Name, Option<Name>)> {
        match self {
            Self::CreateService(_, config) | Self::SetService(_, config) => {
                Some((config.scheduler, config.persistence_engine))
            }
            _ => None,
        }
    }
}

//! The closed sets of operations and queries that this process can send to the kernel.

use super::{
    Name, ServerConfig, ServerKey, ServiceConfig, ServiceKey, StoredFields, SyncState, Timeouts,
    sync_daemon::SyncDaemonConfig,
};

/// A change of the kernel's state. The kernel executes or rejects each as a whole.
///
/// All but [`SetSetting`](Self::SetSetting) and [`SetStored`](Self::SetStored) are one netlink command
/// (`include/uapi/linux/ip_vs.h`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `IPVS_CMD_NEW_SERVICE` (ipvsadm -A). The daemon stores its labels and its health check.
    CreateService(ServiceKey, ServiceConfig, StoredFields),
    /// `IPVS_CMD_SET_SERVICE` (ipvsadm -E): replaces the whole configuration.
    SetService(ServiceKey, ServiceConfig),
    /// `IPVS_CMD_DEL_SERVICE` (ipvsadm -D): deletes the service and its real servers.
    DeleteService(ServiceKey),
    /// `IPVS_CMD_NEW_DEST` (ipvsadm -a).
    CreateServer(ServiceKey, ServerKey, ServerConfig),
    /// `IPVS_CMD_SET_DEST` (ipvsadm -e): replaces the whole configuration.
    SetServer(ServiceKey, ServerKey, ServerConfig),
    /// `IPVS_CMD_DEL_DEST` (ipvsadm -d).
    DeleteServer(ServiceKey, ServerKey),
    /// `IPVS_CMD_FLUSH` (ipvsadm -C): deletes all services.
    Clear,
    /// `IPVS_CMD_ZERO` (ipvsadm -Z): resets the counters of all services and the totals.
    ZeroAll,
    /// `IPVS_CMD_ZERO` (ipvsadm -Z -t): resets the counters of one service and its servers.
    ZeroService(ServiceKey),
    /// `IPVS_CMD_SET_CONFIG` (ipvsadm --set).
    SetTimeouts(Timeouts),
    /// `IPVS_CMD_NEW_DAEMON` (ipvsadm --start-daemon).
    StartSyncDaemon(SyncDaemonConfig),
    /// `IPVS_CMD_DEL_DAEMON` (ipvsadm --stop-daemon).
    StopSyncDaemon(SyncState),
    /// Writes the text to `/proc/sys/net/ipv4/vs/NAME` (ipvsadm(8), NOTES and FILES).
    SetSetting {
        /// Name of the setting.
        name: &'static str,
        /// Text of the file.
        text: String,
    },
    /// Sets the labels and the health check of a service, which the daemon stores.
    SetStored(ServiceKey, StoredFields),
}

/// A read of the kernel's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// `IPVS_CMD_GET_INFO`: version and size of the connection table.
    Info,
    /// `IPVS_CMD_GET_CONFIG` (ipvsadm -L --timeout).
    Timeouts,
    /// `IPVS_CMD_GET_DAEMON` (ipvsadm -L --daemon).
    SyncDaemons,
    /// `IPVS_CMD_GET_SERVICE`: all services, without their real servers. One dump.
    Services,
    /// All services with their real servers (ipvsadm -L): one dump, and one per service.
    Table,
    /// `IPVS_CMD_GET_SERVICE`: one service, without its real servers.
    Service(ServiceKey),
    /// One service with its real servers (ipvsadm -L -t).
    ServiceWithServers(ServiceKey),
    /// `IPVS_CMD_GET_DEST`: the real servers of one service. One dump.
    Servers(ServiceKey),
    /// One real server of a service. IPVS has no request for it: a dump of all of them.
    Server(ServiceKey, ServerKey),
    /// The settings in `/proc/sys/net/ipv4/vs`.
    Settings,
    /// The setting `run_estimation`.
    Estimation,
    /// The counters and rates of everything (`/proc/net/ip_vs_stats`).
    Totals,
    /// The kernel's release and loaded modules (`/proc/sys/kernel/osrelease`, `/proc/modules`).
    System,
    /// The connection table (`/proc/net/ip_vs_conn`; ipvsadm -L -c).
    Connections,
    /// The connection table, counted in groups.
    ConnectionCounts,
}

// === impl Query ===

impl Query {
    /// The service that the query is about, if it is about one.
    pub fn service(&self) -> Option<ServiceKey> {
        match self {
            Self::Service(key)
            | Self::ServiceWithServers(key)
            | Self::Servers(key)
            | Self::Server(key, _) => Some(*key),
            Self::Info
            | Self::Timeouts
            | Self::SyncDaemons
            | Self::Services
            | Self::Table
            | Self::Settings
            | Self::Estimation
            | Self::Totals
            | Self::System
            | Self::Connections
            | Self::ConnectionCounts => None,
        }
    }

    /// The server that the query is about, if it is about one.
    pub fn server(&self) -> Option<ServerKey> {
        match self {
            Self::Server(_, key) => Some(*key),
            _ => None,
        }
    }
}

// === impl Op ===

impl Op {
    /// The service that the operation changes, if it changes one.
    pub fn service(&self) -> Option<ServiceKey> {
        match self {
            Self::CreateService(key, ..)
            | Self::SetService(key, _)
            | Self::SetStored(key, _)
            | Self::DeleteService(key)
            | Self::CreateServer(key, ..)
            | Self::SetServer(key, ..)
            | Self::DeleteServer(key, _)
            | Self::ZeroService(key) => Some(*key),
            Self::Clear
            | Self::ZeroAll
            | Self::SetTimeouts(_)
            | Self::StartSyncDaemon(_)
            | Self::StopSyncDaemon(_)
            | Self::SetSetting { .. } => None,
        }
    }

    /// The server that the operation changes, if it changes one.
    pub fn server(&self) -> Option<ServerKey> {
        match self {
            Self::CreateServer(_, key, _)
            | Self::SetServer(_, key, _)
            | Self::DeleteServer(_, key) => Some(*key),
            Self::CreateService(..)
            | Self::SetService(..)
            | Self::SetStored(..)
            | Self::DeleteService(_)
            | Self::Clear
            | Self::ZeroAll
            | Self::ZeroService(_)
            | Self::SetTimeouts(_)
            | Self::StartSyncDaemon(_)
            | Self::StopSyncDaemon(_)
            | Self::SetSetting { .. } => None,
        }
    }

    /// The name of the operation, for the log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateService(..) => "create_service",
            Self::SetService(..) | Self::SetStored(..) => "update_service",
            Self::DeleteService(_) => "delete_service",
            Self::CreateServer(..) => "create_server",
            Self::SetServer(..) => "update_server",
            Self::DeleteServer(..) => "delete_server",
            Self::Clear => "clear",
            Self::ZeroAll | Self::ZeroService(_) => "zero",
            Self::SetTimeouts(_) => "set_timeouts",
            Self::StartSyncDaemon(_) => "start_sync_daemon",
            Self::StopSyncDaemon(_) => "stop_sync_daemon",
            Self::SetSetting { .. } => "set_setting",
        }
    }

    /// Whether services have other stored fields after it, or may.
    pub fn sets_stored(&self) -> bool {
        matches!(
            self,
            Self::CreateService(..) | Self::SetStored(..) | Self::DeleteService(_) | Self::Clear
        )
    }

    /// Whether the operation makes, edits or deletes services or servers.
    pub fn makes_table(&self) -> bool {
        match self {
            Self::CreateService(..)
            | Self::SetService(..)
            | Self::SetStored(..)
            | Self::DeleteService(_)
            | Self::CreateServer(..)
            | Self::SetServer(..)
            | Self::DeleteServer(..)
            | Self::Clear => true,
            Self::ZeroAll
            | Self::ZeroService(_)
            | Self::SetTimeouts(_)
            | Self::StartSyncDaemon(_)
            | Self::StopSyncDaemon(_)
            | Self::SetSetting { .. } => false,
        }
    }

    /// Whether the operation changes the timeouts or the sync daemons.
    pub fn is_of_director(&self) -> bool {
        matches!(
            self,
            Self::SetTimeouts(_) | Self::StartSyncDaemon(_) | Self::StopSyncDaemon(_)
        )
    }

    /// Whether the operation replaces the configuration of an entry that exists, and changes nothing
    /// else.
    pub fn is_edit(&self) -> bool {
        matches!(
            self,
            Self::SetService(..) | Self::SetStored(..) | Self::SetServer(..)
        )
    }

    /// Whether the kernel may need longer for it than for one entry: it deletes or visits many, starts
    /// or ends a thread, or is a file.
    pub fn may_take_long(&self) -> bool {
        match self {
            Self::CreateService(..)
            | Self::SetService(..)
            | Self::CreateServer(..)
            | Self::SetServer(..)
            | Self::DeleteServer(..) => false,
            // Is written to a disk.
            Self::SetStored(..)
            | Self::DeleteService(_)
            | Self::Clear
            | Self::ZeroAll
            | Self::ZeroService(_)
            | Self::SetTimeouts(_)
            | Self::StartSyncDaemon(_)
            | Self::StopSyncDaemon(_)
            | Self::SetSetting { .. } => true,
        }
    }

    /// The scheduler and the persistence engine that the operation needs.
    pub fn needs(&self) -> Option<(Name, Option<Name>)> {
        match self {
            Self::CreateService(_, config, _) | Self::SetService(_, config) => {
                Some((config.scheduler, config.persistence_engine))
            }
            _ => None,
        }
    }
}

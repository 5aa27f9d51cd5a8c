//! Errors about objects that do not exist, or already exist.

use super::{Error, Name, Reason, ServerKey, ServiceKey, SyncState};

impl Error {
    /// The virtual service does not exist.
    pub fn service_not_found(service: ServiceKey) -> Self {
        Self::new(
            Reason::ServiceNotFound,
            format!("virtual service {service} does not exist"),
        )
    }

    /// The virtual service already exists.
    pub fn service_exists(service: ServiceKey) -> Self {
        Self::new(
            Reason::ServiceExists,
            format!("virtual service {service} already exists"),
        )
        .with_hint("replace or update it instead")
    }

    /// The virtual service has no such real server.
    pub fn server_not_found(service: ServiceKey, server: ServerKey) -> Self {
        Self::new(
            Reason::ServerNotFound,
            format!("virtual service {service} has no real server {server}"),
        )
    }

    /// The virtual service already has this real server.
    pub fn server_exists(service: ServiceKey, server: ServerKey) -> Self {
        Self::new(
            Reason::ServerExists,
            format!(
                "real server {server} of {service} already exists, possibly with another \
                 forwarding method"
            ),
        )
        .with_hint("replace or update it instead")
    }

    /// No sync daemon of this role is running.
    pub fn sync_daemon_not_running(state: SyncState) -> Self {
        Self::new(
            Reason::SyncDaemonNotRunning,
            format!("the {state} sync daemon is not running"),
        )
    }

    /// A sync daemon of this role is already running.
    pub fn sync_daemon_running(state: SyncState) -> Self {
        Self::new(
            Reason::SyncDaemonRunning,
            format!("the {state} sync daemon is already running"),
        )
        .with_hint("stop it first, or request its replacement")
    }

    /// The director has no interface for a sync daemon.
    pub fn no_interface(interface: Name) -> Self {
        Self::invalid(
            "interface",
            format!("the director has no interface {interface}"),
        )
    }
}

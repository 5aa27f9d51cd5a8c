//! Writes. The daemon returns the resulting state as read back from the kernel.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    blocking::{Client, JSON},
    error::ClientError,
    etag::EntityTag,
    http1::{Request, Response},
    json::{Changed, Deleted, ServerJson, ServerPage, ServiceJson},
    spec::{
        ServerList, ServerPatch, ServerSpec, ServicePatch, ServiceSpec, SyncDaemonBody,
        TimeoutsPatch,
    },
};
use crate::model::{
    Server, ServerKey, ServiceEntry, ServiceKey, Settings, SyncDaemon, SyncDaemonConfig, SyncState,
    Timeouts,
};

/// Options of a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether to plan only: nothing is written, and the result is the state that the write would
    /// lead to. Default false.
    pub dry_run: bool,
    /// Precondition. The daemon rejects one on creates and on writes of settings and counters, which
    /// concern no single resource.
    pub precondition: Precondition,
}

/// Options of a delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Whether to plan only: nothing is deleted. Default false.
    pub dry_run: bool,
    /// Precondition; [`Precondition::Absent`] is rejected.
    pub precondition: Precondition,
    /// Whether the delete succeeds if the resource does not exist. Default false.
    pub allow_missing: bool,
}

/// What must hold of a resource before a write. If it does not, the daemon rejects the write with
/// [`Reason::RevisionMismatch`](crate::model::Reason::RevisionMismatch).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// The resource exists (`If-Match: *`).
    Exists,
    /// The resource does not exist (`If-None-Match: *`). Only for writes that may create.
    Absent,
    /// The configuration of the resource is the one that this tag was read with (`If-Match`).
    Matches(EntityTag),
}

/// The result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// The resulting state.
    pub value: T,
    /// Whether the write created the resource.
    pub created: bool,
    /// Whether the write changed the kernel.
    pub changed: bool,
    /// Entity tag of the resulting state, for the precondition of the next write.
    pub etag: Option<EntityTag>,
}

const MERGE_PATCH: &str = "application/merge-patch+json";

// === impl Precondition ===

/// `None` is no precondition.
impl From<Option<EntityTag>> for Precondition {
    fn from(etag: Option<EntityTag>) -> Self {
        etag.map_or(Self::None, Self::Matches)
    }
}

impl Precondition {
    fn headers(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::None => Vec::new(),
            Self::Exists => vec![("if-match", "*".to_owned())],
            Self::Absent => vec![("if-none-match", "*".to_owned())],
            Self::Matches(etag) => vec![("if-match", etag.to_string())],
        }
    }
}

// === impl Written ===

impl<T> Written<T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Written<U> {
        Written {
            value: f(self.value),
            created: self.created,
            changed: self.changed,
            etag: self.etag,
        }
    }
}

// === impl Client ===

/// Virtual services.
impl Client {
    /// Creates a service with its servers (`ipvsadm -A`). Refused if it exists.
    pub fn create_service(
        &self,
        service: &ServiceSpec,
        options: &WriteOptions,
    ) -> Result<Written<ServiceEntry>, ClientError> {
        let written = self.write::<ServiceJson>("POST", "/v1/services", JSON, service, options)?;
        Ok(written.map(ServiceEntry::from))
    }

    /// Creates a service, or replaces its configuration (`ipvsadm -A`, `-E`). With
    /// [`ServiceSpec::servers`] it also replaces the set of servers, adding before removing.
    pub fn replace_service(
        &self,
        service: &ServiceSpec,
        options: &WriteOptions,
    ) -> Result<Written<ServiceEntry>, ClientError> {
        let path = service_path(service.key);
        let written = self.write::<ServiceJson>("PUT", &path, JSON, service, options)?;
        Ok(written.map(ServiceEntry::from))
    }

    /// Changes fields of a service (`ipvsadm -E`).
    pub fn update_service(
        &self,
        service: ServiceKey,
        patch: &ServicePatch,
        options: &WriteOptions,
    ) -> Result<Written<ServiceEntry>, ClientError> {
        let path = service_path(service);
        let written = self.write::<ServiceJson>("PATCH", &path, MERGE_PATCH, patch, options)?;
        Ok(written.map(ServiceEntry::from))
    }

    /// Deletes a service with its servers (`ipvsadm -D`).
    pub fn delete_service(
        &self,
        service: ServiceKey,
        options: &DeleteOptions,
    ) -> Result<(), ClientError> {
        self.delete(service_path(service), options)
    }

    /// Deletes all services (`ipvsadm -C`) and returns how many. `confirm` is the number of services
    /// that the caller expects; the daemon rejects the request if it is another one.
    pub fn clear_services(&self, confirm: u64, options: &WriteOptions) -> Result<u64, ClientError> {
        let path = format!("/v1/services?confirm={confirm}");
        let (json, _) =
            self.send_write("DELETE", path, None, options.dry_run, &options.precondition)?;
        Ok(serde_json::from_slice::<Deleted>(&json)?.deleted)
    }
}

/// Real servers.
impl Client {
    /// Creates a server (`ipvsadm -a`). Refused if it exists.
    pub fn create_server(
        &self,
        service: ServiceKey,
        server: &ServerSpec,
        options: &WriteOptions,
    ) -> Result<Written<Server>, ClientError> {
        let path = servers_path(service);
        let written = self.write::<ServerJson>("POST", &path, JSON, server, options)?;
        Ok(written.map(Server::from))
    }

    /// Creates several servers, all or none; the result has the same order. Refused if one exists.
    pub fn create_servers(
        &self,
        service: ServiceKey,
        servers: &[ServerSpec],
        options: &WriteOptions,
    ) -> Result<Written<Vec<Server>>, ClientError> {
        let path = servers_path(service);
        let body = ServerList { servers };
        let written = self.write::<ServerPage>("POST", &path, JSON, &body, options)?;
        Ok(written.map(|page| page.servers))
    }

    /// Creates a server, or replaces its configuration (`ipvsadm -a`, `-e`).
    pub fn replace_server(
        &self,
        service: ServiceKey,
        server: &ServerSpec,
        options: &WriteOptions,
    ) -> Result<Written<Server>, ClientError> {
        let path = server_path(service, server.key);
        let written = self.write::<ServerJson>("PUT", &path, JSON, server, options)?;
        Ok(written.map(Server::from))
    }

    /// Changes fields of a server (`ipvsadm -e`).
    pub fn update_server(
        &self,
        service: ServiceKey,
        server: ServerKey,
        patch: &ServerPatch,
        options: &WriteOptions,
    ) -> Result<Written<Server>, ClientError> {
        let path = server_path(service, server);
        let written = self.write::<ServerJson>("PATCH", &path, MERGE_PATCH, patch, options)?;
        Ok(written.map(Server::from))
    }

    /// Deletes a server (`ipvsadm -d`).
    pub fn delete_server(
        &self,
        service: ServiceKey,
        server: ServerKey,
        options: &DeleteOptions,
    ) -> Result<(), ClientError> {
        self.delete(server_path(service, server), options)
    }
}

/// Director-wide state.
impl Client {
    /// Zeroes the counters of all services and servers, and the totals (`ipvsadm -Z`).
    pub fn zero(&self, options: &WriteOptions) -> Result<(), ClientError> {
        let path = "/v1/zero".to_owned();
        self.send_write("POST", path, None, options.dry_run, &options.precondition)?;
        Ok(())
    }

    /// Zeroes the counters of a service and its servers (`ipvsadm -Z -t`).
    pub fn zero_service(
        &self,
        service: ServiceKey,
        options: &WriteOptions,
    ) -> Result<(), ClientError> {
        let path = format!("{}/zero", service_path(service));
        self.send_write("POST", path, None, options.dry_run, &options.precondition)?;
        Ok(())
    }

    /// Changes timeouts (`ipvsadm --set`).
    pub fn update_timeouts(
        &self,
        patch: &TimeoutsPatch,
        options: &WriteOptions,
    ) -> Result<Written<Timeouts>, ClientError> {
        self.write("PATCH", "/v1/timeouts", MERGE_PATCH, patch, options)
    }

    /// Declares a sync daemon (`ipvsadm --start-daemon`): starts it, restarts it if its
    /// configuration differs, and otherwise leaves it alone.
    pub fn start_sync_daemon(
        &self,
        daemon: &SyncDaemonConfig,
        options: &WriteOptions,
    ) -> Result<Written<SyncDaemon>, ClientError> {
        let path = format!("/v1/sync-daemons/{}", daemon.state);
        self.write("PUT", &path, JSON, &SyncDaemonBody(daemon), options)
    }

    /// Stops a sync daemon (`ipvsadm --stop-daemon`).
    pub fn stop_sync_daemon(
        &self,
        state: SyncState,
        options: &DeleteOptions,
    ) -> Result<(), ClientError> {
        self.delete(format!("/v1/sync-daemons/{state}"), options)
    }

    /// Changes the settings that `settings` names; the result has all settings.
    pub fn update_settings(
        &self,
        settings: &Settings,
        options: &WriteOptions,
    ) -> Result<Written<Settings>, ClientError> {
        let written = self.write("PATCH", "/v1/settings", MERGE_PATCH, settings, options)?;
        Ok(written.map(|mut settings: Settings| {
            // Not a setting, but a field beside them.
            settings.remove("changed");
            settings
        }))
    }
}

/// Helpers.
impl Client {
    /// Sends a write of a resource and reads the resulting state.
    fn write<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: &impl Serialize,
        options: &WriteOptions,
    ) -> Result<Written<T>, ClientError> {
        let WriteOptions {
            dry_run,
            precondition,
        } = options;
        let body = serde_json::to_vec(body)?;
        let body = Some((media_type, body.as_slice()));
        let (json, response) =
            self.send_write(method, path.to_owned(), body, *dry_run, precondition)?;
        Ok(Written {
            value: serde_json::from_slice(&json)?,
            created: response.status == http::StatusCode::CREATED,
            changed: serde_json::from_slice::<Changed>(&json)?.changed,
            etag: response.etag,
        })
    }

    fn delete(&self, mut path: String, options: &DeleteOptions) -> Result<(), ClientError> {
        let DeleteOptions {
            dry_run,
            precondition,
            allow_missing,
        } = options;
        if *allow_missing {
            path += "?allow_missing=true";
        }
        self.send_write("DELETE", path, None, *dry_run, precondition)?;
        Ok(())
    }

    pub(super) fn send_write(
        &self,
        method: &str,
        mut path: String,
        body: Option<(&str, &[u8])>,
        dry_run: bool,
        precondition: &Precondition,
    ) -> Result<(Vec<u8>, Response), ClientError> {
        if dry_run {
            path.push(if path.contains('?') { '&' } else { '?' });
            path += "dry_run=true";
        }
        let request = Request {
            method,
            path: &path,
            accept: JSON,
            headers: &precondition.headers(),
            body,
        };
        self.fetch(&request, self.deadline())
    }
}

fn service_path(service: ServiceKey) -> String {
    format!("/v1/services/{service}")
}

fn servers_path(service: ServiceKey) -> String {
    format!("/v1/services/{service}/servers")
}

fn server_path(service: ServiceKey, server: ServerKey) -> String {
    format!("/v1/services/{service}/servers/{server}")
}

//! Drains and ramps: they hold the weights of servers.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    blocking::{Client, JSON, with_query},
    error::ClientError,
    write::WriteOptions,
};
use crate::model::{DrainRequest, DrainTarget, HoldId, RampRequest, ServerKey, ServiceKey};

/// A drain: its servers get no new connections. Words that a newer daemon adds are kept as text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Drain {
    /// Id.
    pub id: HoldId,
    /// The server, or an address for all of its ports.
    pub server: DrainTarget,
    /// The services; `None`: all that have the server, also those that get it later.
    pub services: Option<Vec<ServiceKey>>,
    /// Seconds from the creation until it stops waiting; `None`: it waits.
    pub deadline_seconds: Option<u32>,
    /// What happens to the servers in the end: `keep` or `remove`.
    pub then: String,
    /// The owner of the table that does not declare the server any more; `None`: a request has asked for the drain.
    pub table: Option<String>,
    /// `draining`, `drained`, `deadline_reached`, `cancelled` or `superseded`.
    pub state: String,
    /// The servers.
    pub members: Vec<DrainMember>,
    /// Why connections may continue to come, and what would change that.
    #[serde(default)]
    pub blockers: Vec<String>,
    /// When it was created (RFC 3339).
    pub create_time: String,
    /// When it ended (RFC 3339). `None` while it holds its servers.
    pub end_time: Option<String>,
}

/// A server of a drain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DrainMember {
    /// Id of the service.
    pub service: ServiceKey,
    /// Id of the server.
    pub server: ServerKey,
    /// The intended weight, which it has again after the drain.
    pub weight: u32,
    /// The weight in the kernel.
    pub effective_weight: u32,
    /// Current connections in state ESTABLISHED.
    pub active_connections: u32,
    /// Current connections in other states.
    pub inactive_connections: u32,
    /// Current persistence templates.
    pub persistent_connections: u32,
    /// `draining`, `drained` or `superseded`.
    pub state: String,
}

/// A ramp: the weight of a server reaches `to` in steps.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Ramp {
    /// Id.
    pub id: HoldId,
    /// Id of the service.
    pub service: ServiceKey,
    /// Id of the server.
    pub server: ServerKey,
    /// The weight in the kernel at the begin.
    pub from: u32,
    /// The weight in the end, which is the intended one from the begin.
    pub to: u32,
    /// Seconds from the creation to the end.
    pub over_seconds: u32,
    /// Number of steps.
    pub steps: u32,
    /// The weight of the current step. The kernel has it unless the server is drained.
    pub weight: u32,
    /// `ramping`, `done`, `cancelled` or `superseded`.
    pub state: String,
    /// When it was created (RFC 3339).
    pub create_time: String,
    /// When it ended (RFC 3339). `None` while it holds the server.
    pub end_time: Option<String>,
}

/// Selects services by what the daemon keeps about them. Everything that is present must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptQuery {
    /// Owner of the table that declares them; `_unmanaged`: no table does.
    pub owner: Option<String>,
    /// Terms about labels, separated by commas: `team=web`, `env!=dev`, `team`, `!team`.
    pub label: Vec<String>,
}

#[derive(Deserialize)]
struct DrainsJson {
    drains: Vec<Drain>,
}

#[derive(Deserialize)]
struct RampsJson {
    ramps: Vec<Ramp>,
}

// === impl KeptQuery ===

impl KeptQuery {
    /// The query parameters.
    pub fn parameters(self) -> impl Iterator<Item = (&'static str, String)> {
        let owner = self.owner.into_iter().map(|owner| ("owner", owner));
        owner.chain(self.label.into_iter().map(|terms| ("label", terms)))
    }
}

// === impl Drain ===

impl Drain {
    /// Whether it holds its servers.
    pub fn is_active(&self) -> bool {
        self.end_time.is_none()
    }
}

// === impl Ramp ===

impl Ramp {
    /// Whether it holds its server.
    pub fn is_active(&self) -> bool {
        self.end_time.is_none()
    }
}

// === impl Client ===

/// Drains and ramps. All methods return the daemon's JSON, too: of a list, each page.
impl Client {
    /// Drains servers: they get no new connections until the drain is deleted. An active drain of the
    /// same request is returned as it is.
    pub fn create_drain(
        &self,
        drain: &DrainRequest,
        options: &WriteOptions,
    ) -> Result<(Drain, Vec<u8>), ClientError> {
        self.create_hold("/v1/drains", drain, options)
    }

    /// Reads a drain.
    pub fn drain(&self, id: HoldId) -> Result<(Drain, Vec<u8>), ClientError> {
        self.get(&drain_path(id))
    }

    /// Lists the drains by id, also those that have ended within 24 hours.
    pub fn drains(&self) -> Result<(Vec<Drain>, Vec<Vec<u8>>), ClientError> {
        self.select_drains(&KeptQuery::default())
    }

    /// As [`drains`](Self::drains), of some services.
    pub fn select_drains(&self, of: &KeptQuery) -> Result<(Vec<Drain>, Vec<Vec<u8>>), ClientError> {
        self.hold_pages("/v1/drains", of, |page: DrainsJson| page.drains)
    }

    /// Ends a drain: its servers get their intended weights again. One that has ended is forgotten.
    pub fn delete_drain(
        &self,
        id: HoldId,
        options: &WriteOptions,
    ) -> Result<(Drain, Vec<u8>), ClientError> {
        self.send_hold("DELETE", drain_path(id), None, options)
    }

    /// Changes the weight of a server in steps. It replaces another ramp of the server.
    pub fn create_ramp(
        &self,
        ramp: &RampRequest,
        options: &WriteOptions,
    ) -> Result<(Ramp, Vec<u8>), ClientError> {
        self.create_hold("/v1/ramps", ramp, options)
    }

    /// Reads a ramp.
    pub fn ramp(&self, id: HoldId) -> Result<(Ramp, Vec<u8>), ClientError> {
        self.get(&ramp_path(id))
    }

    /// Lists the ramps by id, also those that have ended within 24 hours.
    pub fn ramps(&self) -> Result<(Vec<Ramp>, Vec<Vec<u8>>), ClientError> {
        self.select_ramps(&KeptQuery::default())
    }

    /// As [`ramps`](Self::ramps), of some services.
    pub fn select_ramps(&self, of: &KeptQuery) -> Result<(Vec<Ramp>, Vec<Vec<u8>>), ClientError> {
        self.hold_pages("/v1/ramps", of, |page: RampsJson| page.ramps)
    }

    /// Ends a ramp: its server gets the weight of its end at once. One that has ended is forgotten.
    pub fn delete_ramp(
        &self,
        id: HoldId,
        options: &WriteOptions,
    ) -> Result<(Ramp, Vec<u8>), ClientError> {
        self.send_hold("DELETE", ramp_path(id), None, options)
    }

    /// Reads a list: its elements, and its pages.
    fn hold_pages<P: DeserializeOwned, T>(
        &self,
        path: &str,
        of: &KeptQuery,
        elements: fn(P) -> Vec<T>,
    ) -> Result<(Vec<T>, Vec<Vec<u8>>), ClientError> {
        self.elements(&with_query(path, of.clone().parameters()), elements)
    }

    fn create_hold<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        options: &WriteOptions,
    ) -> Result<(T, Vec<u8>), ClientError> {
        let body = serde_json::to_vec(request)?;
        self.send_hold("POST", path.to_owned(), Some((JSON, &body)), options)
    }

    fn send_hold<T: DeserializeOwned>(
        &self,
        method: &str,
        path: String,
        body: Option<(&str, &[u8])>,
        options: &WriteOptions,
    ) -> Result<(T, Vec<u8>), ClientError> {
        let WriteOptions {
            dry_run,
            precondition,
        } = options;
        let (json, _) = self.send_write(method, path, body, *dry_run, precondition)?;
        Ok((serde_json::from_slice(&json)?, json))
    }
}

fn drain_path(id: HoldId) -> String {
    format!("/v1/drains/{id}")
}

fn ramp_path(id: HoldId) -> String {
    format!("/v1/ramps/{id}")
}

//! The health of the servers of services.

use serde::Deserialize;

use super::{
    blocking::{Client, JSON, with_query},
    drains::KeptQuery,
    error::ClientError,
    write::WriteOptions,
};
use crate::model::{HealthResult, OverrideRequest, ServerKey, ServiceKey};

/// The health of the servers of a service. Words that a newer daemon adds are kept as text.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ServiceHealth {
    /// Id of the service.
    pub service: ServiceKey,
    /// Servers that are healthy and get connections.
    pub healthy_count: usize,
    /// Whether fewer servers are healthy than are to be.
    pub below_min: bool,
    /// Whether servers that fail get connections, because so many became silent at once.
    pub storm: bool,
    /// Whether servers that fail get connections, because `max_losses` were taken out lately.
    pub limited: bool,
    /// Whether a fallback server gets connections.
    #[serde(default)]
    pub fallback: bool,
    /// The servers.
    pub servers: Vec<ServerHealth>,
}

/// The health of a server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ServerHealth {
    /// Id of the server.
    pub server: ServerKey,
    /// `up`, `down`, `unknown`, `disabled`, `forced_up` or `forced_down`.
    pub state: String,
    /// When the state began (RFC 3339).
    pub since_time: String,
    /// When the last check ended, or the last result was reported (RFC 3339).
    pub last_check_time: Option<String>,
    /// Seconds that it took. Results that were reported have none.
    pub latency_seconds: Option<f64>,
    /// Why it failed, or why nothing is known.
    pub reason: Option<String>,
    /// When the override ends (RFC 3339).
    pub override_expire_time: Option<String>,
}

#[derive(Deserialize)]
struct HealthJson {
    services: Vec<ServiceHealth>,
}

// === impl Client ===

/// Health checks. All methods return the daemon's JSON, too: of a list, each page.
impl Client {
    /// Lists the services that have a health check, with the health of their servers.
    pub fn health(
        &self,
        of: &KeptQuery,
    ) -> Result<(Vec<ServiceHealth>, Vec<Vec<u8>>), ClientError> {
        let path = with_query("/v1/health", of.clone().parameters());
        self.elements(&path, |page: HealthJson| page.services)
    }

    /// Reads the health of the servers of a service.
    pub fn service_health(
        &self,
        service: ServiceKey,
    ) -> Result<(ServiceHealth, Vec<u8>), ClientError> {
        self.get(&format!("/v1/health/{service}"))
    }

    /// Forces a server up or down; without a request, its checks decide again.
    pub fn override_health(
        &self,
        service: ServiceKey,
        server: ServerKey,
        request: Option<&OverrideRequest>,
        options: &WriteOptions,
    ) -> Result<(ServerHealth, Vec<u8>), ClientError> {
        let path = format!("/v1/health/{service}/{server}/override");
        let body = request.map(serde_json::to_vec).transpose()?;
        let method = if body.is_some() { "PUT" } else { "DELETE" };
        let body = body.as_deref().map(|body| (JSON, body));
        let WriteOptions {
            dry_run,
            precondition,
        } = options;
        let (json, _) = self.send_write(method, path, body, *dry_run, precondition)?;
        Ok((serde_json::from_slice(&json)?, json))
    }

    /// Reports the result of the health check of a server, whose type is `external`.
    pub fn report_health(
        &self,
        service: ServiceKey,
        server: ServerKey,
        result: &HealthResult,
        options: &WriteOptions,
    ) -> Result<(ServerHealth, Vec<u8>), ClientError> {
        let path = format!("/v1/health/{service}/{server}");
        let body = serde_json::to_vec(result)?;
        let WriteOptions {
            dry_run,
            precondition,
        } = options;
        let body = Some((JSON, &body[..]));
        let (json, _) = self.send_write("PUT", path, body, *dry_run, precondition)?;
        Ok((serde_json::from_slice(&json)?, json))
    }
}

//! `/healthz` and `/readyz`: liveness and readiness.

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{problem::Problem, reply, schema, state::Api};

/// The response of a healthy daemon.
#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// Liveness
///
/// Succeeds if the daemon runs. Does not query the kernel.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "about",
    responses((status = 200, description = "Alive.", body = schema::Health))
)]
pub(super) async fn alive() -> Result<Response, Problem> {
    Ok(reply::plain(&Health { status: "ok" })?)
}

/// Readiness
///
/// Succeeds if the kernel responds to the daemon. Otherwise the error contains the reason.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "about",
    responses(
        (status = 200, description = "Ready.", body = schema::Health),
        schema::Unavailable,
    )
)]
pub(super) async fn ready(State(api): State<Api>) -> Result<Response, Problem> {
    api.app
        .ready()
        .await
        .map_err(|error| Problem::from(error).unavailable())?;
    Ok(reply::plain(&Health { status: "ok" })?)
}

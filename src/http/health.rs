//! `/healthz` and `/readyz`, for whoever supervises the daemon.

use axum::{extract::State, response::Response};

use super::{
    Api,
    problem::Problem,
    reply,
    schema::{self, Health},
};

/// Alive?
///
/// Whether the daemon answers at all. The kernel is not asked.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "about",
    responses((status = 200, description = "It is alive.", body = Health))
)]
pub(super) async fn alive() -> Result<Response, Problem> {
    Ok(reply::plain(&Health { status: "ok" })?)
}

/// Ready?
///
/// Whether the kernel answers the daemon; if not, the problem says why.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "about",
    responses(
        (status = 200, description = "It is ready.", body = Health),
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

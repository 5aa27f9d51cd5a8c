//! `/v1/zero`: counters back to zero.

use axum::extract::State;
use http::StatusCode;

use super::{
    Api, conditional::Unconditional, context::Caller, extract::InService, problem::Problem,
    query::NoQuery, schema,
};

/// Zero all counters
///
/// Zeroes the counters of all services and servers, and the totals (`ipvsadm -Z`).
#[utoipa::path(
    post, path = "/v1/zero", operation_id = "zeroAll", tag = "counters",
    responses((status = 204, description = "They are zero."))
)]
pub(super) async fn all(
    State(api): State<Api>,
    caller: Caller,
    _: NoQuery,
    _: Unconditional,
) -> Result<StatusCode, Problem> {
    let context = caller.context();
    api.app.zero(&context, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Zero the counters of a service
///
/// Zeroes the counters of one service and its servers (`ipvsadm -Z -t`).
#[utoipa::path(
    post, path = "/v1/services/{service}/zero", operation_id = "zeroService", tag = "counters",
    params(("service" = String, Path, description = "Id of the service.", example = "tcp-192.0.2.1-80")),
    responses((status = 204, description = "They are zero."), schema::NotFound)
)]
pub(super) async fn service(
    State(api): State<Api>,
    caller: Caller,
    InService(key): InService,
    _: NoQuery,
    _: Unconditional,
) -> Result<StatusCode, Problem> {
    let context = caller.context();
    api.app.zero(&context, Some(key)).await?;
    Ok(StatusCode::NO_CONTENT)
}

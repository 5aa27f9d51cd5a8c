//! `/v1/zero`: reset of counters.

use axum::extract::State;
use http::StatusCode;

use super::{
    conditional::Unconditional, context::Write, no_body::NoBody, path::ServicePath,
    problem::Problem, schema, state::Api,
};

/// Zero all counters
///
/// Resets the counters of all services and servers, and the totals (`ipvsadm -Z`).
#[utoipa::path(
    post, path = "/v1/zero", operation_id = "zeroCounters", tag = "counters",
    params(Write),
    responses((status = 204, description = "Reset."))
)]
pub(super) async fn all(
    State(api): State<Api>,
    write: Write,
    _: Unconditional,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    let (context, _) = write.start();
    api.app.zero(&context, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Zero the counters of a service
///
/// Resets the counters of one service and its servers (`ipvsadm -Z -t`).
#[utoipa::path(
    post, path = "/v1/services/{service}/zero", operation_id = "zeroServiceCounters", tag = "counters",
    params(ServicePath, Write),
    responses((status = 204, description = "Reset."), schema::NotFound)
)]
pub(super) async fn service(
    State(api): State<Api>,
    write: Write,
    ServicePath(key): ServicePath,
    _: Unconditional,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    let (context, _) = write.start();
    api.app.zero(&context, Some(key)).await?;
    Ok(StatusCode::NO_CONTENT)
}

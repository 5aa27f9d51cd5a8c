//! `/v1/info`: what daemon and kernel are and have.

use axum::{extract::State, response::Response};

use super::{Api, conditional::Reading, problem::Problem, query::NoQuery, reply, schema};
use crate::app::InfoReport;

/// Get what daemon and kernel are
///
/// Versions, table size, namespace, schedulers and engines, optional features (the header line of
/// `ipvsadm -L`, and more).
#[utoipa::path(
    get, path = "/v1/info", operation_id = "getInfo", tag = "about",
    params(schema::ReadHeaders),
    responses((status = 200, description = "What they are and have.", body = InfoReport))
)]
pub(super) async fn get(
    State(api): State<Api>,
    _: NoQuery,
    reading: Reading,
) -> Result<Response, Problem> {
    let answer = api.app.info(&reading.context).await?;
    Ok(reply::resource(&reading, answer.age, None, &answer.value)?)
}

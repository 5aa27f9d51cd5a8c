//! `/v1/info`: the daemon and the kernel.

use axum::{extract::State, response::Response};

use super::{
    conditional::ConditionalRead,
    problem::Problem,
    query::{NoParams, Query},
    reply, schema,
    state::Api,
};

/// Get information
///
/// Returns versions, the size of the connection table, the network namespace, schedulers,
/// persistence engines and optional kernel features (the header line of `ipvsadm -L`, and more).
#[utoipa::path(
    get, path = "/v1/info", operation_id = "getInfo", tag = "about",
    params(ConditionalRead),
    responses((status = 200, description = "The daemon and the kernel.", body = schema::Info))
)]
pub(super) async fn get(
    State(api): State<Api>,
    _: Query<NoParams>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let answer = api.app.info(&read.context).await?;
    Ok(reply::resource(&read, answer.age, None, &answer.value)?)
}

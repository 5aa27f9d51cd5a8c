//! `/v1/stats`: totals and the busiest, for dashboards.

use axum::{extract::State, response::Response};
use utoipa::IntoParams;

use super::{
    Api,
    conditional::Reading,
    problem::Problem,
    query::{FromQuery, Params, Query},
    reply, schema,
};
use crate::app::{Order, StatsReport, StatsRequest};

const DEFAULT_TOP: u64 = 10;
const MAX_TOP: u64 = 100;
const DEFAULT_ORDER: &str = "-rates.connections";

/// How many of the busiest, by what.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "read by the OpenAPI generator")]
pub(super) struct StatsParams {
    /// How many of the busiest services and servers. Default 10.
    #[param(required = false, nullable = false, minimum = 0, maximum = 100)]
    top: Option<i64>,
    /// Busiest by which counter; `-` before it for the largest first. Default
    /// `-rates.connections`.
    #[param(
        required = false,
        nullable = false,
        pattern = "^-?(stats|rates)\\.(connections|packets_in|packets_out|bytes_in|bytes_out)$",
        example = "-rates.bytes_in"
    )]
    sort: Option<String>,
}

impl FromQuery for StatsRequest {
    fn from_query(params: &mut Params) -> Self {
        let top = params.take_number("top", 0, MAX_TOP).unwrap_or(DEFAULT_TOP);
        let by = params.take::<Order>("sort");
        Self {
            top: usize::try_from(top).unwrap_or_default(),
            by: by.unwrap_or_else(|| DEFAULT_ORDER.parse().unwrap_or_default()),
        }
    }
}

/// Get totals
///
/// Totals of everything, and the busiest services and servers.
#[utoipa::path(
    get, path = "/v1/stats", operation_id = "getStats", tag = "counters",
    params(StatsParams, schema::ReadHeaders),
    responses((status = 200, description = "The totals.", body = StatsReport))
)]
pub(super) async fn get(
    State(api): State<Api>,
    Query(request): Query<StatsRequest>,
    reading: Reading,
) -> Result<Response, Problem> {
    let answer = api.app.stats(&reading.context, request).await?;
    Ok(reply::resource(&reading, answer.age, None, &answer.value)?)
}

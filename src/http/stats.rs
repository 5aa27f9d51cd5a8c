//! `/v1/stats`: totals and rankings, for dashboards.

use axum::{extract::State, response::Response};

use super::{
    conditional::ConditionalRead,
    problem::Problem,
    query::{Query, query},
    reply, schema,
    state::Api,
    values::{Bounded, LabelTerms, OwnerName, StatsSort, kept_filter},
};
use crate::app::StatsRequest;

const DEFAULT_TOP: Bounded<0, 100> = Bounded(10);
const DEFAULT_SORT: &str = "-rates.connections";

query! {
    /// Query parameters of the statistics.
    StatsQuery {
        /// Number of services and of servers in the rankings. Default: 10.
        top: Bounded<0, 100>,
        /// Sort key of the rankings: a counter (`stats.bytes_in`) or a rate (`rates.bytes_in`);
        /// prefix with `-` for descending order. Default: `-rates.connections`.
        sort: StatsSort = ["-rates.bytes_in"],
        /// Only of the services that the table of this owner declares; `_unmanaged`: of those that no table
        /// declares.
        owner: OwnerName = "k8s",
        /// Only of the services with these labels: `team=web`, `env!=dev`, `team` (any value), `!team` (without it). All terms
        /// must hold, at most 32.
        label: LabelTerms = ["team=web", "env!=dev"],
    }
}

/// Get statistics
///
/// Returns totals, and the services and servers with the highest counters.
#[utoipa::path(
    get, path = "/v1/stats", operation_id = "getStats", tag = "counters",
    params(Query<StatsQuery>, ConditionalRead),
    responses((status = 200, description = "The totals.", body = schema::StatsReport))
)]
pub(super) async fn get(
    State(api): State<Api>,
    Query(query): Query<StatsQuery>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let Bounded(top) = query.top.unwrap_or(DEFAULT_TOP);
    let request = StatsRequest {
        top: usize::try_from(top).unwrap_or_default(),
        by: query
            .sort
            .map_or_else(|| DEFAULT_SORT.parse(), |StatsSort(by)| Ok(by))?,
        filter: kept_filter(query.owner, query.label),
    };
    let answer = api.app.stats(&read.context, request).await?;
    Ok(reply::resource(&read, answer.age, None, &answer.value)?)
}

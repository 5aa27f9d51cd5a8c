//! `/v1/listing`: the table in columns, as printed by ipvsadm.

use axum::{extract::State, response::Response};

use super::{
    conditional::ConditionalRead,
    problem::Problem,
    query::{Query, query},
    reply,
    state::Api,
    values::ListingOrder,
};
use crate::ipvsadm::{ListFormat, ListMode, Order};

query! {
    /// Query parameters of the text listing.
    ListingQuery {
        /// Columns, by the name of ipvsadm's option. Default: `plain` (forwarding method, weight,
        /// connections).
        columns: ListMode,
        /// If true, large counters are printed in full (ipvsadm `--exact`) instead of with the
        /// suffixes K, M, G and T. Default: false.
        exact: bool,
        /// `sorted`: ascending. `kernel`: the kernel's order (ipvsadm `--nosort`). Default:
        /// `sorted`.
        order: ListingOrder,
    }
}

/// Get the table as text
///
/// Returns the table in columns, as printed by `ipvsadm -L -n`. Programs should use
/// `GET /v1/services`.
#[utoipa::path(
    get, path = "/v1/listing", operation_id = "getListing", tag = "rules",
    params(Query<ListingQuery>, ConditionalRead),
    responses((
        status = 200, description = "The table.", body = String, content_type = "text/plain",
        example = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\nTCP  192.0.2.1:80 wlc\n  -> 192.168.10.1:80              Masq    1      0          0         \n"
    ))
)]
pub(super) async fn get(
    State(api): State<Api>,
    Query(query): Query<ListingQuery>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let format = ListFormat {
        mode: query.columns.unwrap_or_default(),
        exact: query.exact.unwrap_or_default(),
        numeric: true,
        unsorted: query.order == Some(ListingOrder(Order::Kernel)),
    };
    let answer = api.app.listing(&read.context, format).await?;
    Ok(reply::text(&read, answer.age, answer.value)?)
}

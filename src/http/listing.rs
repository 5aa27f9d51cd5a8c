//! `/v1/listing`: the table in columns, as ipvsadm lists it.

use axum::{extract::State, response::Response};
use utoipa::IntoParams;

use super::{
    Api,
    conditional::Reading,
    problem::Problem,
    query::{FromQuery, Params, Query},
    reply, schema,
};
use crate::ipvsadm::{ListFormat, ListMode, Order};

/// What is shown, and how.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "read by the OpenAPI generator")]
pub(super) struct ListingParams {
    /// Which columns, by the name of ipvsadm's option: `stats`, `rate`, `thresholds`,
    /// `persistent-conn`, `tun-info`. Default `plain`: forwarding, weight, connections.
    #[param(
        required = false,
        nullable = false,
        pattern = "^(plain|stats|rate|thresholds|persistent-conn|tun-info)$"
    )]
    columns: Option<String>,
    /// Whether large counters are written out, rather than shortened with K, M, G and T. Default
    /// false.
    #[param(required = false, nullable = false)]
    exact: Option<bool>,
    /// `sorted`, ascending, or `kernel`: as the kernel has them. Default `sorted`.
    #[param(required = false, nullable = false, pattern = "^(sorted|kernel)$")]
    order: Option<String>,
}

impl FromQuery for ListFormat {
    fn from_query(params: &mut Params) -> Self {
        let order = params.take_with("order", |text| Order::named(text, Order::Kernel));
        Self {
            mode: params
                .take_with("columns", ListMode::named)
                .unwrap_or_default(),
            exact: params.take_bool("exact").unwrap_or_default(),
            numeric: true,
            unsorted: order == Some(Order::Kernel),
        }
    }
}

/// List the table as text
///
/// The table in columns, for people: what `ipvsadm -L -n` prints. Programs read `/v1/services`.
#[utoipa::path(
    get, path = "/v1/listing", operation_id = "getListing", tag = "rules",
    params(ListingParams, schema::ReadHeaders),
    responses((
        status = 200, description = "The listing.", body = String, content_type = "text/plain",
        example = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\nTCP  192.0.2.1:80 wlc\n  -> 192.168.10.1:80              Masq    1      0          0         \n"
    ))
)]
pub(super) async fn get(
    State(api): State<Api>,
    Query(format): Query<ListFormat>,
    reading: Reading,
) -> Result<Response, Problem> {
    let answer = api.app.listing(&reading.context, format).await?;
    Ok(reply::text(&reading, answer.age, answer.value)?)
}

//! `/v1/connections`: the kernel's connection table.

use std::time::Duration;

use axum::{extract::State, response::Response};
use http::{HeaderMap, header};
use serde::Serialize;

use super::{
    connection_stream::{Format, Listing, NDJSON},
    context::Caller,
    problem::Problem,
    query::{Query, query},
    reply, schema,
    state::Api,
    values::{AnyProtocol, Bounded, Group},
};
use crate::{
    app::Count,
    model::{ConnectionFilter, EndpointFilter, Error},
};

/// Default of `limit`. A busy director has millions of connections.
const DEFAULT_LIMIT: u64 = 1_000;
/// Maximum of `limit`: above the size of any connection table in use.
const MAX_LIMIT: u64 = 10_000_000;

/// Time limit for the first chunk to be part of the decision about the status. A selective filter can
/// take longer; the response then begins without it.
const FIRST_CHUNK_TIMEOUT: Duration = Duration::from_secs(1);

query! {
    /// Query parameters of a list of connections.
    ConnectionsQuery {
        /// Only this protocol: `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, `ip`, or a number.
        protocol: AnyProtocol = "tcp",
        /// Only this client: an address, with or without a port.
        client: EndpointFilter = "198.51.100.7",
        /// Only this virtual address, with or without a port.
        r#virtual: EndpointFilter = "192.0.2.1:80",
        /// Only the templates of this firewall mark. Connections do not have the mark.
        fwmark: Bounded<1, { u32::MAX as u64 }>,
        /// Only this real server, with or without a port.
        destination: EndpointFilter = "[2001:db8::a]:80",
        /// Only this state, such as `ESTABLISHED`, in upper or lower case.
        state: String = "ESTABLISHED",
        /// true: only persistence templates; false: only connections. Default: both.
        templates: bool,
        /// Maximum number of connections. Not with `count_by`. Default: 1000.
        limit: Bounded<1, MAX_LIMIT>,
        /// Count all matching connections, grouped by this field, instead of listing them.
        count_by: Group,
    }
}

/// Counts of connections.
#[derive(Serialize)]
struct Counts {
    counts: Vec<Count>,
}

/// List connections
///
/// Lists the kernel's connection table (`ipvsadm -L -c`), streamed while it is read. With `count_by`,
/// returns the number of connections in each group instead. `Accept: application/x-ndjson` returns
/// one connection per line, without `truncated`. If reading fails, the transfer is aborted: a
/// response that ends normally is complete.
#[utoipa::path(
    get, path = "/v1/connections", operation_id = "listConnections", tag = "connections",
    params(Query<ConnectionsQuery>),
    responses((
        status = 200, description = "Connections, or counts.",
        content(
            (schema::ConnectionListOrCounts = "application/json", examples(
                ("list" = (summary = "Connections", value = json!({
                    "connections": [{
                        "protocol": "tcp",
                        "client": {"address": "198.51.100.7", "port": 51234},
                        "virtual": {"address": "192.0.2.1", "port": 80},
                        "destination": {"address": "192.168.10.1", "port": 80},
                        "state": "ESTABLISHED", "template": false, "expires_in_seconds": 899
                    }],
                    "truncated": false
                }))),
                ("counts" = (summary = "With count_by=state", value = json!({
                    "counts": [{"group": "ESTABLISHED", "count": 3}]
                })))
            )),
            (String = "application/x-ndjson"),
        )
    ))
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<ConnectionsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let context = caller.context();
    let filter = query.filter();
    if let Some(Group(by)) = query.count_by {
        if query.limit.is_some() {
            let message = "not allowed with count_by, which counts all connections";
            return Err(Error::invalid("limit", message).into());
        }
        let counts = api.app.count_connections(&context, filter, by).await?;
        return Ok(reply::plain(&Counts { counts })?);
    }
    let limit = query.limit.map_or(DEFAULT_LIMIT, |Bounded(limit)| limit);
    // One more than the limit, to detect truncation.
    let connections = api.app.connections(&context, filter, Some(limit + 1));
    let mut listing = Listing::new(connections.await?, accepted_format(&headers), limit);
    // An early failure still gets its own status.
    let first = match tokio::time::timeout(FIRST_CHUNK_TIMEOUT, listing.chunk()).await {
        Ok(first) => first?,
        Err(_) => None,
    };
    Ok(listing.respond(first))
}

impl ConnectionsQuery {
    fn filter(&self) -> ConnectionFilter {
        ConnectionFilter {
            protocol: self.protocol.map(|AnyProtocol(protocol)| protocol),
            client: self.client,
            virtual_address: self.r#virtual,
            fwmark: self.fwmark.and_then(|Bounded(mark)| mark.try_into().ok()),
            destination: self.destination,
            state: self.state.clone(),
            templates: self.templates,
        }
    }
}

/// The format requested by `Accept`.
fn accepted_format(headers: &HeaderMap) -> Format {
    let wants = |essence: &str| {
        headers
            .get_all(header::ACCEPT)
            .iter()
            .flat_map(|value| value.to_str().unwrap_or_default().split(','))
            .any(|range| {
                let range = range.split(';').next().unwrap_or_default();
                range.trim().eq_ignore_ascii_case(essence)
            })
    };
    if wants(NDJSON) && !wants("application/json") {
        Format::Ndjson
    } else {
        Format::Json
    }
}

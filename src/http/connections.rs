//! `/v1/connections`: the kernel's connection table, streamed as it is read.

use std::time::Duration;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, header};
use utoipa::IntoParams;

use super::{
    Api,
    context::Caller,
    problem::Problem,
    query::{FromQuery, Params, Query},
    reply,
    schema::{self, ConnectionCounts},
};
use crate::{
    app::ConnectionStream,
    model::{Connection, ConnectionFilter, CountBy, Error, Reason},
};

/// Enough for a look; a busy director has millions.
const DEFAULT_LIMIT: u64 = 1_000;
/// More than a connection table of any size in use holds.
const MAX_LIMIT: u64 = 10_000_000;
/// Bytes of a chunk at which it is sent.
const CHUNK: usize = 32 * 1024;

/// How long the head of an answer waits for the first chunk. A filter that few connections pass can
/// take much longer, and a client wants to know that it is being served.
const FIRST_WAIT: Duration = Duration::from_secs(1);

const NDJSON: &str = "application/x-ndjson";

/// Which connections, how many.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "read by the OpenAPI generator")]
pub(super) struct ConnectionParams {
    /// Only this protocol: `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, `ip`, or a number.
    #[param(
        required = false,
        nullable = false,
        pattern = "^(tcp|udp|sctp|icmp|icmpv6|ip|[0-9]{1,4})$",
        example = "tcp"
    )]
    protocol: Option<String>,
    /// Only this client: an address, with or without a port.
    #[param(required = false, nullable = false, example = "198.51.100.7")]
    client: Option<String>,
    /// Only this virtual address, with or without a port.
    #[param(required = false, nullable = false, example = "192.0.2.1:80")]
    r#virtual: Option<String>,
    /// Only this real server, with or without a port.
    #[param(required = false, nullable = false, example = "[2001:db8::a]:80")]
    destination: Option<String>,
    /// Only this state, such as `ESTABLISHED`; case does not matter.
    #[param(required = false, nullable = false, example = "ESTABLISHED")]
    state: Option<String>,
    /// Only persistence templates (true), or only connections (false).
    #[param(required = false, nullable = false)]
    templates: Option<bool>,
    /// At most how many. Default 1000. Not with `count_by`.
    #[param(required = false, nullable = false, minimum = 1, maximum = 10_000_000)]
    limit: Option<i64>,
    /// Only counts the connections, by this.
    #[param(required = false, nullable = false)]
    count_by: Option<CountBy>,
}

/// What a request asks for.
pub(super) struct Wanted {
    filter: ConnectionFilter,
    limit: Option<u64>,
    count_by: Option<CountBy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    /// One connection a line.
    Ndjson,
}

/// A listing under way.
struct Listing {
    connections: ConnectionStream,
    format: Format,
    chunk: Vec<u8>,
    /// How many more may be shown.
    left: u64,
    first: bool,
    /// What was read and is not encoded yet.
    read: std::vec::IntoIter<Connection>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    Ended,
    Over,
}

impl FromQuery for Wanted {
    fn from_query(params: &mut Params) -> Self {
        let wanted = Self {
            filter: ConnectionFilter {
                protocol: params.take("protocol"),
                client: params.take("client"),
                virtual_address: params.take("virtual"),
                destination: params.take("destination"),
                state: params.take_with("state", |text| Ok(text.to_owned())),
                templates: params.take_bool("templates"),
            },
            limit: params.take_number("limit", 1, MAX_LIMIT),
            count_by: params.take("count_by"),
        };
        if wanted.limit.is_some() && wanted.count_by.is_some() {
            params.refuse("limit", "does not go with count_by, which counts all");
        }
        wanted
    }
}

/// List connections
///
/// The kernel's connection table (`ipvsadm -L -c`), streamed as it is read. With `count_by`, only
/// how many there are in each group. `Accept: application/x-ndjson` gives one connection a line;
/// it cannot say whether there are more than `limit`. When reading fails on the way, the transfer
/// breaks off: what ends properly is whole.
#[utoipa::path(
    get, path = "/v1/connections", operation_id = "listConnections", tag = "connections",
    params(ConnectionParams),
    responses((
        status = 200, description = "The connections, or their counts.",
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
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let context = caller.context();
    let Wanted {
        filter,
        limit,
        count_by,
    } = wanted;
    if let Some(by) = count_by {
        let counts = api.app.count_connections(&context, filter, by);
        let counts = counts.await?;
        return Ok(reply::plain(&ConnectionCounts { counts })?);
    }
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    // One more than is shown tells whether there are more.
    let connections = api.app.connections(&context, filter, Some(limit + 1));
    let mut listing = Listing::new(connections.await?, format(&headers), limit);
    // A failure so soon is still answered properly.
    let first = match tokio::time::timeout(FIRST_WAIT, listing.chunk()).await {
        Ok(first) => first?,
        Err(_) => None,
    };
    Ok(listing.respond(first))
}

/// The format that `Accept` asks for.
fn format(headers: &HeaderMap) -> Format {
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

// === impl Listing ===

impl Listing {
    fn new(connections: ConnectionStream, format: Format, limit: u64) -> Self {
        let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 8);
        if format == Format::Json {
            chunk.extend_from_slice(b"{\"connections\":[");
        }
        Self {
            connections,
            format,
            chunk,
            left: limit,
            first: true,
            read: Vec::new().into_iter(),
            phase: Phase::Reading,
        }
    }

    /// The next chunk; `None` at the end.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        while self.phase == Phase::Reading && self.chunk.len() < CHUNK {
            match self.read.next() {
                Some(_) if self.left == 0 => self.end(true),
                Some(connection) => self.push(&connection)?,
                None => match self.connections.next().await.transpose()? {
                    Some(read) => self.read = read.into_iter(),
                    None => self.end(false),
                },
            }
        }
        if self.phase == Phase::Over {
            return Ok(None);
        }
        if self.phase == Phase::Ended {
            self.phase = Phase::Over;
        }
        if self.chunk.is_empty() {
            return Ok(None);
        }
        let next = Vec::with_capacity(self.chunk.capacity());
        Ok(Some(std::mem::replace(&mut self.chunk, next).into()))
    }

    fn push(&mut self, connection: &Connection) -> Result<(), Error> {
        if self.format == Format::Json && !self.first {
            self.chunk.push(b',');
        }
        self.first = false;
        self.left -= 1;
        serde_json::to_writer(&mut self.chunk, connection)
            .map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
        if self.format == Format::Ndjson {
            self.chunk.push(b'\n');
        }
        Ok(())
    }

    fn end(&mut self, truncated: bool) {
        if self.format == Format::Json {
            let tail = format!("],\"truncated\":{truncated}}}");
            self.chunk.extend_from_slice(tail.as_bytes());
        }
        self.phase = Phase::Ended;
    }

    fn respond(self, first: Option<Bytes>) -> Response {
        let media_type = match self.format {
            Format::Json => "application/json",
            Format::Ndjson => NDJSON,
        };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::VARY, HeaderValue::from_static("accept")),
        ];
        let body = if self.phase == Phase::Over {
            Body::from(first.unwrap_or_default())
        } else {
            Body::from_stream(self.stream(first))
        };
        (headers, body).into_response()
    }

    /// The chunks. An error among them breaks the transfer, so that it does not look complete.
    fn stream(self, first: Option<Bytes>) -> impl Stream<Item = Result<Bytes, Error>> {
        let rest = stream::try_unfold(self, |mut listing| async move {
            let chunk = listing.chunk().await.inspect_err(|error| {
                tracing::warn!(%error, "a listing of connections broke off");
            })?;
            Ok(chunk.map(|chunk| (chunk, listing)))
        });
        stream::iter(first.map(Ok)).chain(rest)
    }
}

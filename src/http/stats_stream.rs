//! `/v1/stats/stream`: counters and rates as server-sent events; `/v1/stats/history`: the last ones.

use axum::{extract::State, response::Response};
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};

use super::{
    context::Caller,
    events,
    problem::Problem,
    query::{Query, QueryValue, query},
    reply, schema,
    state::Api,
    values::{Bounded, ServiceId, list},
};
use crate::{
    app::{
        ShownFrame, StatsHistoryRequest, StatsInclude, StatsMessage, StatsStream,
        StatsStreamRequest, WatchMessage,
    },
    model::Reason,
    sampling::{Interval, charged_text},
};

query! {
    /// Query parameters of a stream of statistics.
    StatsStreamQuery {
        /// Time between two frames; odd numbers are rounded up, because the kernel refreshes counters every 2 seconds. Default: 2.
        interval_seconds: Bounded<2, 60>,
        /// What frames have: `totals` always; `services`; `servers` of the service in `service`, with it. Default: `services`.
        include: Include = ["services"],
        /// Frames have only this service in `services`. If it does not exist, they have none.
        service: ServiceId = "tcp-192.0.2.1-80",
    }
}

query! {
    /// Query parameters of the history of statistics.
    StatsHistoryQuery {
        /// The points have this service instead of none in `services`.
        service: ServiceId = "tcp-192.0.2.1-80",
        /// How far back. Default: 900.
        window_seconds: Bounded<1, 3600>,
    }
}

/// Parts of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Include(StatsInclude);

/// The history.
#[derive(Serialize)]
struct History<'a> {
    interval_seconds: u64,
    points: Vec<ShownFrame<'a>>,
}

/// The data of an event that is no frame.
#[derive(Serialize)]
struct Notice<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

const DEFAULT_INTERVAL: Bounded<2, 60> = Bounded(2);
const DEFAULT_WINDOW: Bounded<1, 3600> = Bounded(900);

/// Stream statistics
///
/// Streams counters, connection counts and rates as server-sent events `stats`. All streams share one read of the
/// table. The first event comes at once; its rates are absent until there is an older sample. Rates are computed
/// from the counters of two samples that are at least 4 seconds apart. They are absent where they are not known: when a counter
/// went back, and for services and servers while the kernel does not refresh counters (`estimation`). A client that reads
/// slowly skips frames. `unavailable` says that the kernel could not be read, and `end` that the credential is not valid any more.
#[utoipa::path(
    get, path = "/v1/stats/stream", operation_id = "streamStats", tag = "counters",
    params(Query<StatsStreamQuery>),
    responses((
        status = 200, description = "Events. The schema of the `data` of `stats` is `StatsFrame`, of the others `StatsNotice`.",
        body = String, content_type = "text/event-stream",
        example = json!("event: stats\ndata: {\"time\":\"2026-11-30T08:00:00.123Z\",\"interval_seconds\":4.001,…}\n\n")
    ))
)]
pub(super) async fn stream_stats(
    State(api): State<Api>,
    Query(query): Query<StatsStreamQuery>,
    caller: Caller,
) -> Result<Response, Problem> {
    let StatsStreamQuery {
        interval_seconds,
        include,
        service,
    } = query;
    let Bounded(seconds) = interval_seconds.unwrap_or(DEFAULT_INTERVAL);
    let request = StatsStreamRequest {
        interval: Interval::from_seconds(seconds).unwrap_or(Interval::DEFAULT),
        include: include.map_or(StatsInclude::DEFAULT, |Include(include)| include),
        service: service.map(|ServiceId(key)| key),
    };
    let stream = api.app.stream_stats(&caller.context(), request).await?;
    Ok(events::response(texts(stream)))
}

/// Get the history of statistics
///
/// Returns what streams would have shown in the last quarter of an hour, for charts: the totals, or one service. A point
/// is a frame, whose rates are those since the point before.
#[utoipa::path(
    get, path = "/v1/stats/history", operation_id = "getStatsHistory", tag = "counters",
    params(Query<StatsHistoryQuery>),
    responses((status = 200, description = "The points, oldest first.", body = schema::StatsHistory))
)]
pub(super) async fn history(
    State(api): State<Api>,
    Query(query): Query<StatsHistoryQuery>,
    caller: Caller,
) -> Result<Response, Problem> {
    let StatsHistoryQuery {
        service,
        window_seconds,
    } = query;
    let Bounded(window_seconds) = window_seconds.unwrap_or(DEFAULT_WINDOW);
    let request = StatsHistoryRequest {
        service: service.map(|ServiceId(key)| key),
        window_seconds,
    };
    let history = api.app.stats_history(&caller.context(), request)?;
    let points = history.frames.iter();
    let points = points.map(|frame| ShownFrame::of_history(frame, request.service.is_some()));
    Ok(reply::plain(&History {
        interval_seconds: history.interval.as_secs(),
        points: points.collect(),
    })?)
}

/// The events as text.
fn texts(stream: StatsStream) -> impl Stream<Item = serde_json::Result<Bytes>> {
    stream::unfold(stream, |mut stream| async move {
        loop {
            let message = stream.next().await?;
            if let Some(text) = text_of(&stream, message).transpose() {
                return Some((text, stream));
            }
        }
    })
}

/// The text of a message; `None` if there is no memory for it.
fn text_of(stream: &StatsStream, message: StatsMessage) -> serde_json::Result<Option<Bytes>> {
    let text = match message {
        StatsMessage::Frame(frame) => {
            let view = stream.view();
            let encode = || encoded("stats", &view.of(&frame));
            if view.is_usual() {
                // Encoded once for all clients that see the same.
                return frame.text(view.include().services, encode).map(Some);
            }
            encode()?
        }
        StatsMessage::Idle => return Ok(Some(Bytes::from_static(b": idle\n\n"))),
        StatsMessage::Unavailable(error) => {
            let notice = Notice::new("unavailable", error.reason, Some(&error.detail));
            encoded("unavailable", &notice)?
        }
        StatsMessage::End(error) => {
            let notice = Notice::new("end", WatchMessage::end_reason(&error), None);
            return encoded("end", &notice).map(|text| Some(text.into()));
        }
    };
    let charge = stream.charge(text.capacity());
    Ok(charge.map(|charge| charged_text(text, charge)))
}

fn encoded(kind: &str, data: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::new();
    events::write(&mut text, kind, data)?;
    Ok(text)
}

// === impl Notice ===

impl<'a> Notice<'a> {
    fn new(kind: &'static str, reason: Reason, detail: Option<&'a str>) -> Self {
        Self {
            kind,
            reason: reason.as_str(),
            detail,
        }
    }
}

// === impl Include ===

impl QueryValue for Include {
    const IS_LIST: bool = true;

    fn schema() -> RefOr<Schema> {
        list("StatsInclude").build().into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        StatsInclude::named(text.split(',')).map(Self)
    }
}

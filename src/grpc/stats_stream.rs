//! StreamStats and GetStatsHistory: counters and rates over time.

use std::time::Duration;

use futures_util::{Stream, stream};
use prost::Message;

use super::{
    api::Api,
    convert::{Fields, count, non_empty, service_key, timestamp},
};
use crate::{
    app::{
        RequestContext, ShownService, StatsHistoryRequest, StatsInclude, StatsMessage, StatsStream,
        StatsStreamRequest, StatsView,
    },
    model::{Error, ServiceKey},
    proto::v1 as pb,
    sampling::{Frame, Interval, MeasuredRates, ServerFrame, ServiceFrame, TotalsFrame},
};

/// Default and maximum of `window`, in seconds.
const DEFAULT_WINDOW: u64 = 900;
const MAX_WINDOW: u64 = 3600;

pub(super) async fn stream_stats(
    api: Api,
    request: pb::StreamStatsRequest,
    context: RequestContext,
) -> Result<impl Stream<Item = Result<pb::StreamStatsResponse, Error>> + use<>, Error> {
    let pb::StreamStatsRequest {
        interval,
        include,
        service,
    } = request;
    let mut fields = Fields::default();
    let interval = fields.take(parse_interval(interval));
    let words = include.iter().map(String::as_str);
    let include = match include.is_empty() {
        true => Ok(StatsInclude::DEFAULT),
        false => StatsInclude::named(words),
    };
    let include = fields.take(include.map_err(|message| Error::invalid("include", message)));
    let service = fields.take(parse_service(service)).flatten();
    fields.finish()?;
    let request = StatsStreamRequest {
        interval: interval.unwrap_or(Interval::DEFAULT),
        include: include.unwrap_or(StatsInclude::DEFAULT),
        service,
    };
    Ok(responses(api.app.stream_stats(&context, request).await?))
}

pub(super) async fn history(
    api: Api,
    request: pb::GetStatsHistoryRequest,
    context: RequestContext,
) -> Result<pb::GetStatsHistoryResponse, Error> {
    let pb::GetStatsHistoryRequest { service, window } = request;
    let mut fields = Fields::default();
    let window = fields.take(parse_window(window));
    let service = fields.take(parse_service(service)).flatten();
    fields.finish()?;
    let request = StatsHistoryRequest {
        service,
        window_seconds: window.unwrap_or(DEFAULT_WINDOW),
    };
    let history = api.app.stats_history(&context, request)?;
    let points = history.frames.iter().map(|frame| pb::StatsFrame {
        services: frame
            .services
            .iter()
            .map(pb::StatsFrameService::from)
            .collect(),
        ..of_frame(frame, &frame.totals)
    });
    Ok(pb::GetStatsHistoryResponse {
        interval: history.interval.try_into().ok(),
        points: points.collect(),
    })
}

/// One message per frame. At the end, the status says why.
fn responses(stream: StatsStream) -> impl Stream<Item = Result<pb::StreamStatsResponse, Error>> {
    // The charge of a message is held until the next one is asked for, when it has been encoded and taken.
    stream::unfold((stream, None), |(mut stream, mut held)| async move {
        loop {
            let message = stream.next().await?;
            drop(held.take());
            let response = match message {
                StatsMessage::Idle => continue,
                StatsMessage::End(error) => return Some((Err(error), (stream, None))),
                StatsMessage::Frame(frame) => pb::StreamStatsResponse {
                    frame: Some(shown(stream.view(), &frame)),
                    reason: String::new(),
                },
                StatsMessage::Unavailable(error) => pb::StreamStatsResponse {
                    frame: None,
                    reason: error.reason.as_str().to_owned(),
                },
            };
            if let Some(charge) = stream.charge(response.encoded_len()) {
                return Some((Ok(response), (stream, Some(charge))));
            }
        }
    })
}

fn parse_service(id: String) -> Result<Option<ServiceKey>, Error> {
    let id = non_empty(id);
    id.map(|id| service_key(&id, "service")).transpose()
}

fn parse_interval(interval: Option<prost_types::Duration>) -> Result<Interval, Error> {
    let Some(interval) = interval else {
        return Ok(Interval::DEFAULT);
    };
    let seconds = seconds(interval, "interval")?;
    Interval::from_seconds(seconds).ok_or_else(|| {
        let range = Interval::SECONDS;
        let message = format!(
            "{seconds} s is out of range: {} to {} s",
            range.start(),
            range.end()
        );
        Error::invalid("interval", message)
    })
}

fn parse_window(window: Option<prost_types::Duration>) -> Result<u64, Error> {
    let Some(window) = window else {
        return Ok(DEFAULT_WINDOW);
    };
    let seconds = seconds(window, "window")?;
    match (1..=MAX_WINDOW).contains(&seconds) {
        true => Ok(seconds),
        false => Err(Error::invalid(
            "window",
            format!("{seconds} s is out of range: 1 to {MAX_WINDOW} s"),
        )),
    }
}

/// A number of seconds, rounded up.
fn seconds(duration: prost_types::Duration, field: &str) -> Result<u64, Error> {
    let duration =
        Duration::try_from(duration).map_err(|_| Error::invalid(field, "must not be negative"))?;
    let more = u64::from(duration.subsec_nanos() > 0);
    Ok(duration.as_secs().saturating_add(more))
}

/// The frame as the client sees it.
fn shown(view: &StatsView, frame: &Frame) -> pb::StatsFrame {
    let shown = view.of(frame);
    let services = shown.services.iter().flatten();
    pb::StatsFrame {
        services: services.map(pb::StatsFrameService::from).collect(),
        ..of_frame(frame, &shown.totals)
    }
}

fn of_frame(frame: &Frame, totals: &TotalsFrame) -> pb::StatsFrame {
    pb::StatsFrame {
        time: Some(timestamp(frame.time)),
        interval: frame.interval.and_then(|time| time.try_into().ok()),
        estimation: frame.estimation,
        totals: Some(totals.into()),
        services: Vec::new(),
    }
}

impl From<&TotalsFrame> for pb::StatsFrameTotals {
    fn from(totals: &TotalsFrame) -> Self {
        let TotalsFrame {
            stats,
            rates,
            service_count,
            server_count,
            active_connections,
            inactive_connections,
        } = totals;
        Self {
            stats: Some(stats.into()),
            rates: rates.as_ref().map(pb::MeasuredRates::from),
            service_count: count(*service_count),
            server_count: count(*server_count),
            active_connections: count(*active_connections),
            inactive_connections: count(*inactive_connections),
        }
    }
}

impl From<&ShownService<'_>> for pb::StatsFrameService {
    fn from(shown: &ShownService<'_>) -> Self {
        let servers = shown.servers.unwrap_or_default();
        Self {
            servers: servers.iter().map(pb::StatsFrameServer::from).collect(),
            ..shown.service.into()
        }
    }
}

impl From<&ServiceFrame> for pb::StatsFrameService {
    fn from(service: &ServiceFrame) -> Self {
        let ServiceFrame {
            id,
            stats,
            rates,
            server_count,
            available_server_count,
            active_connections,
            inactive_connections,
        } = service;
        Self {
            id: id.to_string(),
            stats: Some(stats.into()),
            rates: rates.as_ref().map(pb::MeasuredRates::from),
            server_count: *server_count,
            available_server_count: *available_server_count,
            active_connections: count(*active_connections),
            inactive_connections: count(*inactive_connections),
            servers: Vec::new(),
        }
    }
}

impl From<&ServerFrame> for pb::StatsFrameServer {
    fn from(server: &ServerFrame) -> Self {
        let ServerFrame {
            id,
            weight,
            active_connections,
            inactive_connections,
            persistent_connections,
            stats,
            rates,
        } = server;
        Self {
            id: id.to_string(),
            weight: *weight,
            active_connections: *active_connections,
            inactive_connections: *inactive_connections,
            persistent_connections: *persistent_connections,
            stats: Some(stats.into()),
            rates: rates.as_ref().map(pb::MeasuredRates::from),
        }
    }
}

impl From<&MeasuredRates> for pb::MeasuredRates {
    fn from(rates: &MeasuredRates) -> Self {
        let MeasuredRates {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        } = *rates;
        Self {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        }
    }
}

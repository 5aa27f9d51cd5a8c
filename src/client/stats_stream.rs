//! The stream of statistics: counters and rates, sent at an interval.

use std::time::Instant;

use serde::Deserialize;

use super::{
    blocking::{Client, with_query},
    error::ClientError,
    http1::Body,
    watch::{EVENT_STREAM, SILENCE},
};
use crate::model::{ServerKey, ServiceKey, Stats};

/// What a stream of statistics has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsStreamQuery {
    /// Seconds from one frame to the next, 2 to 60; default 2.
    pub interval_seconds: Option<u32>,
    /// What a frame has besides the totals.
    pub include: StatsInclude,
    /// The only service in the frames; default all.
    pub service: Option<ServiceKey>,
}

/// What a frame has besides the totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatsInclude {
    /// Nothing.
    Totals,
    /// The services.
    #[default]
    Services,
    /// The service of the query, with its servers.
    Servers,
}

/// Statistics of a director at one time. What is not included is empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct StatsFrame {
    /// When they were read (RFC 3339).
    pub time: String,
    /// Whether the kernel refreshes the counters of services and servers (`run_estimation`).
    pub estimation: bool,
    /// The sums over the table.
    pub totals: TotalsFrame,
    /// The services.
    #[serde(default)]
    pub services: Vec<ServiceFrame>,
}

/// The sums over the table.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct TotalsFrame {
    /// Counters since the start or the last zero.
    #[serde(default)]
    pub stats: Stats,
    /// Rates; `None` if they are not known.
    pub rates: Option<RatesFrame>,
    /// Number of services.
    pub service_count: u64,
    /// Number of servers.
    pub server_count: u64,
    /// Current connections in state ESTABLISHED.
    pub active_connections: u64,
    /// Current connections in other states.
    pub inactive_connections: u64,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ServiceFrame {
    /// Id.
    pub id: ServiceKey,
    /// Counters since the last zero.
    #[serde(default)]
    pub stats: Stats,
    /// Rates; `None` if they are not known.
    pub rates: Option<RatesFrame>,
    /// Number of servers.
    pub server_count: u64,
    /// Number of servers that get new connections.
    pub available_server_count: u64,
    /// Current connections in state ESTABLISHED, of all servers.
    pub active_connections: u64,
    /// Current connections in other states.
    pub inactive_connections: u64,
    /// The servers.
    #[serde(default)]
    pub servers: Vec<ServerFrame>,
}

/// A real server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ServerFrame {
    /// Id.
    pub id: ServerKey,
    /// Weight.
    pub weight: u32,
    /// Current connections in state ESTABLISHED.
    pub active_connections: u64,
    /// Current connections in other states.
    pub inactive_connections: u64,
    /// Current persistence templates.
    pub persistent_connections: u64,
    /// Counters since the last zero.
    #[serde(default)]
    pub stats: Stats,
    /// Rates; `None` if they are not known.
    pub rates: Option<RatesFrame>,
}

/// Rates per second since the frame before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct RatesFrame {
    /// Connections.
    pub connections: f64,
    /// Packets from clients.
    pub packets_in: f64,
    /// Packets to clients.
    pub packets_out: f64,
    /// Bytes from clients.
    pub bytes_in: f64,
    /// Bytes to clients.
    pub bytes_out: f64,
}

/// An event of a stream of statistics.
#[derive(Clone, Debug, PartialEq)]
pub enum StatsEvent {
    /// Statistics.
    Frame(StatsFrame),
    /// The kernel could not be read: why. The stream goes on.
    Unavailable(String),
    /// The daemon ends the stream, for this reason: `UNAUTHENTICATED` or `PERMISSION_DENIED`.
    End(String),
}

/// A stream of statistics: an iterator over its events, which has no end of its own.
#[derive(Debug)]
pub struct StatsStream<'a> {
    client: &'a Client,
    body: Body,
    line: Vec<u8>,
    /// The event of the data that follows.
    kind: Kind,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Stats,
    Unavailable,
    End,
    /// One of a newer daemon.
    Unknown,
}

#[derive(Deserialize)]
struct Unavailable {
    detail: String,
}

#[derive(Deserialize)]
struct End {
    reason: String,
}

/// Size limit of a frame in bytes. 500,000 services are smaller.
const MAX_FRAME: usize = 256 << 20;

// === impl StatsStreamQuery ===

impl StatsStreamQuery {
    /// The path with its query.
    pub fn path(&self) -> String {
        let include = match self.include {
            StatsInclude::Totals => "totals",
            StatsInclude::Services => "services",
            StatsInclude::Servers => "servers",
        };
        let interval = self.interval_seconds;
        let parameters = [
            ("interval_seconds", interval.map(|s| s.to_string())),
            ("include", Some(include.to_owned())),
            ("service", self.service.map(|key| key.to_string())),
        ];
        let present = parameters.into_iter();
        let present = present.filter_map(|(name, value)| Some((name, value?)));
        with_query("/v1/stats/stream", present)
    }
}

// === impl Client ===

impl Client {
    /// Reads statistics at an interval.
    pub fn stats_stream(&self, query: &StatsStreamQuery) -> Result<StatsStream<'_>, ClientError> {
        let response = self.stream(&query.path(), EVENT_STREAM, self.silence())?;
        Ok(StatsStream {
            client: self,
            body: response.body,
            line: Vec::new(),
            kind: Kind::Unknown,
        })
    }
}

// === impl StatsStream ===

impl StatsStream<'_> {
    /// The next event; `None` at the end of the connection.
    fn event(&mut self) -> Result<Option<StatsEvent>, ClientError> {
        loop {
            let deadline = Instant::now() + SILENCE;
            let Self { body, line, .. } = self;
            if !self.client.read_line_of(body, line, deadline, MAX_FRAME)? {
                return Ok(None);
            }
            if let Some(event) = self.line.strip_prefix(b"event: ") {
                self.kind = match event {
                    b"stats" => Kind::Stats,
                    b"unavailable" => Kind::Unavailable,
                    b"end" => Kind::End,
                    _ => Kind::Unknown,
                };
            } else if let Some(data) = self.line.strip_prefix(b"data: ") {
                return Ok(Some(match self.kind {
                    Kind::Stats => StatsEvent::Frame(serde_json::from_slice(data)?),
                    Kind::Unavailable => {
                        StatsEvent::Unavailable(serde_json::from_slice::<Unavailable>(data)?.detail)
                    }
                    Kind::End => StatsEvent::End(serde_json::from_slice::<End>(data)?.reason),
                    Kind::Unknown => continue,
                }));
            }
        }
    }
}

impl Iterator for StatsStream<'_> {
    type Item = Result<StatsEvent, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.event().transpose()
    }
}

//! Watches: changes of services and servers as they happen.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    blocking::{Client, with_query},
    error::ClientError,
    http1::Body,
};

/// What a watch returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchQuery {
    /// Query parameters of the API and their values: `from_revision`, `initial`, `resources`,
    /// `protocol`, `address`, `port`, `fwmark`, `scheduler`, `owner`, `label`.
    pub parameters: Vec<(&'static str, String)>,
}

/// An event of a watch.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct WatchEvent {
    /// `added`, `modified`, `deleted`, `bookmark`, `resync` or `end`; later versions may add others.
    #[serde(rename = "type")]
    pub kind: String,
    /// Id of the service.
    pub service: Option<String>,
    /// Id of the server, if the object is one.
    pub server: Option<String>,
    /// The object before, under its kind.
    pub before: Option<Map<String, Value>>,
    /// The object after, under its kind.
    pub after: Option<Map<String, Value>>,
    /// `api`, `task` or `foreign`.
    pub origin: Option<String>,
    /// Who has made the change, if the client may know it.
    pub principal: Option<String>,
    /// Why the state is sent anew, or why the watch ends.
    pub reason: Option<String>,
    /// The revision after the change.
    pub revision: Option<String>,
    /// When the change was executed or found (RFC 3339).
    pub time: Option<String>,
    /// The daemon's JSON.
    #[serde(skip)]
    pub json: Vec<u8>,
}

/// A watch: an iterator over its events, which has no end of its own.
#[derive(Debug)]
pub struct Watch<'a> {
    client: &'a Client,
    body: Body,
    line: Vec<u8>,
}

/// Media type of server-sent events.
pub(super) const EVENT_STREAM: &str = "text/event-stream";

/// Longest time between two lines: the daemon sends a bookmark or a comment every 15 seconds at least.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

// === impl WatchQuery ===

impl WatchQuery {
    /// The path with its query.
    pub fn path(&self) -> String {
        with_query("/v1/watch", self.parameters.iter().cloned())
    }
}

// === impl Client ===

impl Client {
    /// Watches services and servers.
    pub fn watch(&self, query: &WatchQuery) -> Result<Watch<'_>, ClientError> {
        let response = self.stream(&query.path(), EVENT_STREAM, self.silence())?;
        Ok(Watch {
            client: self,
            body: response.body,
            line: Vec::new(),
        })
    }
}

// === impl Watch ===

impl Iterator for Watch<'_> {
    type Item = Result<WatchEvent, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let deadline = Instant::now() + SILENCE;
            let line = self
                .client
                .read_line(&mut self.body, &mut self.line, deadline);
            match line {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
            // Its type and its id are also in the data.
            if let Some(data) = self.line.strip_prefix(b"data: ") {
                let event = serde_json::from_slice::<WatchEvent>(data);
                let json = data.to_vec();
                return Some(
                    event
                        .map(|event| WatchEvent { json, ..event })
                        .map_err(ClientError::from),
                );
            }
        }
    }
}

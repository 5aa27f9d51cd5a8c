//! Records: what is written, read back, and shown.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use super::{
    event::{Caller, Changes, Event, Operations, Outcome},
    queue::Entry,
    values::before_and_after,
};

/// A record of the audit trail. `docs/audit.md` describes the fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Number of the record. Where numbers are missing, records were lost.
    pub seq: u64,
    /// When it ended, to the millisecond.
    #[serde(serialize_with = "milliseconds", deserialize_with = "timestamp")]
    pub time: Timestamp,
    /// Name of the principal.
    pub principal: String,
    /// Kind of the credential by which the principal was recognised.
    pub credential: String,
    /// The other end of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Protocol of the request.
    pub protocol: String,
    /// Operations that were executed; otherwise what was requested.
    pub operation: String,
    /// Id of the service, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Id of the server, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// What was replaced or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed or was refused: a reason of errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Seconds from the complete request to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<f64>,
}

/// Longest name of a principal or of an operation in characters.
const MAX_NAME: usize = 1024;

// === impl AuditRecord ===

impl From<&Entry> for AuditRecord {
    fn from(entry: &Entry) -> Self {
        let Entry { seq, time, event } = entry;
        let Event {
            caller,
            operation,
            service,
            server,
            changes,
            outcome,
            reason,
            start,
            end,
        } = event;
        let Caller {
            principal,
            peer,
            request_id,
            protocol,
        } = caller;
        let (before, after) = before_and_after(changes);
        let latency = start.map(|start| end.saturating_duration_since(start));
        Self {
            seq: *seq,
            time: Timestamp::from_millisecond(*time).unwrap_or_default(),
            principal: shortened(principal.name.clone()),
            credential: principal.kind.as_str().to_owned(),
            peer: peer.map(|peer| peer.to_string()),
            request_id: request_id.as_deref().map(str::to_owned),
            protocol: protocol.as_str().to_owned(),
            operation: shortened(operations(changes).unwrap_or_else(|| operation.to_string())),
            service: service.map(|key| key.to_string()),
            server: server.map(|key| key.to_string()),
            before,
            after,
            outcome: *outcome,
            reason: reason.map(|reason| reason.as_str().to_owned()),
            // To the microsecond, without what a binary fraction adds.
            latency_seconds: latency.map(|latency| latency.as_micros() as f64 / 1e6),
        }
    }
}

impl AuditRecord {
    /// Whether the record is about the service, or one of its operations is.
    pub(super) fn is_about(&self, service: &str) -> bool {
        let names = |value: &Option<Value>| {
            let operations = value.as_ref().and_then(Value::as_array);
            let mut operations = operations.into_iter().flatten();
            operations.any(|operation| operation["service"] == service)
        };
        self.service.as_deref() == Some(service) || names(&self.before) || names(&self.after)
    }
}

/// The names of the operations: `create_service create_server*3`.
fn operations(changes: &Changes) -> Option<String> {
    match changes {
        Changes::None | Changes::Restore { .. } | Changes::Lost(_) | Changes::Requests(_) => None,
        Changes::One(op, _) => Some(op.name().to_owned()),
        Changes::Several(Operations { names, .. }) => {
            let names = names.iter().map(|(name, count)| match count {
                1 => (*name).to_owned(),
                _ => format!("{name}*{count}"),
            });
            Some(names.collect::<Vec<_>>().join(" "))
        }
    }
}

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MAX_NAME) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn milliseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(D::Error::custom)
}

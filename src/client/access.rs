//! Who the daemon takes this client for, what it may do, and what others have done.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use serde_json::Value;

use super::{
    blocking::{Client, percent_encode},
    error::ClientError,
};

/// The principal of this client's requests (`GET /v1/whoami`). Names that a newer daemon adds are kept
/// as text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Principal {
    /// Its name in the policy of the daemon.
    pub name: String,
    /// How the daemon has recognised it: `token`, `certificate`, `jwt`, `unix`, `anonymous`, `system`.
    pub kind: String,
    /// `viewer`, `operator`, `editor`, `admin`; `None` for one that may do nothing.
    pub role: Option<String>,
    /// The rules of which one must match a service; `None` for all services. Empty: no service.
    pub scope: Option<Vec<ScopeRule>>,
    /// Whether reads are limited to the scope, too.
    #[serde(default)]
    pub scope_reads: bool,
}

/// A rule of a scope by field: `address`, `ports`, `protocol`, `fwmark`, `owner`. All must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ScopeRule(pub BTreeMap<String, Value>);

/// Whether an operation is allowed (`GET /v1/can-i`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Decision {
    /// Whether it is.
    pub allowed: bool,
    /// Why not; empty if it is allowed and the daemon gives no reason.
    #[serde(default)]
    pub reason: String,
}

/// A filter of the audit records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only records from this time, in RFC 3339.
    pub since_time: Option<String>,
    /// Only records before this time, in RFC 3339.
    pub until_time: Option<String>,
    /// Only records of the principal with this name.
    pub principal: Option<String>,
    /// Only records of the service with this id.
    pub service: Option<String>,
    /// Maximum number of records. Default: all.
    pub limit: Option<usize>,
}

/// A record of the audit trail.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct AuditRecord {
    /// Number of the record. Missing numbers are those of records that were lost.
    pub seq: u64,
    /// When the request ended, in RFC 3339.
    pub time: String,
    /// Name of the principal.
    #[serde(default)]
    pub principal: String,
    /// How the daemon has recognised it.
    #[serde(default)]
    pub credential: String,
    /// Address of the client.
    pub peer: Option<String>,
    /// Id of the request.
    pub request_id: Option<String>,
    /// `http` or `grpc`.
    pub protocol: Option<String>,
    /// The operations that were executed; otherwise what was requested.
    #[serde(default)]
    pub operation: String,
    /// Id of the service.
    pub service: Option<String>,
    /// Id of the real server.
    pub server: Option<String>,
    /// The resource before the operation. What is longer than 4 KiB is cut, and says so.
    pub before: Option<Value>,
    /// The resource after the operation, cut likewise.
    pub after: Option<Value>,
    /// What became of the request.
    #[serde(default)]
    pub outcome: String,
    /// Reason of a failure or a refusal.
    pub reason: Option<String>,
    /// Duration of the request in seconds.
    pub latency_seconds: Option<f64>,
}

#[derive(Deserialize)]
struct AuditPage {
    records: Vec<AuditRecord>,
}

/// The daemon's largest page of audit records.
const AUDIT_PAGE: usize = 1000;

/// Counts the records of a page.
#[derive(Deserialize)]
struct AuditCount {
    records: Vec<serde::de::IgnoredAny>,
}

// === impl ScopeRule ===

impl fmt::Display for ScopeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            match value {
                Value::String(text) => write!(f, "{separator}{name} {text}")?,
                value => write!(f, "{separator}{name} {value}")?,
            }
        }
        Ok(())
    }
}

// === impl AuditQuery ===

impl AuditQuery {
    fn path(&self) -> String {
        let filters = [
            ("since_time", &self.since_time),
            ("until_time", &self.until_time),
            ("principal", &self.principal),
            ("service", &self.service),
        ];
        let mut path = "/v1/audit?".to_owned();
        for (name, value) in filters {
            if let Some(value) = value {
                path += &format!("{name}={}&", percent_encode(value));
            }
        }
        path.pop();
        path
    }
}

// === impl Client ===

impl Client {
    /// Reads which principal the daemon takes this client for.
    pub fn whoami(&self) -> Result<Principal, ClientError> {
        Ok(self.get("/v1/whoami")?.0)
    }

    /// Asks whether this client may do something, such as `update_weight`, to a service, or to all.
    /// Returns the daemon's JSON, too.
    pub fn decision(
        &self,
        verb: &str,
        service: Option<&str>,
    ) -> Result<(Decision, Vec<u8>), ClientError> {
        let mut path = format!("/v1/can-i?verb={}", percent_encode(verb));
        if let Some(service) = service {
            path += &format!("&service={}", percent_encode(service));
        }
        self.get(&path)
    }

    /// As [`Self::decision`]: whether it is allowed.
    pub fn can_i(&self, verb: &str, service: Option<&str>) -> Result<bool, ClientError> {
        Ok(self.decision(verb, service)?.0.allowed)
    }

    /// Reads audit records, the newest first. Only an administrator may.
    pub fn audit(&self, query: &AuditQuery) -> Result<Vec<AuditRecord>, ClientError> {
        let mut records = Vec::new();
        for page in self.audit_pages(query)? {
            records.append(&mut serde_json::from_slice::<AuditPage>(&page)?.records);
        }
        records.truncate(query.limit.unwrap_or(usize::MAX));
        Ok(records)
    }

    /// Reads audit records as the daemon's JSON. The last page may have more than the limit.
    pub fn audit_pages(&self, query: &AuditQuery) -> Result<Vec<Vec<u8>>, ClientError> {
        let limit = query.limit.unwrap_or(usize::MAX);
        let mut read = 0;
        self.pages_while(&query.path(), limit.min(AUDIT_PAGE), |page| {
            read += serde_json::from_slice::<AuditCount>(page)?.records.len();
            Ok(read < limit)
        })
    }
}

//! `/v1/audit`: the audit trail.

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{
    context::Caller,
    problem::Problem,
    query::{Query, query},
    reply, schema,
    state::Api,
    values::{ServiceId, Time},
};
use crate::{
    app::{AuditPage, ListAuditRecords},
    audit::AuditRecord,
};

query! {
    /// Query parameters of the audit trail.
    AuditTrailQuery {
        /// Only records of this time and later ones.
        since_time: Time = "2026-01-31T12:00:00Z",
        /// Only records before this time.
        until_time: Time = "2026-02-01T00:00:00Z",
        /// Only records of the principal with this name.
        principal: String = "grafana",
        /// Only records about this service, or with an operation on it.
        service: ServiceId = "tcp-192.0.2.1-80",
        /// Maximum number of records, 1 to 1000; 0 for the default. A page of 512 KiB ends earlier.
        /// Default: 100.
        page_size: u32,
        /// `next_page_token` of the previous page, with otherwise the same parameters.
        page_token: String,
    }
}

/// A page of records.
#[derive(Serialize)]
struct AuditRecordList {
    records: Vec<AuditRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// List audit records
///
/// Lists the audit trail, the newest records first: changes, refused requests, sessions of browsers, and reads
/// of the connection table and of the audit trail. Dry runs that are not refused, and requests with invalid
/// arguments, are not recorded. This request is recorded after its page was made. A page can be empty although others
/// follow (`next_page_token`): a request searches 64 MiB of files at most.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "listAuditRecords", tag = "audit",
    params(Query<AuditTrailQuery>),
    responses((
        status = 200, description = "A page of records.", body = schema::AuditRecordList,
        example = json!({
            "records": [{
                "seq": 4711, "time": "2026-01-31T12:00:00.123Z", "principal": "grafana",
                "credential": "token", "peer": "192.0.2.7:51234", "request_id": "8c6f0b4d5e0a1b2c-42",
                "protocol": "http", "operation": "update_server", "service": "tcp-192.0.2.1-80",
                "server": "192.168.10.1-80",
                "before": {"server": {
                    "id": "192.168.10.1-80", "address": "192.168.10.1", "port": 80,
                    "forwarding": "masquerade", "weight": 1, "upper_threshold": 0, "lower_threshold": 0
                }},
                "after": {"server": {
                    "id": "192.168.10.1-80", "address": "192.168.10.1", "port": 80,
                    "forwarding": "masquerade", "weight": 0, "upper_threshold": 0, "lower_threshold": 0
                }},
                "outcome": "success", "latency_seconds": 0.000213
            }],
            "next_page_token": "2a4b9c10~1267~1a2f.5d3"
        })
    ))
)]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<AuditTrailQuery>,
) -> Result<Response, Problem> {
    let AuditTrailQuery {
        since_time,
        until_time,
        principal,
        service,
        page_size,
        page_token,
    } = query;
    let request = ListAuditRecords {
        since_time: since_time.map(|Time(time)| time),
        until_time: until_time.map(|Time(time)| time),
        principal,
        service: service.map(|ServiceId(key)| key),
        page_size,
        page_token,
    };
    let AuditPage {
        records,
        next_page_token,
    } = api.app.audit(&caller.context(), request).await?;
    Ok(reply::plain(&AuditRecordList {
        records,
        next_page_token,
    })?)
}

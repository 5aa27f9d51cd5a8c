//! ListAuditRecords: the audit trail.

use jiff::Timestamp;
use prost_types::{ListValue, Struct, Value as PbValue, value::Kind};
use serde_json::Value;

use super::{
    api::Api,
    convert::{Fields, non_empty, service_key, timestamp},
};
use crate::{
    app::{AuditPage, ListAuditRecords, RequestContext},
    audit::AuditRecord,
    model::Error,
    proto::v1 as pb,
};

pub(super) async fn list(
    api: Api,
    request: pb::ListAuditRecordsRequest,
    context: RequestContext,
) -> Result<pb::ListAuditRecordsResponse, Error> {
    let pb::ListAuditRecordsRequest {
        since_time,
        until_time,
        principal,
        service,
        page_size,
        page_token,
    } = request;
    let mut fields = Fields::default();
    let since_time = fields.take(time(since_time, "since_time")).flatten();
    let until_time = fields.take(time(until_time, "until_time")).flatten();
    let service = non_empty(service).and_then(|id| fields.take(service_key(&id, "service")));
    fields.finish()?;
    let request = ListAuditRecords {
        since_time,
        until_time,
        principal: non_empty(principal),
        service,
        page_size: Some(page_size),
        page_token: non_empty(page_token),
    };
    let AuditPage {
        records,
        next_page_token,
    } = api.app.audit(&context, request).await?;
    Ok(pb::ListAuditRecordsResponse {
        records: records.into_iter().map(pb::AuditRecord::from).collect(),
        next_page_token: next_page_token.unwrap_or_default(),
    })
}

impl From<AuditRecord> for pb::AuditRecord {
    fn from(record: AuditRecord) -> Self {
        let AuditRecord {
            seq,
            time,
            principal,
            credential,
            peer,
            request_id,
            protocol,
            operation,
            service,
            server,
            before,
            after,
            outcome,
            reason,
            latency_seconds,
        } = record;
        Self {
            seq,
            time: Some(timestamp(time)),
            principal,
            credential,
            peer,
            request_id,
            protocol,
            operation,
            service,
            server,
            before: before.map(value),
            after: after.map(value),
            outcome: outcome.as_str().to_owned(),
            reason,
            latency_seconds,
        }
    }
}

/// Parses a time of a request.
fn time(time: Option<prost_types::Timestamp>, field: &str) -> Result<Option<Timestamp>, Error> {
    let parse = |time: prost_types::Timestamp| {
        let nanos = Some(time.nanos).filter(|nanos| (0..1_000_000_000).contains(nanos));
        let parsed = nanos.and_then(|nanos| Timestamp::new(time.seconds, nanos).ok());
        parsed.ok_or_else(|| {
            Error::invalid(
                field,
                "must be between the years 1 and 9999, with nanos from 0 to 999999999",
            )
        })
    };
    time.map(parse).transpose()
}

fn value(value: Value) -> PbValue {
    PbValue {
        kind: Some(match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(on) => Kind::BoolValue(on),
            // The values of records have at most 32 bits.
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
            Value::String(text) => Kind::StringValue(text),
            Value::Array(items) => Kind::ListValue(ListValue {
                values: items.into_iter().map(self::value).collect(),
            }),
            Value::Object(members) => Kind::StructValue(Struct {
                fields: members
                    .into_iter()
                    .map(|(name, member)| (name, self::value(member)))
                    .collect(),
            }),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_keep_their_structure() {
        let converted = value(json!({"a": [1, "x", true, null], "b": {}}));
        let Some(Kind::StructValue(Struct { fields })) = converted.kind else {
            panic!("{converted:?}");
        };
        let Some(Kind::ListValue(ListValue { values })) = &fields["a"].kind else {
            panic!("{fields:?}");
        };
        let kinds: Vec<_> = values.iter().map(|value| value.kind.clone()).collect();
        let expected = [
            Kind::NumberValue(1.0),
            Kind::StringValue("x".to_owned()),
            Kind::BoolValue(true),
            Kind::NullValue(0),
        ];
        assert_eq!(kinds, expected.map(Some));
        let empty = Kind::StructValue(Struct::default());
        assert_eq!(fields["b"].kind, Some(empty));
    }

    #[test]
    fn times_are_converted_and_invalid_ones_named() {
        let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
        for (seconds, nanos) in [(0, 0), (1_700_000_000, 5_000_000), (-2, 500_000_000)] {
            let parsed = time(at(seconds, nanos), "since_time").unwrap().unwrap();
            assert_eq!(Some(timestamp(parsed)), at(seconds, nanos));
        }
        for (seconds, nanos) in [(0, -1), (0, 1_000_000_000), (i64::MAX, 0), (i64::MIN, 0)] {
            let error = time(at(seconds, nanos), "since_time").unwrap_err();
            assert_eq!(error.violations[0].field, "since_time");
        }
    }
}

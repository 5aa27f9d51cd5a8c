//! ListAuditRecords.

use ipvsd::proto::v1 as pb;
use prost_types::{Timestamp, Value, value::Kind};
use tonic::Code;

use super::harness::{Daemon, assert_rejected, start_daemon};

async fn list(daemon: &mut Daemon, request: pb::ListAuditRecordsRequest) -> Vec<pb::AuditRecord> {
    let response = daemon.client.list_audit_records(request).await.unwrap();
    let mut records = response.into_inner().records;
    records.retain(|record| record.operation != "list_audit_records");
    records
}

/// A member of a value.
fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    match &value.kind {
        Some(Kind::StructValue(object)) => &object.fields[name],
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_change_has_a_record() {
    let mut daemon = start_daemon().await;
    daemon
        .create_service("tcp-192.0.2.1-80", &["10.0.0.1-80"])
        .await;
    let delete = pb::DeleteServerRequest {
        service: "tcp-192.0.2.1-80".to_owned(),
        id: "10.0.0.1-80".to_owned(),
        ..pb::DeleteServerRequest::default()
    };
    daemon.client.delete_server(delete).await.unwrap();
    let records = list(&mut daemon, pb::ListAuditRecordsRequest::default()).await;
    let [deleted, created] = records.try_into().unwrap();
    assert_eq!((deleted.seq, created.seq), (2, 1));
    assert_eq!(deleted.operation, "delete_server");
    assert_eq!(deleted.service.as_deref(), Some("tcp-192.0.2.1-80"));
    assert_eq!(deleted.server.as_deref(), Some("10.0.0.1-80"));
    assert_eq!(
        (deleted.protocol.as_str(), deleted.outcome.as_str()),
        ("grpc", "success")
    );
    assert!(deleted.latency_seconds.unwrap() > 0.0);
    assert!(deleted.time.unwrap().seconds > 1_700_000_000);
    let before = deleted.before.unwrap();
    let weight = &member(member(&before, "server"), "weight").kind;
    assert_eq!(*weight, Some(Kind::NumberValue(1.0)));
    assert_eq!(deleted.after, None);
    assert_eq!(created.operation, "create_service create_server");
    assert!(matches!(
        created.after.unwrap().kind,
        Some(Kind::ListValue(_))
    ));
}

#[tokio::test]
async fn filters_and_pages_are_applied() {
    let mut daemon = start_daemon().await;
    for id in ["tcp-192.0.2.1-80", "tcp-192.0.2.2-80", "tcp-192.0.2.1-81"] {
        daemon.create_service(id, &[]).await;
    }
    let one = pb::ListAuditRecordsRequest {
        service: "tcp-192.0.2.2-80".to_owned(),
        principal: "system".to_owned(),
        ..pb::ListAuditRecordsRequest::default()
    };
    let found = list(&mut daemon, one).await;
    assert_eq!(found.len(), 1);
    let time = found[0].time;
    let later = pb::ListAuditRecordsRequest {
        since_time: time,
        ..pb::ListAuditRecordsRequest::default()
    };
    assert!(list(&mut daemon, later).await.contains(&found[0]));
    let earlier = pb::ListAuditRecordsRequest {
        until_time: time,
        ..pb::ListAuditRecordsRequest::default()
    };
    assert!(!list(&mut daemon, earlier).await.contains(&found[0]));

    let mut request = pb::ListAuditRecordsRequest {
        page_size: 1,
        ..pb::ListAuditRecordsRequest::default()
    };
    let mut created = Vec::new();
    loop {
        let page = daemon
            .client
            .list_audit_records(request.clone())
            .await
            .unwrap();
        let page = page.into_inner();
        assert!(page.records.len() <= 1);
        let records = page.records.into_iter();
        created.extend(records.filter(|record| record.operation == "create_service"));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(created.len(), 3);
}

#[tokio::test]
async fn invalid_fields_are_named_together() {
    let mut daemon = start_daemon().await;
    let wrong = pb::ListAuditRecordsRequest {
        since_time: Some(Timestamp {
            seconds: 0,
            nanos: -1,
        }),
        service: "x".to_owned(),
        ..pb::ListAuditRecordsRequest::default()
    };
    let outcome = daemon.client.list_audit_records(wrong).await;
    let fields = ["since_time", "service"];
    assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &fields);
}

use ipvsd::proto::v1 as pb;
use tonic::Code;
use tonic_types::StatusExt;

use super::harness::{assert_rejected, mask, server, service, some, start_daemon, within_timeout};

const WEB: &str = "tcp-192.0.2.1-80";

#[tokio::test]
async fn a_service_is_created_with_its_servers_and_read_back() {
    let mut daemon = start_daemon().await;
    let request = pb::CreateServiceRequest {
        service: Some(pb::Service {
            protocol: some("tcp"),
            address: some("2001:DB8:0::80"),
            port: Some(80),
            scheduler: some("rr"),
            persistence: Some(pb::Persistence::default()),
            servers: vec![server("2001:db8::a0a0-80"), server("2001:db8::a0a1-8080")],
            ..pb::Service::default()
        }),
        ..pb::CreateServiceRequest::default()
    };
    let response = within_timeout(daemon.client.create_service(request.clone()))
        .await
        .unwrap()
        .into_inner();
    assert!(response.created && response.changed);
    let created = response.service.unwrap();
    assert_eq!(created.id, "tcp-2001:db8::80-80");
    assert_eq!(created.scheduler.as_deref(), Some("rr"));
    let persistence = created.persistence.clone().unwrap();
    assert_eq!(persistence.timeout_seconds, Some(300));
    assert_eq!(persistence.netmask.as_deref(), Some("128"));
    assert_eq!((created.server_count, created.stats), (Some(2), None));
    let weights: Vec<_> = created.servers.iter().map(|s| s.weight).collect();
    assert_eq!(weights, [Some(1), Some(1)]);
    assert_eq!(daemon.get_service("tcp-2001:db8::80-80").await, created);
    let again = daemon.client.create_service(request).await;
    assert_rejected(again, Code::AlreadyExists, "SERVICE_EXISTS", &[]);
}

#[tokio::test]
async fn an_invalid_service_is_rejected_with_all_fields_at_fault() {
    let mut daemon = start_daemon().await;
    let request = pb::CreateServiceRequest {
        service: Some(pb::Service {
            one_packet: Some(true),
            persistence: Some(pb::Persistence {
                timeout_seconds: Some(0),
                netmask: some("255.255.255.256"),
            }),
            ..service(WEB)
        }),
        ..pb::CreateServiceRequest::default()
    };
    let fields = [
        "persistence.netmask",
        "persistence.timeout_seconds",
        "one_packet",
    ];
    let outcome = daemon.client.create_service(request).await;
    assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &fields);
    let mut heavy = server("192.168.10.1-80");
    heavy.weight = Some(65536);
    let request = pb::CreateServiceRequest {
        service: Some(pb::Service {
            servers: vec![server("192.168.10.2-80"), heavy],
            ..service(WEB)
        }),
        ..pb::CreateServiceRequest::default()
    };
    let outcome = daemon.client.create_service(request).await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["servers[1].weight"],
    );
    let nothing = daemon
        .client
        .create_service(pb::CreateServiceRequest::default())
        .await;
    assert_rejected(
        nothing,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["service"],
    );
    let unnamed = pb::CreateServiceRequest {
        service: Some(pb::Service::default()),
        ..pb::CreateServiceRequest::default()
    };
    let outcome = daemon.client.create_service(unnamed).await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["protocol"],
    );
    assert!(daemon.kernel.services().is_empty());
}

#[tokio::test]
async fn a_number_out_of_range_is_rejected_with_field_and_range() {
    type Change = fn(&mut pb::Service);
    let invalid: [(&str, &str, Change); 4] = [
        ("port", "0 to 65535", |s| s.port = Some(70_000)),
        ("servers[0].port", "0 to 65535", |s| {
            s.servers[0].port = Some(70_000);
        }),
        ("servers[0].weight", "0 to 65535", |s| {
            s.servers[0].weight = Some(65_536);
        }),
        ("servers[0].upper_threshold", "0 to 2147483647", |s| {
            s.servers[0].upper_threshold = Some(u32::MAX);
        }),
    ];
    let mut daemon = start_daemon().await;
    for (field, range, change) in invalid {
        let mut service = pb::Service {
            protocol: some("tcp"),
            address: some("192.0.2.1"),
            port: Some(80),
            servers: vec![pb::Server {
                address: some("192.168.10.1"),
                ..pb::Server::default()
            }],
            ..pb::Service::default()
        };
        change(&mut service);
        let request = pb::CreateServiceRequest {
            service: Some(service),
            ..pb::CreateServiceRequest::default()
        };
        let outcome = daemon.client.create_service(request).await;
        let status = assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &[field]);
        assert!(status.message().contains(range), "{status:?}");
    }
}

#[tokio::test]
async fn a_missing_service_is_not_found() {
    let mut daemon = start_daemon().await;
    let get = pb::GetServiceRequest {
        id: WEB.to_owned(),
        ..pb::GetServiceRequest::default()
    };
    let outcome = daemon.client.get_service(get).await;
    assert_rejected(outcome, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
    let mut delete = pb::DeleteServiceRequest {
        id: WEB.to_owned(),
        ..pb::DeleteServiceRequest::default()
    };
    let outcome = daemon.client.delete_service(delete.clone()).await;
    assert_rejected(outcome, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
    delete.allow_missing = true;
    let response = daemon.client.delete_service(delete).await.unwrap();
    assert!(!response.into_inner().changed);
    let update = pb::UpdateServiceRequest {
        service: Some(service(WEB)),
        ..pb::UpdateServiceRequest::default()
    };
    let outcome = daemon.client.update_service(update).await;
    assert_rejected(outcome, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
    let bad = pb::GetServiceRequest {
        id: "http-1-2".to_owned(),
        ..pb::GetServiceRequest::default()
    };
    let outcome = daemon.client.get_service(bad).await;
    assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &["id"]);
}

#[tokio::test]
async fn an_update_changes_only_the_fields_in_the_mask() {
    let mut daemon = start_daemon().await;
    let request = pb::CreateServiceRequest {
        service: Some(pb::Service {
            scheduler: some("sh"),
            scheduler_flags: vec!["sh-port".to_owned()],
            persistence: Some(pb::Persistence {
                timeout_seconds: Some(60),
                netmask: some("255.255.255.0"),
            }),
            ..service(WEB)
        }),
        ..pb::CreateServiceRequest::default()
    };
    daemon.client.create_service(request).await.unwrap();
    let mut update = pb::UpdateServiceRequest {
        service: Some(pb::Service {
            scheduler: some("rr"),
            persistence: Some(pb::Persistence {
                timeout_seconds: Some(90),
                netmask: some("255.255.0.0"),
            }),
            ..service(WEB)
        }),
        update_mask: mask(&["persistence.timeout_seconds"]),
        ..pb::UpdateServiceRequest::default()
    };
    let response = daemon
        .client
        .update_service(update.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(response.changed && !response.created);
    let result = response.service.unwrap();
    assert_eq!(result.scheduler.as_deref(), Some("sh"));
    assert_eq!(result.scheduler_flags, ["sh-port"]);
    let persistence = result.persistence.unwrap();
    assert_eq!(persistence.timeout_seconds, Some(90));
    assert_eq!(persistence.netmask.as_deref(), Some("255.255.255.0"));

    let response = daemon
        .client
        .update_service(update.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(!response.changed, "a repeated update changes nothing");

    // With "*", sending back the whole service changes nothing, and absent fields are reset.
    update.service = Some(daemon.get_service(WEB).await);
    update.update_mask = mask(&["*"]);
    let response = daemon
        .client
        .update_service(update.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(!response.changed);
    update.service = Some(service(WEB));
    let result = daemon
        .client
        .update_service(update.clone())
        .await
        .unwrap()
        .into_inner();
    let result = result.service.unwrap();
    assert_eq!(
        (result.scheduler.as_deref(), result.persistence),
        (Some("wlc"), None)
    );

    update.update_mask = mask(&["schedulr"]);
    let outcome = daemon.client.update_service(update.clone()).await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["update_mask.paths[0]"],
    );
    update.update_mask = None;
    update.service = Some(pb::Service {
        servers: vec![server("192.168.10.1-80")],
        ..service(WEB)
    });
    let outcome = daemon.client.update_service(update.clone()).await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["servers"],
    );
    update.service = Some(pb::Service::default());
    let outcome = daemon.client.update_service(update).await;
    assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &["id"]);
}

#[tokio::test]
async fn a_write_with_an_outdated_etag_is_rejected() {
    let mut daemon = start_daemon().await;
    let result = daemon.create_service(WEB, &["192.168.10.1-80"]).await;
    let mut update = pb::UpdateServiceRequest {
        service: Some(pb::Service {
            scheduler: some("rr"),
            ..service(WEB)
        }),
        etag: result.etag.clone(),
        ..pb::UpdateServiceRequest::default()
    };
    daemon.client.update_service(update.clone()).await.unwrap();
    update.service = Some(pb::Service {
        scheduler: some("lc"),
        ..service(WEB)
    });
    let outcome = daemon.client.update_service(update.clone()).await;
    let status = assert_rejected(outcome, Code::Aborted, "REVISION_MISMATCH", &[]);
    let hint = status.get_error_details();
    assert!(hint.error_info().unwrap().metadata.contains_key("hint"));
    update.etag = "*".to_owned();
    daemon.client.update_service(update.clone()).await.unwrap();
    update.etag = "nonsense".to_owned();
    let outcome = daemon.client.update_service(update).await;
    assert_rejected(outcome, Code::Aborted, "REVISION_MISMATCH", &["etag"]);
    let delete = pb::DeleteServiceRequest {
        id: WEB.to_owned(),
        etag: result.etag,
        ..pb::DeleteServiceRequest::default()
    };
    let outcome = daemon.client.delete_service(delete).await;
    assert_rejected(outcome, Code::Aborted, "REVISION_MISMATCH", &[]);
}

#[tokio::test]
async fn an_update_with_allow_missing_creates_the_service() {
    let mut daemon = start_daemon().await;
    let update = pb::UpdateServiceRequest {
        service: Some(pb::Service {
            scheduler: some("rr"),
            ..service("fwmark6-7")
        }),
        allow_missing: true,
        ..pb::UpdateServiceRequest::default()
    };
    let response = daemon
        .client
        .update_service(update)
        .await
        .unwrap()
        .into_inner();
    assert!(response.created && response.changed);
    let result = response.service.unwrap();
    assert_eq!(
        (result.fwmark, result.family.as_deref()),
        (Some(7), Some("ipv6"))
    );
    assert_eq!(
        (result.protocol, result.address, result.port),
        (None, None, None)
    );
}

#[tokio::test]
async fn a_replace_sets_the_servers_if_given_or_if_replace_servers_is_set() {
    let mut daemon = start_daemon().await;
    let mut replace = pb::ReplaceServiceRequest {
        service: Some(pb::Service {
            scheduler: some("rr"),
            servers: vec![server("192.168.10.1-80"), server("192.168.10.2-80")],
            ..service(WEB)
        }),
        ..pb::ReplaceServiceRequest::default()
    };
    let response = daemon
        .client
        .replace_service(replace.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(response.created && response.changed);
    let response = daemon
        .client
        .replace_service(replace.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(!response.created && !response.changed);
    replace.service = Some(service(WEB));
    let response = daemon
        .client
        .replace_service(replace.clone())
        .await
        .unwrap()
        .into_inner();
    let result = response.service.unwrap();
    assert_eq!(
        (result.scheduler.as_deref(), result.server_count),
        (Some("wlc"), Some(2))
    );
    replace.replace_servers = true;
    let response = daemon
        .client
        .replace_service(replace)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(response.service.unwrap().server_count, Some(0));
}

#[tokio::test]
async fn clearing_requires_the_number_of_services() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &["192.168.10.1-80"]).await;
    daemon.create_service("fwmark-7", &[]).await;
    let clear = |confirm| pb::ClearServicesRequest {
        confirm: Some(confirm),
        ..pb::ClearServicesRequest::default()
    };
    let outcome = daemon
        .client
        .clear_services(pb::ClearServicesRequest::default())
        .await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["confirm"],
    );
    let wrong = clear(3);
    let outcome = daemon.client.clear_services(wrong).await;
    assert_rejected(
        outcome,
        Code::FailedPrecondition,
        "CONFIRM_MISMATCH",
        &["confirm"],
    );
    assert_eq!(daemon.kernel.services().len(), 2);
    let right = clear(2);
    let response = daemon.client.clear_services(right).await.unwrap();
    assert_eq!(response.into_inner().deleted, 2);
    assert!(daemon.kernel.services().is_empty());
}

#[tokio::test]
async fn an_unavailable_scheduler_fails_a_precondition() {
    let mut daemon = start_daemon().await;
    let request = pb::CreateServiceRequest {
        service: Some(pb::Service {
            scheduler: some("unknown"),
            ..service(WEB)
        }),
        ..pb::CreateServiceRequest::default()
    };
    let outcome = daemon.client.create_service(request).await;
    let status = assert_rejected(
        outcome,
        Code::FailedPrecondition,
        "SCHEDULER_UNAVAILABLE",
        &["scheduler"],
    );
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["errno"], "ENOENT");
    let failed = &details.precondition_failure().unwrap().violations[0];
    assert_eq!(failed.subject, "scheduler");
}

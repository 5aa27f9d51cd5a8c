use ipvsd::proto::v1 as pb;
use tonic::Code;
use tonic_types::StatusExt;

use super::harness::{mask, refused, server, service, soon, stage, text};

const WEB: &str = "tcp-192.0.2.1-80";

#[tokio::test]
async fn a_service_is_created_with_its_servers_and_told_as_the_kernel_has_it() {
    let mut stage = stage().await;
    let request = pb::CreateServiceRequest {
        service: Some(pb::Service {
            protocol: text("tcp"),
            address: text("2001:DB8:0::80"),
            port: Some(80),
            scheduler: text("rr"),
            persistence: Some(pb::Persistence::default()),
            servers: vec![server("2001:db8::a0a0-80"), server("2001:db8::a0a1-8080")],
            ..pb::Service::default()
        }),
    };
    let answer = soon(stage.client.create_service(request.clone()))
        .await
        .unwrap()
        .into_inner();
    assert!(answer.created && answer.changed);
    let created = answer.service.unwrap();
    assert_eq!(created.id, "tcp-2001:db8::80-80");
    assert_eq!(created.scheduler.as_deref(), Some("rr"));
    let persistence = created.persistence.clone().unwrap();
    assert_eq!(persistence.timeout_seconds, Some(300));
    assert_eq!(persistence.netmask.as_deref(), Some("128"));
    assert_eq!((created.server_count, created.stats), (Some(2), None));
    let weights: Vec<_> = created.servers.iter().map(|s| s.weight).collect();
    assert_eq!(weights, [Some(1), Some(1)]);
    assert_eq!(stage.service("tcp-2001:db8::80-80").await, created);
    let again = stage.client.create_service(request).await;
    refused(again, Code::AlreadyExists, "SERVICE_EXISTS", &[]);
}

#[tokio::test]
async fn what_is_wrong_with_a_service_is_told_field_by_field_and_nothing_is_done() {
    let mut stage = stage().await;
    let request = pb::CreateServiceRequest {
        service: Some(pb::Service {
            one_packet: Some(true),
            persistence: Some(pb::Persistence {
                timeout_seconds: Some(-1),
                netmask: text("255.255.255.256"),
            }),
            ..service(WEB)
        }),
    };
    let fields = [
        "persistence.netmask",
        "persistence.timeout_seconds",
        "one_packet",
    ];
    let outcome = stage.client.create_service(request).await;
    refused(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &fields);
    let mut heavy = server("192.168.10.1-80");
    heavy.weight = Some(65536);
    let request = pb::CreateServiceRequest {
        service: Some(pb::Service {
            servers: vec![server("192.168.10.2-80"), heavy],
            ..service(WEB)
        }),
    };
    let outcome = stage.client.create_service(request).await;
    refused(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["servers[1].weight"],
    );
    let nothing = stage
        .client
        .create_service(pb::CreateServiceRequest::default())
        .await;
    refused(
        nothing,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["service"],
    );
    let unnamed = pb::CreateServiceRequest {
        service: Some(pb::Service::default()),
    };
    let outcome = stage.client.create_service(unnamed).await;
    refused(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["protocol"],
    );
    assert!(stage.kernel.services().is_empty());
}

#[tokio::test]
async fn a_service_that_is_missing_is_not_found() {
    let mut stage = stage().await;
    let get = pb::GetServiceRequest {
        id: WEB.to_owned(),
        ..pb::GetServiceRequest::default()
    };
    let outcome = stage.client.get_service(get).await;
    refused(outcome, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
    let mut delete = pb::DeleteServiceRequest {
        id: WEB.to_owned(),
        ..pb::DeleteServiceRequest::default()
    };
    let outcome = stage.client.delete_service(delete.clone()).await;
    refused(outcome, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
    delete.allow_missing = true;
    let answer = stage.client.delete_service(delete).await.unwrap();
    assert!(!answer.into_inner().changed);
    let update = pb::UpdateServiceRequest {
        service: Some(service(WEB)),
        ..pb::UpdateServiceRequest::default()
    };
    let outcome = stage.client.update_service(update).await;
    refused(outcome, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
    let bad = pb::GetServiceRequest {
        id: "http-1-2".to_owned(),
        ..pb::GetServiceRequest::default()
    };
    let outcome = stage.client.get_service(bad).await;
    refused(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &["id"]);
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_nothing_else() {
    let mut stage = stage().await;
    let request = pb::CreateServiceRequest {
        service: Some(pb::Service {
            scheduler: text("sh"),
            scheduler_flags: vec!["sh-port".to_owned()],
            persistence: Some(pb::Persistence {
                timeout_seconds: Some(60),
                netmask: text("255.255.255.0"),
            }),
            ..service(WEB)
        }),
    };
    stage.client.create_service(request).await.unwrap();
    let mut update = pb::UpdateServiceRequest {
        service: Some(pb::Service {
            scheduler: text("rr"),
            persistence: Some(pb::Persistence {
                timeout_seconds: Some(90),
                netmask: text("255.255.0.0"),
            }),
            ..service(WEB)
        }),
        update_mask: mask(&["persistence.timeout_seconds"]),
        ..pb::UpdateServiceRequest::default()
    };
    let answer = stage
        .client
        .update_service(update.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(answer.changed && !answer.created);
    let told = answer.service.unwrap();
    assert_eq!(told.scheduler.as_deref(), Some("sh"));
    assert_eq!(told.scheduler_flags, ["sh-port"]);
    let persistence = told.persistence.unwrap();
    assert_eq!(persistence.timeout_seconds, Some(90));
    assert_eq!(persistence.netmask.as_deref(), Some("255.255.255.0"));

    let answer = stage
        .client
        .update_service(update.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.changed, "it is so already");

    // All that is there sent back with "*" changes nothing; what is absent then is cleared.
    update.service = Some(stage.service(WEB).await);
    update.update_mask = mask(&["*"]);
    let answer = stage
        .client
        .update_service(update.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.changed);
    update.service = Some(service(WEB));
    let told = stage
        .client
        .update_service(update.clone())
        .await
        .unwrap()
        .into_inner();
    let told = told.service.unwrap();
    assert_eq!(
        (told.scheduler.as_deref(), told.persistence),
        (Some("wlc"), None)
    );

    update.update_mask = mask(&["schedulr"]);
    let outcome = stage.client.update_service(update.clone()).await;
    refused(
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
    let outcome = stage.client.update_service(update.clone()).await;
    refused(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["servers"],
    );
    update.service = Some(pb::Service::default());
    let outcome = stage.client.update_service(update).await;
    refused(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &["id"]);
}

#[tokio::test]
async fn a_write_holds_only_for_the_etag_that_it_names() {
    let mut stage = stage().await;
    let told = stage.given(WEB, &["192.168.10.1-80"]).await;
    let mut update = pb::UpdateServiceRequest {
        service: Some(pb::Service {
            scheduler: text("rr"),
            ..service(WEB)
        }),
        etag: told.etag.clone(),
        ..pb::UpdateServiceRequest::default()
    };
    stage.client.update_service(update.clone()).await.unwrap();
    update.service = Some(pb::Service {
        scheduler: text("lc"),
        ..service(WEB)
    });
    let outcome = stage.client.update_service(update.clone()).await;
    let status = refused(outcome, Code::Aborted, "REVISION_MISMATCH", &[]);
    let hint = status.get_error_details();
    assert!(hint.error_info().unwrap().metadata.contains_key("hint"));
    update.etag = "*".to_owned();
    stage.client.update_service(update.clone()).await.unwrap();
    update.etag = "nonsense".to_owned();
    let outcome = stage.client.update_service(update).await;
    refused(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["etag"],
    );
    let delete = pb::DeleteServiceRequest {
        id: WEB.to_owned(),
        etag: told.etag,
        ..pb::DeleteServiceRequest::default()
    };
    let outcome = stage.client.delete_service(delete).await;
    refused(outcome, Code::Aborted, "REVISION_MISMATCH", &[]);
}

#[tokio::test]
async fn a_missing_service_is_created_by_an_update_that_allows_it() {
    let mut stage = stage().await;
    let update = pb::UpdateServiceRequest {
        service: Some(pb::Service {
            scheduler: text("rr"),
            ..service("fwmark6-7")
        }),
        allow_missing: true,
        ..pb::UpdateServiceRequest::default()
    };
    let answer = stage
        .client
        .update_service(update)
        .await
        .unwrap()
        .into_inner();
    assert!(answer.created && answer.changed);
    let told = answer.service.unwrap();
    assert_eq!(
        (told.fwmark, told.family.as_deref()),
        (Some(7), Some("ipv6"))
    );
    assert_eq!((told.protocol, told.address, told.port), (None, None, None));
}

#[tokio::test]
async fn a_replace_sets_all_and_the_servers_if_there_are_any_or_none_are_wanted() {
    let mut stage = stage().await;
    let mut replace = pb::ReplaceServiceRequest {
        service: Some(pb::Service {
            scheduler: text("rr"),
            servers: vec![server("192.168.10.1-80"), server("192.168.10.2-80")],
            ..service(WEB)
        }),
        ..pb::ReplaceServiceRequest::default()
    };
    let answer = stage
        .client
        .replace_service(replace.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(answer.created && answer.changed);
    let answer = stage
        .client
        .replace_service(replace.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.created && !answer.changed);
    replace.service = Some(service(WEB));
    let answer = stage
        .client
        .replace_service(replace.clone())
        .await
        .unwrap()
        .into_inner();
    let told = answer.service.unwrap();
    assert_eq!(
        (told.scheduler.as_deref(), told.server_count),
        (Some("wlc"), Some(2))
    );
    replace.replace_servers = true;
    let answer = stage
        .client
        .replace_service(replace)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.service.unwrap().server_count, Some(0));
}

#[tokio::test]
async fn all_services_are_cleared_only_by_their_number() {
    let mut stage = stage().await;
    stage.given(WEB, &["192.168.10.1-80"]).await;
    stage.given("fwmark-7", &[]).await;
    let outcome = stage
        .client
        .clear_services(pb::ClearServicesRequest { confirm: None })
        .await;
    refused(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["confirm"],
    );
    let wrong = pb::ClearServicesRequest { confirm: Some(3) };
    let outcome = stage.client.clear_services(wrong).await;
    refused(outcome, Code::Aborted, "REVISION_MISMATCH", &["confirm"]);
    assert_eq!(stage.kernel.services().len(), 2);
    let right = pb::ClearServicesRequest { confirm: Some(2) };
    let answer = stage.client.clear_services(right).await.unwrap();
    assert_eq!(answer.into_inner().deleted, 2);
    assert!(stage.kernel.services().is_empty());
}

#[tokio::test]
async fn a_scheduler_that_the_kernel_has_not_fails_a_precondition() {
    let mut stage = stage().await;
    let request = pb::CreateServiceRequest {
        service: Some(pb::Service {
            scheduler: text("dreams"),
            ..service(WEB)
        }),
    };
    let outcome = stage.client.create_service(request).await;
    let status = refused(
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

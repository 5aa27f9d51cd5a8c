//! Drains and ramps.

use std::time::SystemTime;

use ipvsd::{app::AppOptions, proto::v1 as pb, server::Limits};
use tonic::Code;

use super::harness::{Daemon, assert_rejected, server, some, start_daemon, start_daemon_with};

const WEB: &str = "tcp-192.0.2.1-80";
const OTHER: &str = "tcp-192.0.2.2-80";
const ONE: &str = "192.168.10.1-80";
const ADDRESS: &str = "192.168.10.1";
const NONE: &str = "00c0ffee5ca1ab1e";

async fn setup() -> Daemon {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[]).await;
    let request = pb::CreateServerRequest {
        service: WEB.to_owned(),
        server: Some(pb::Server {
            weight: Some(7),
            ..server(ONE)
        }),
        ..Default::default()
    };
    daemon.client.create_server(request).await.unwrap();
    daemon
}

fn drain(server: &str) -> pb::CreateDrainRequest {
    pb::CreateDrainRequest {
        server: server.to_owned(),
        ..Default::default()
    }
}

fn ramp(to: u32) -> pb::CreateRampRequest {
    pb::CreateRampRequest {
        service: WEB.to_owned(),
        server: ONE.to_owned(),
        to: Some(to),
        over_seconds: Some(600),
        ..Default::default()
    }
}

async fn create(daemon: &mut Daemon, request: pb::CreateDrainRequest) -> pb::Drain {
    let created = daemon.client.create_drain(request).await.unwrap();
    let created = created.into_inner();
    assert!(created.created);
    created.drain.unwrap()
}

async fn get(daemon: &mut Daemon, id: &str) -> Result<pb::Drain, tonic::Status> {
    let request = pb::GetDrainRequest { id: id.to_owned() };
    let response = daemon.client.get_drain(request).await?;
    Ok(response.into_inner().drain.unwrap())
}

async fn delete(daemon: &mut Daemon, id: &str, dry_run: bool) -> Result<pb::Drain, tonic::Status> {
    let id = id.to_owned();
    let request = pb::DeleteDrainRequest { id, dry_run };
    let response = daemon.client.delete_drain(request).await?;
    Ok(response.into_inner().drain.unwrap())
}

/// The intended weight, the effective one, and the kinds of the holds.
async fn weights(daemon: &mut Daemon) -> (Option<u32>, Option<u32>, Vec<String>) {
    let server = daemon.get_service(WEB).await.servers.remove(0);
    let kinds = server.holds.into_iter().map(|hold| hold.kind).collect();
    (server.weight, server.effective_weight, kinds)
}

#[track_caller]
fn assert_now(time: Option<prost_types::Timestamp>) {
    let time = SystemTime::try_from(time.unwrap()).unwrap();
    assert!(time.elapsed().unwrap().as_secs() < 60);
}

#[tokio::test]
async fn a_drain_is_created_shown_and_deleted() {
    let mut daemon = setup().await;
    let request = pb::CreateDrainRequest {
        deadline_seconds: Some(300),
        ..drain(ADDRESS)
    };
    let created = create(&mut daemon, request.clone()).await;
    assert_now(created.create_time);
    let member = pb::DrainMember {
        service: WEB.to_owned(),
        server: ONE.to_owned(),
        weight: 7,
        state: "drained".to_owned(),
        ..Default::default()
    };
    let expected = pb::Drain {
        id: created.id.clone(),
        server: ADDRESS.to_owned(),
        deadline_seconds: Some(300),
        then: "keep".to_owned(),
        state: "drained".to_owned(),
        members: vec![member],
        members_total: 1,
        create_time: created.create_time,
        ..Default::default()
    };
    assert_eq!(created, expected);
    let held = (Some(7), Some(0), vec!["drain".to_owned()]);
    assert_eq!(weights(&mut daemon).await, held);
    let again = daemon.client.create_drain(request).await.unwrap();
    let again = again.into_inner();
    assert!(!again.created && again.drain.unwrap().id == created.id);

    let id = created.id.as_str();
    let planned = delete(&mut daemon, id, true).await.unwrap();
    assert_eq!(planned.state, "cancelled");
    assert_eq!(get(&mut daemon, id).await.unwrap().state, "drained");
    let ended = delete(&mut daemon, id, false).await.unwrap();
    assert_eq!(ended.state, "cancelled");
    assert_now(ended.end_time);
    assert_eq!(weights(&mut daemon).await, (Some(7), Some(7), vec![]));
    assert_eq!(get(&mut daemon, id).await.unwrap().end_time, ended.end_time);
    delete(&mut daemon, id, false).await.unwrap();
    let missing = get(&mut daemon, id).await;
    assert_rejected(missing, Code::NotFound, "DRAIN_NOT_FOUND", &[]);
}

#[tokio::test]
async fn a_ramp_is_created_shown_and_deleted() {
    let mut daemon = setup().await;
    let created = daemon.client.create_ramp(ramp(100)).await.unwrap();
    let created = created.into_inner().ramp.unwrap();
    assert_now(created.create_time);
    let expected = pb::Ramp {
        id: created.id.clone(),
        service: WEB.to_owned(),
        server: ONE.to_owned(),
        from: 7,
        to: 100,
        over_seconds: 600,
        steps: 20,
        weight: 7,
        state: "ramping".to_owned(),
        create_time: created.create_time,
        end_time: None,
    };
    assert_eq!(created, expected);
    let held = (Some(100), Some(7), vec!["ramp".to_owned()]);
    assert_eq!(weights(&mut daemon).await, held);
    let id = created.id.clone();
    let shown = daemon.client.get_ramp(pb::GetRampRequest { id });
    assert_eq!(
        shown.await.unwrap().into_inner().ramp.unwrap().id,
        created.id
    );
    let list = pb::ListRampsRequest {
        state: some("ramping"),
        ..Default::default()
    };
    let list = daemon.client.list_ramps(list).await.unwrap().into_inner();
    assert_eq!((list.ramps.len(), list.next_page_token.as_str()), (1, ""));
    let request = pb::DeleteRampRequest {
        id: created.id,
        dry_run: false,
    };
    let ended = daemon.client.delete_ramp(request).await.unwrap();
    let ended = ended.into_inner().ramp.unwrap();
    assert_eq!(ended.state, "cancelled");
    assert_now(ended.end_time);
    assert_eq!(weights(&mut daemon).await, (Some(100), Some(100), vec![]));
}

#[tokio::test]
async fn pages_end_before_a_response_is_too_long_and_members_that_do_not_fit_are_counted() {
    let options = ipvsd::grpc::GrpcOptions {
        max_response_bytes: 300,
        ..Limits::default().grpc_options()
    };
    let mut daemon = start_daemon_with(options, AppOptions::default()).await;
    for service in [WEB, OTHER, "fwmark-1", "fwmark-2", "fwmark-3", "fwmark-4"] {
        daemon.create_service(service, &[ONE]).await;
    }
    let all = create(&mut daemon, drain(ADDRESS)).await;
    assert_eq!(all.members_total, 6);
    assert!((1..6).contains(&all.members.len()), "{}", all.members.len());
    delete(&mut daemon, &all.id, false).await.unwrap();
    delete(&mut daemon, &all.id, false).await.unwrap();

    let mut ids = Vec::new();
    for service in [WEB, OTHER, "fwmark-1"] {
        let request = pb::CreateDrainRequest {
            services: vec![service.to_owned()],
            ..drain(ONE)
        };
        ids.push(create(&mut daemon, request).await.id);
    }
    ids.sort();
    let (mut found, mut pages, mut token) = (Vec::new(), 0, String::new());
    loop {
        let request = pb::ListDrainsRequest {
            page_token: token,
            ..Default::default()
        };
        let page = daemon.client.list_drains(request).await.unwrap();
        let page = page.into_inner();
        found.extend(page.drains.into_iter().map(|drain| drain.id));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ids);
    assert!(pages > 1);
}

#[tokio::test]
async fn invalid_requests_name_all_fields_and_change_nothing() {
    let mut daemon = setup().await;
    let invalid = Code::InvalidArgument;
    let empty = daemon.client.create_drain(drain("")).await;
    assert_rejected(empty, invalid, "INVALID_ARGUMENT", &["server"]);
    let request = pb::CreateDrainRequest {
        server: "x".to_owned(),
        services: vec![WEB.to_owned(), "y".to_owned()],
        deadline_seconds: Some(0),
        then: some("go"),
        dry_run: false,
    };
    let wrong = daemon.client.create_drain(request).await;
    let fields = ["server", "services[1]", "deadline_seconds", "then"];
    assert_rejected(wrong, invalid, "INVALID_ARGUMENT", &fields);
    let wrong = daemon
        .client
        .create_ramp(pb::CreateRampRequest::default())
        .await;
    let fields = ["service", "server", "to", "over_seconds"];
    assert_rejected(wrong, invalid, "INVALID_ARGUMENT", &fields);
    let wrong = daemon.client.create_ramp(ramp(65_536)).await;
    assert_rejected(wrong, invalid, "INVALID_ARGUMENT", &["to"]);
    for id in ["", "x"] {
        let wrong = get(&mut daemon, id).await;
        assert_rejected(wrong, invalid, "INVALID_ARGUMENT", &["id"]);
        let wrong = delete(&mut daemon, id, false).await;
        assert_rejected(wrong, invalid, "INVALID_ARGUMENT", &["id"]);
    }
    let request = pb::ListDrainsRequest {
        state: some("done"),
        ..Default::default()
    };
    let wrong = daemon.client.list_drains(request).await;
    assert_rejected(wrong, invalid, "INVALID_ARGUMENT", &["state"]);
    let request = pb::CreateDrainRequest {
        services: vec![OTHER.to_owned()],
        ..drain(ONE)
    };
    let missing = daemon.client.create_drain(request).await;
    assert_rejected(missing, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
    let missing = pb::CreateRampRequest {
        server: "192.168.10.9-80".to_owned(),
        ..ramp(1)
    };
    let missing = daemon.client.create_ramp(missing).await;
    assert_rejected(missing, Code::NotFound, "SERVER_NOT_FOUND", &[]);
    let request = pb::GetRampRequest {
        id: NONE.to_owned(),
    };
    let missing = daemon.client.get_ramp(request).await;
    assert_rejected(missing, Code::NotFound, "RAMP_NOT_FOUND", &[]);
    assert_eq!(weights(&mut daemon).await, (Some(7), Some(7), vec![]));
}

#[tokio::test]
async fn dry_runs_create_nothing() {
    let mut daemon = setup().await;
    let request = pb::CreateDrainRequest {
        dry_run: true,
        then: some("remove"),
        ..drain(ADDRESS)
    };
    let planned = create(&mut daemon, request).await;
    assert_eq!(
        (planned.then.as_str(), planned.members_total),
        ("remove", 1)
    );
    let missing = get(&mut daemon, &planned.id).await;
    assert_rejected(missing, Code::NotFound, "DRAIN_NOT_FOUND", &[]);
    let request = pb::CreateRampRequest {
        dry_run: true,
        ..ramp(9)
    };
    let planned = daemon.client.create_ramp(request).await.unwrap();
    assert_eq!(planned.into_inner().ramp.unwrap().from, 7);
    let list = daemon.client.list_ramps(pb::ListRampsRequest::default());
    assert_eq!(list.await.unwrap().into_inner().ramps, []);
    assert_eq!(weights(&mut daemon).await, (Some(7), Some(7), vec![]));
}

#[tokio::test]
async fn a_server_that_a_table_declares_is_not_removed() {
    use pb::apply_table_request::Part;
    let mut daemon = start_daemon().await;
    let options = pb::ApplyTableOptions {
        owner: "web".to_owned(),
        ..Default::default()
    };
    let declared = pb::Service {
        servers: vec![server(ONE)],
        ..super::harness::service(WEB)
    };
    let services = pb::TableServices {
        services: vec![declared],
    };
    let parts = [Part::Options(options), Part::Services(services)];
    let parts = parts.map(|part| pb::ApplyTableRequest { part: Some(part) });
    let applied = daemon.client.apply_table(tokio_stream::iter(parts));
    applied.await.unwrap();
    let request = pb::CreateDrainRequest {
        then: some("remove"),
        ..drain(ADDRESS)
    };
    let refused = daemon.client.create_drain(request).await;
    assert_rejected(refused, Code::FailedPrecondition, "SERVICE_OWNED", &[]);
}

use ipvsd::proto::v1 as pb;
use tonic::Code;

use super::harness::{Daemon, assert_rejected, mask, server, some, start_daemon};

const WEB: &str = "tcp-192.0.2.1-80";
const ONE: &str = "192.168.10.1-80";

async fn create(daemon: &mut Daemon, server: pb::Server) -> Result<pb::Server, tonic::Status> {
    let request = pb::CreateServerRequest {
        service: WEB.to_owned(),
        server: Some(server),
        ..pb::CreateServerRequest::default()
    };
    let response = daemon.client.create_server(request).await?.into_inner();
    assert!(response.created && response.changed);
    Ok(response.server.unwrap())
}

async fn get(daemon: &mut Daemon, id: &str) -> Result<pb::Server, tonic::Status> {
    let request = pb::GetServerRequest {
        service: WEB.to_owned(),
        id: id.to_owned(),
        ..pb::GetServerRequest::default()
    };
    Ok(daemon
        .client
        .get_server(request)
        .await?
        .into_inner()
        .server
        .unwrap())
}

#[tokio::test]
async fn a_server_is_created_with_the_defaults_of_the_manual() {
    let mut daemon = start_daemon().await;
    let outcome = create(&mut daemon, server(ONE)).await;
    assert_rejected(outcome, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
    daemon.create_service(WEB, &[]).await;
    let plain = pb::Server {
        address: some("192.168.10.1"),
        ..pb::Server::default()
    };
    let result = create(&mut daemon, plain).await.unwrap();
    assert_eq!((result.id.as_str(), result.port), (ONE, Some(80)));
    assert_eq!(
        (result.forwarding.as_deref(), result.weight),
        (Some("direct"), Some(1))
    );
    assert_eq!(
        (result.upper_threshold, result.lower_threshold),
        (Some(0), Some(0))
    );
    assert_eq!(get(&mut daemon, ONE).await.unwrap(), result);
    let outcome = create(&mut daemon, server(ONE)).await;
    assert_rejected(outcome, Code::AlreadyExists, "SERVER_EXISTS", &[]);
    let outcome = get(&mut daemon, "192.168.10.9-80").await;
    assert_rejected(outcome, Code::NotFound, "SERVER_NOT_FOUND", &[]);
}

#[tokio::test]
async fn weight_0_differs_from_an_absent_weight() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[]).await;
    let mut idle = server(ONE);
    idle.weight = Some(0);
    assert_eq!(create(&mut daemon, idle).await.unwrap().weight, Some(0));
    let mut update = pb::UpdateServerRequest {
        service: WEB.to_owned(),
        server: Some(pb::Server {
            id: ONE.to_owned(),
            upper_threshold: Some(10),
            ..pb::Server::default()
        }),
        ..pb::UpdateServerRequest::default()
    };
    let result = daemon
        .client
        .update_server(update.clone())
        .await
        .unwrap()
        .into_inner();
    let result = result.server.unwrap();
    assert_eq!((result.weight, result.upper_threshold), (Some(0), Some(10)));
    update.update_mask = mask(&["weight"]);
    let result = daemon
        .client
        .update_server(update)
        .await
        .unwrap()
        .into_inner();
    let result = result.server.unwrap();
    assert_eq!(
        (result.weight, result.upper_threshold),
        (Some(1), Some(10)),
        "a masked absent field is reset"
    );
}

#[tokio::test]
async fn an_invalid_server_is_rejected_and_the_field_named() {
    type Change = fn(&mut pb::Server);
    let wrong: [(&str, Change); 7] = [
        ("weight", |s| s.weight = Some(65536)),
        ("weight", |s| s.weight = Some(u32::MAX)),
        ("forwarding", |s| {
            (s.id, s.forwarding) = (ONE.to_owned(), some("local"));
        }),
        ("lower_threshold", |s| s.lower_threshold = Some(5)),
        ("tunnel", |s| s.tunnel = Some(pb::Tunnel::default())),
        ("port", |s| s.forwarding = some("direct")),
        ("address", |s| {
            (s.id, s.address) = (String::new(), some("x"));
        }),
    ];
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[]).await;
    for (field, change) in wrong {
        let mut server = server("192.168.10.1-8080");
        change(&mut server);
        let outcome = create(&mut daemon, server).await;
        assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &[field]);
    }
    let outcome = create(&mut daemon, pb::Server::default()).await;
    assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &["id"]);
    assert_eq!(daemon.get_service(WEB).await.server_count, Some(0));
}

#[tokio::test]
async fn several_servers_are_created_all_or_none() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &["192.168.10.3-80"]).await;
    let request = |ids: &[&str]| pb::CreateServersRequest {
        service: WEB.to_owned(),
        servers: ids.iter().map(|id| server(id)).collect(),
        ..pb::CreateServersRequest::default()
    };
    let some = request(&[ONE, "192.168.10.2-80"]);
    let response = daemon
        .client
        .create_servers(some)
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<_> = response.servers.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, [ONE, "192.168.10.2-80"]);
    let twice = request(&["192.168.10.4-80", "192.168.10.3-80"]);
    let outcome = daemon.client.create_servers(twice).await;
    let status = assert_rejected(
        outcome,
        Code::AlreadyExists,
        "SERVER_EXISTS",
        &["servers[1]"],
    );
    assert!(status.message().contains("192.168.10.3-80"), "{status:?}");
    let outcome = daemon.client.create_servers(request(&[])).await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["servers"],
    );
    let outcome = daemon.client.create_servers(request(&["x"])).await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["servers[0].id"],
    );
    assert_eq!(daemon.get_service(WEB).await.server_count, Some(3));
}

#[tokio::test]
async fn a_tunnel_is_read_back_as_set() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[]).await;
    let tunneled = pb::Server {
        id: ONE.to_owned(),
        forwarding: some("tunnel"),
        tunnel: Some(pb::Tunnel {
            r#type: some("gue"),
            port: Some(6080),
            checksum: some("remote"),
        }),
        ..pb::Server::default()
    };
    let result = create(&mut daemon, tunneled.clone()).await.unwrap();
    assert_eq!(result.tunnel, tunneled.tunnel);
    let update = pb::UpdateServerRequest {
        service: WEB.to_owned(),
        server: Some(pb::Server {
            tunnel: Some(pb::Tunnel {
                port: Some(6081),
                ..pb::Tunnel::default()
            }),
            id: ONE.to_owned(),
            ..pb::Server::default()
        }),
        update_mask: mask(&["tunnel.port"]),
        ..pb::UpdateServerRequest::default()
    };
    let result = daemon
        .client
        .update_server(update)
        .await
        .unwrap()
        .into_inner();
    let tunnel = result.server.unwrap().tunnel.unwrap();
    assert_eq!(
        (tunnel.port, tunnel.checksum.as_deref()),
        (Some(6081), Some("remote"))
    );
}

#[tokio::test]
async fn a_server_is_replaced_and_deleted_with_its_etag() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[]).await;
    let mut replace = pb::ReplaceServerRequest {
        service: WEB.to_owned(),
        server: Some(server(ONE)),
        ..pb::ReplaceServerRequest::default()
    };
    let response = daemon
        .client
        .replace_server(replace.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(response.created && response.changed);
    replace.etag = response.server.unwrap().etag;
    replace.server.as_mut().unwrap().weight = Some(7);
    let response = daemon
        .client
        .replace_server(replace.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(!response.created && response.changed);
    let outcome = daemon.client.replace_server(replace.clone()).await;
    assert_rejected(outcome, Code::Aborted, "REVISION_MISMATCH", &[]);
    let mut delete = pb::DeleteServerRequest {
        service: WEB.to_owned(),
        id: ONE.to_owned(),
        etag: replace.etag,
        ..pb::DeleteServerRequest::default()
    };
    let outcome = daemon.client.delete_server(delete.clone()).await;
    assert_rejected(outcome, Code::Aborted, "REVISION_MISMATCH", &[]);
    delete.etag.clear();
    let response = daemon.client.delete_server(delete.clone()).await.unwrap();
    assert!(response.into_inner().changed);
    let outcome = daemon.client.delete_server(delete.clone()).await;
    assert_rejected(outcome, Code::NotFound, "SERVER_NOT_FOUND", &[]);
    delete.allow_missing = true;
    let response = daemon.client.delete_server(delete).await.unwrap();
    assert!(!response.into_inner().changed);
}

#[tokio::test]
async fn servers_are_listed_in_the_requested_order() {
    let mut daemon = start_daemon().await;
    daemon
        .create_service(WEB, &["192.168.10.2-80", ONE, "192.168.10.3-80"])
        .await;
    let mut request = pb::ListServersRequest {
        service: WEB.to_owned(),
        page_size: Some(2),
        sort: "id".to_owned(),
        include: vec!["stats".to_owned(), "rates".to_owned()],
        ..pb::ListServersRequest::default()
    };
    let page = daemon
        .client
        .list_servers(request.clone())
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<_> = page.servers.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, [ONE, "192.168.10.2-80"]);
    assert!(page.servers[0].stats.is_some() && page.servers[0].rates.is_some());
    request.page_token = page.next_page_token;
    let page = daemon
        .client
        .list_servers(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((page.servers.len(), page.next_page_token.as_str()), (1, ""));
    request.service = "fwmark-9".to_owned();
    request.page_token.clear();
    let outcome = daemon.client.list_servers(request).await;
    assert_rejected(outcome, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
}

use ipvsd::proto::v1 as pb;
use tonic::Code;

use super::harness::{Stage, mask, refused, server, stage, text};

const WEB: &str = "tcp-192.0.2.1-80";
const ONE: &str = "192.168.10.1-80";

async fn create(stage: &mut Stage, server: pb::Server) -> Result<pb::Server, tonic::Status> {
    let request = pb::CreateServerRequest {
        service: WEB.to_owned(),
        server: Some(server),
    };
    let answer = stage.client.create_server(request).await?.into_inner();
    assert!(answer.created && answer.changed);
    Ok(answer.server.unwrap())
}

async fn get(stage: &mut Stage, id: &str) -> Result<pb::Server, tonic::Status> {
    let request = pb::GetServerRequest {
        service: WEB.to_owned(),
        id: id.to_owned(),
        ..pb::GetServerRequest::default()
    };
    Ok(stage
        .client
        .get_server(request)
        .await?
        .into_inner()
        .server
        .unwrap())
}

#[tokio::test]
async fn a_server_is_created_with_the_manuals_defaults() {
    let mut stage = stage().await;
    let outcome = create(&mut stage, server(ONE)).await;
    refused(outcome, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
    stage.given(WEB, &[]).await;
    let plain = pb::Server {
        address: text("192.168.10.1"),
        ..pb::Server::default()
    };
    let told = create(&mut stage, plain).await.unwrap();
    assert_eq!((told.id.as_str(), told.port), (ONE, Some(80)));
    assert_eq!(
        (told.forwarding.as_deref(), told.weight),
        (Some("direct"), Some(1))
    );
    assert_eq!(
        (told.upper_threshold, told.lower_threshold),
        (Some(0), Some(0))
    );
    assert_eq!(get(&mut stage, ONE).await.unwrap(), told);
    let outcome = create(&mut stage, server(ONE)).await;
    refused(outcome, Code::AlreadyExists, "SERVER_EXISTS", &[]);
    let outcome = get(&mut stage, "192.168.10.9-80").await;
    refused(outcome, Code::NotFound, "SERVER_NOT_FOUND", &[]);
}

#[tokio::test]
async fn a_weight_of_0_is_not_an_absent_one() {
    let mut stage = stage().await;
    stage.given(WEB, &[]).await;
    let mut idle = server(ONE);
    idle.weight = Some(0);
    assert_eq!(create(&mut stage, idle).await.unwrap().weight, Some(0));
    let mut update = pb::UpdateServerRequest {
        service: WEB.to_owned(),
        server: Some(pb::Server {
            id: ONE.to_owned(),
            upper_threshold: Some(10),
            ..pb::Server::default()
        }),
        ..pb::UpdateServerRequest::default()
    };
    let told = stage
        .client
        .update_server(update.clone())
        .await
        .unwrap()
        .into_inner();
    let told = told.server.unwrap();
    assert_eq!((told.weight, told.upper_threshold), (Some(0), Some(10)));
    update.update_mask = mask(&["weight"]);
    let told = stage
        .client
        .update_server(update)
        .await
        .unwrap()
        .into_inner();
    let told = told.server.unwrap();
    assert_eq!(
        (told.weight, told.upper_threshold),
        (Some(1), Some(10)),
        "named, absent: cleared"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_told_by_its_field() {
    type Change = fn(&mut pb::Server);
    let wrong: [(&str, Change); 7] = [
        ("weight", |s| s.weight = Some(-1)),
        ("weight", |s| s.weight = Some(i64::MAX)),
        ("forwarding", |s| {
            (s.id, s.forwarding) = (ONE.to_owned(), text("local"));
        }),
        ("lower_threshold", |s| s.lower_threshold = Some(5)),
        ("tunnel", |s| s.tunnel = Some(pb::Tunnel::default())),
        ("port", |s| s.forwarding = text("direct")),
        ("address", |s| {
            (s.id, s.address) = (String::new(), text("x"));
        }),
    ];
    let mut stage = stage().await;
    stage.given(WEB, &[]).await;
    for (field, change) in wrong {
        let mut server = server("192.168.10.1-8080");
        change(&mut server);
        let outcome = create(&mut stage, server).await;
        refused(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &[field]);
    }
    let outcome = create(&mut stage, pb::Server::default()).await;
    refused(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &["id"]);
    assert_eq!(stage.service(WEB).await.server_count, Some(0));
}

#[tokio::test]
async fn several_servers_are_created_all_or_none() {
    let mut stage = stage().await;
    stage.given(WEB, &["192.168.10.3-80"]).await;
    let request = |ids: &[&str]| pb::CreateServersRequest {
        service: WEB.to_owned(),
        servers: ids.iter().map(|id| server(id)).collect(),
    };
    let some = request(&[ONE, "192.168.10.2-80"]);
    let answer = stage
        .client
        .create_servers(some)
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<_> = answer.servers.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, [ONE, "192.168.10.2-80"]);
    let twice = request(&["192.168.10.4-80", "192.168.10.3-80"]);
    let outcome = stage.client.create_servers(twice).await;
    let status = refused(
        outcome,
        Code::AlreadyExists,
        "SERVER_EXISTS",
        &["servers[1]"],
    );
    assert!(status.message().contains("192.168.10.3-80"), "{status:?}");
    let outcome = stage.client.create_servers(request(&[])).await;
    refused(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["servers"],
    );
    let outcome = stage.client.create_servers(request(&["x"])).await;
    refused(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["servers[0].id"],
    );
    assert_eq!(stage.service(WEB).await.server_count, Some(3));
}

#[tokio::test]
async fn a_tunnel_is_told_as_it_was_set() {
    let mut stage = stage().await;
    stage.given(WEB, &[]).await;
    let tunneled = pb::Server {
        id: ONE.to_owned(),
        forwarding: text("tunnel"),
        tunnel: Some(pb::Tunnel {
            r#type: text("gue"),
            port: Some(6080),
            checksum: text("remote"),
        }),
        ..pb::Server::default()
    };
    let told = create(&mut stage, tunneled.clone()).await.unwrap();
    assert_eq!(told.tunnel, tunneled.tunnel);
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
    let told = stage
        .client
        .update_server(update)
        .await
        .unwrap()
        .into_inner();
    let tunnel = told.server.unwrap().tunnel.unwrap();
    assert_eq!(
        (tunnel.port, tunnel.checksum.as_deref()),
        (Some(6081), Some("remote"))
    );
}

#[tokio::test]
async fn a_server_is_replaced_and_deleted_with_its_etag() {
    let mut stage = stage().await;
    stage.given(WEB, &[]).await;
    let mut replace = pb::ReplaceServerRequest {
        service: WEB.to_owned(),
        server: Some(server(ONE)),
        ..pb::ReplaceServerRequest::default()
    };
    let answer = stage
        .client
        .replace_server(replace.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(answer.created && answer.changed);
    replace.etag = answer.server.unwrap().etag;
    replace.server.as_mut().unwrap().weight = Some(7);
    let answer = stage
        .client
        .replace_server(replace.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.created && answer.changed);
    let outcome = stage.client.replace_server(replace.clone()).await;
    refused(outcome, Code::Aborted, "REVISION_MISMATCH", &[]);
    let mut delete = pb::DeleteServerRequest {
        service: WEB.to_owned(),
        id: ONE.to_owned(),
        etag: replace.etag,
        ..pb::DeleteServerRequest::default()
    };
    let outcome = stage.client.delete_server(delete.clone()).await;
    refused(outcome, Code::Aborted, "REVISION_MISMATCH", &[]);
    delete.etag.clear();
    let answer = stage.client.delete_server(delete.clone()).await.unwrap();
    assert!(answer.into_inner().changed);
    let outcome = stage.client.delete_server(delete.clone()).await;
    refused(outcome, Code::NotFound, "SERVER_NOT_FOUND", &[]);
    delete.allow_missing = true;
    let answer = stage.client.delete_server(delete).await.unwrap();
    assert!(!answer.into_inner().changed);
}

#[tokio::test]
async fn servers_are_listed_in_the_order_asked_for() {
    let mut stage = stage().await;
    stage
        .given(WEB, &["192.168.10.2-80", ONE, "192.168.10.3-80"])
        .await;
    let mut request = pb::ListServersRequest {
        service: WEB.to_owned(),
        page_size: Some(2),
        sort: "id".to_owned(),
        include: vec!["stats".to_owned(), "rates".to_owned()],
        ..pb::ListServersRequest::default()
    };
    let page = stage
        .client
        .list_servers(request.clone())
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<_> = page.servers.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, [ONE, "192.168.10.2-80"]);
    assert!(page.servers[0].stats.is_some() && page.servers[0].rates.is_some());
    request.page_token = page.next_page_token;
    let page = stage
        .client
        .list_servers(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((page.servers.len(), page.next_page_token.as_str()), (1, ""));
    request.service = "fwmark-9".to_owned();
    request.page_token.clear();
    let outcome = stage.client.list_servers(request).await;
    refused(outcome, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
}

//! Watch.

use ipvsd::{
    kernel::fake::{Destination, ServiceId},
    proto::v1 as pb,
};
use tonic::Code;

use super::harness::{Daemon, assert_rejected, some, start_daemon, within_timeout};

type Events = tonic::Streaming<pb::WatchResponse>;

const SERVICE: &str = "tcp-192.0.2.1-80";
const SERVER: &str = "192.168.10.1-80";

async fn next(events: &mut Events) -> pb::WatchResponse {
    let event = within_timeout(events.message()).await.unwrap();
    event.expect("the stream has no end")
}

async fn change(events: &mut Events) -> pb::WatchResponse {
    loop {
        let event = next(events).await;
        if event.r#type != "bookmark" {
            return event;
        }
    }
}

async fn watch(daemon: &mut Daemon, request: pb::WatchRequest) -> Events {
    daemon.client.watch(request).await.unwrap().into_inner()
}

fn server_of(resource: &Option<pb::Resource>) -> &pb::Server {
    match resource.as_ref().and_then(|one| one.resource.as_ref()) {
        Some(pb::resource::Resource::Server(server)) => server,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_followed_by_its_changes() {
    let mut daemon = start_daemon().await;
    daemon.create_service(SERVICE, &[SERVER]).await;
    let list = daemon
        .client
        .list_services(pb::ListServicesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(list.services.len(), 1);
    let servers = pb::ListServersRequest {
        service: SERVICE.to_owned(),
        ..pb::ListServersRequest::default()
    };
    let servers = daemon.client.list_servers(servers).await.unwrap();
    assert_eq!(servers.into_inner().revision, list.revision);
    let request = pb::WatchRequest {
        from_revision: list.revision,
        ..pb::WatchRequest::default()
    };
    let mut events = watch(&mut daemon, request.clone()).await;
    let update = pb::UpdateServerRequest {
        service: SERVICE.to_owned(),
        server: Some(pb::Server {
            id: SERVER.to_owned(),
            weight: Some(4),
            ..pb::Server::default()
        }),
        ..pb::UpdateServerRequest::default()
    };
    daemon.client.update_server(update).await.unwrap();
    let event = change(&mut events).await;
    assert_eq!(
        (event.r#type.as_str(), event.resource.as_str()),
        ("modified", "server")
    );
    assert_eq!(
        (event.service.as_str(), event.server.as_str()),
        (SERVICE, SERVER)
    );
    assert_eq!(server_of(&event.before).weight, Some(1));
    assert_eq!(server_of(&event.after).weight, Some(4));
    assert_eq!(
        (event.origin.as_str(), event.principal.as_str()),
        ("api", "system")
    );
    assert!(event.time.is_some() && !event.request_id.is_empty());
    // Another program.
    let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
    let destination = Destination::new("192.168.10.2:80".parse().unwrap());
    assert!(daemon.kernel.add_destination(id, destination));
    let foreign = change(&mut events).await;
    assert_eq!(
        (foreign.r#type.as_str(), foreign.origin.as_str()),
        ("added", "foreign")
    );
    assert!(foreign.before.is_none());
    // From the first event on.
    let request = pb::WatchRequest {
        from_revision: event.revision,
        ..request
    };
    let mut resumed = watch(&mut daemon, request).await;
    assert_eq!(change(&mut resumed).await.revision, foreign.revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_begins_with_the_state_that_matches() {
    let mut daemon = start_daemon().await;
    daemon.create_service(SERVICE, &[SERVER]).await;
    daemon.create_service("tcp-192.0.2.1-81", &[]).await;
    let request = pb::WatchRequest {
        initial: true,
        resources: vec!["service".to_owned()],
        port: Some(80),
        ..pb::WatchRequest::default()
    };
    let mut events = watch(&mut daemon, request).await;
    let first = next(&mut events).await;
    assert_eq!(
        (first.r#type.as_str(), first.service.as_str()),
        ("added", SERVICE)
    );
    assert_eq!((first.revision.as_str(), first.origin.as_str()), ("", ""));
    let bookmark = next(&mut events).await;
    assert_eq!(bookmark.r#type, "bookmark");
    assert!(!bookmark.revision.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_revisions_are_resynchronised_and_malformed_ones_refused() {
    let mut daemon = start_daemon().await;
    daemon.create_service(SERVICE, &[]).await;
    let request = pb::WatchRequest {
        from_revision: "0123456789abcdef-1".to_owned(),
        ..pb::WatchRequest::default()
    };
    let mut events = watch(&mut daemon, request).await;
    let resync = next(&mut events).await;
    assert_eq!(
        (resync.r#type.as_str(), resync.reason.as_str()),
        ("resync", "EPOCH_CHANGED")
    );
    assert_eq!(next(&mut events).await.r#type, "added");
    assert_eq!(next(&mut events).await.r#type, "bookmark");
    let wrong = pb::WatchRequest {
        from_revision: "x".to_owned(),
        resources: vec!["tables".to_owned()],
        protocol: some("icmp"),
        ..pb::WatchRequest::default()
    };
    let fields = ["from_revision", "protocol", "resources"];
    let outcome = daemon.client.watch(wrong).await;
    assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &fields);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drains_ramps_and_tables_are_watched() {
    use pb::resource::Resource;
    let mut daemon = start_daemon().await;
    daemon.create_service(SERVICE, &[SERVER]).await;
    let request = pb::WatchRequest {
        resources: ["drain", "ramp", "table"].map(str::to_owned).to_vec(),
        ..pb::WatchRequest::default()
    };
    let mut events = watch(&mut daemon, request).await;
    assert_eq!(next(&mut events).await.r#type, "bookmark");
    let drain = pb::CreateDrainRequest {
        server: SERVER.to_owned(),
        ..pb::CreateDrainRequest::default()
    };
    let drain = daemon
        .client
        .create_drain(drain)
        .await
        .unwrap()
        .into_inner();
    let event = change(&mut events).await;
    assert_eq!(
        (
            event.r#type.as_str(),
            event.resource.as_str(),
            event.service.as_str()
        ),
        ("added", "drain", "")
    );
    let Some(Resource::Drain(shown)) = event.after.and_then(|after| after.resource) else {
        panic!("no drain");
    };
    let drain = drain.drain.unwrap();
    assert_eq!((shown.id, shown.members), (drain.id, drain.members));
    assert_eq!(shown.members_total, 1);
    let ramp = pb::CreateRampRequest {
        service: SERVICE.to_owned(),
        server: SERVER.to_owned(),
        to: Some(5),
        over_seconds: Some(60),
        ..pb::CreateRampRequest::default()
    };
    let ramp = daemon.client.create_ramp(ramp).await.unwrap().into_inner();
    let event = loop {
        let event = change(&mut events).await;
        if event.resource == "ramp" {
            break event;
        }
    };
    assert_eq!(
        (event.service.as_str(), event.server.as_str()),
        (SERVICE, SERVER)
    );
    let after = event.after.and_then(|after| after.resource);
    assert_eq!(after, ramp.ramp.map(Resource::Ramp));
    let options = pb::ApplyTableOptions {
        owner: "web".to_owned(),
        ..pb::ApplyTableOptions::default()
    };
    let part = |part| pb::ApplyTableRequest { part: Some(part) };
    use pb::apply_table_request::Part;
    let parts = [
        part(Part::Options(options)),
        part(Part::Services(pb::TableServices::default())),
    ];
    daemon
        .client
        .apply_table(tokio_stream::iter(parts))
        .await
        .unwrap();
    let event = loop {
        let event = change(&mut events).await;
        if event.resource == "table" {
            break event;
        }
    };
    let list = daemon
        .client
        .list_tables(pb::ListTablesRequest::default())
        .await
        .unwrap();
    let listed = list.into_inner().tables.into_iter().next();
    let after = event.after.and_then(|after| after.resource);
    assert_eq!(after, listed.map(Resource::Table));
}

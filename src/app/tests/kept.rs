//! What the daemon keeps about services: owners.

use super::{
    tables::{OTHER, all, apply, apply_with, owner, service},
    *,
};
use crate::store::{Store, StoreError};

fn adopting(adopt: Adopt) -> ApplyOptions {
    ApplyOptions { adopt, ..all() }
}

/// The ids of the services that a filter selects, and their owners.
async fn listed(app: &App, context: &RequestContext, filter: KeptFilter) -> Vec<(String, String)> {
    let list = ListServices {
        filter: Filter {
            kept: filter,
            ..Filter::default()
        },
        ..ListServices::default()
    };
    let page = app
        .list_services(context, list.clone())
        .await
        .unwrap()
        .value;
    // The list of services alone is another read.
    let alone = ListServices {
        include: Include::NONE,
        ..list
    };
    let alone = app.list_services(context, alone).await.unwrap().value;
    let of = |entry: &ServiceEntry| {
        let owner = Kept::owner(&entry.service.kept).unwrap();
        (entry.service.key.to_string(), owner.to_string())
    };
    let listed: Vec<_> = page.iter().map(of).collect();
    assert!(alone.iter().map(of).eq(listed.iter().cloned()));
    listed
}

fn owned_by(name: &str) -> KeptFilter {
    KeptFilter {
        owner: Some(Owner::of_read(name).unwrap()),
        ..KeptFilter::default()
    }
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs
        .map(|(id, owner)| (id.to_owned(), owner.to_owned()))
        .into()
}

#[tokio::test]
async fn reads_show_the_owners_of_services_and_filter_by_them() {
    let (_, app) = setup();
    create_service(&app, OTHER, &[]).await;
    // The list that is kept is not used any more when its owners have changed.
    let cached = cached_context();
    let everything = KeptFilter::default();
    let shown = listed(&app, &cached, everything.clone()).await;
    assert_eq!(shown, pairs([(OTHER, "_unmanaged")]));
    apply(&app, "k8s", json!([service(TCP, &[(1, 1)])])).await;
    let shown = listed(&app, &cached, everything.clone()).await;
    assert_eq!(shown, pairs([(TCP, "k8s"), (OTHER, "_unmanaged")]));
    let of = async |name| listed(&app, context(), owned_by(name)).await;
    assert_eq!(of("k8s").await, pairs([(TCP, "k8s")]));
    assert_eq!(of("_unmanaged").await, pairs([(OTHER, "_unmanaged")]));
    assert_eq!(of("web").await, []);
    let before = read_service(&app, TCP).await;
    // Another owner takes it, and changes nothing else.
    let taken = apply_with(
        &app,
        context(),
        "web",
        json!([service(TCP, &[(1, 1)])]),
        adopting(Adopt::Any),
    );
    assert_eq!(taken.await.unwrap().outcome, ApplyOutcome::Unchanged);
    let shown = listed(&app, &cached, everything.clone()).await;
    assert_eq!(shown, pairs([(TCP, "web"), (OTHER, "_unmanaged")]));
    let after = read_service(&app, TCP).await;
    assert_eq!(Kept::owner(&after.service.kept), Some(&owner("web")));
    assert_eq!(after.etag(), before.etag(), "an owner is not configuration");
    // Deleted and created by another program, it is still declared.
    app.delete_service(context(), key(TCP), false, NONE)
        .await
        .unwrap();
    let created = create_service(&app, TCP, &[]).await;
    assert_eq!(Kept::owner(&created.service.kept), Some(&owner("web")));
    let options = DeleteTableOptions {
        confirm: Some(1),
        ..DeleteTableOptions::default()
    };
    app.delete_table(context(), owner("web"), options)
        .await
        .unwrap();
    let created = create_service(&app, TCP, &[]).await;
    assert!(Kept::owner(&created.service.kept).unwrap().is_unmanaged());
}

#[tokio::test]
async fn a_dry_run_shows_the_owner_that_the_service_would_have() {
    let (_, app) = setup();
    apply(&app, "k8s", json!([service(TCP, &[])])).await;
    app.delete_service(context(), key(TCP), false, NONE)
        .await
        .unwrap();
    let dry_run = context().clone().with_dry_run(true);
    let service = draft(json!({"id": TCP}));
    let created = app.create_service(&dry_run, service).await.unwrap().value;
    assert_eq!(Kept::owner(&created.service.kept), Some(&owner("k8s")));
}

#[tokio::test]
async fn statistics_of_an_owner_are_sums_over_its_services() {
    let (kernel, app) = setup();
    apply(&app, "k8s", json!([service(TCP, &[(1, 1), (2, 1)])])).await;
    create_service(&app, OTHER, &["10.0.0.1-80"]).await;
    let counters = |n| fake::Counters {
        connections: n,
        ..fake::Counters::default()
    };
    for (service, server, n) in [
        ("192.0.2.1:80", "10.0.0.1:80", 3),
        ("192.0.2.1:80", "10.0.0.2:80", 4),
        ("192.0.2.2:80", "10.0.0.1:80", 100),
    ] {
        let open = fake::Connections::default();
        assert!(kernel.set_traffic(id(service), socket(server), open, counters(n)));
    }
    let request = StatsRequest {
        top: 10,
        by: "-stats.connections".parse().unwrap(),
        filter: owned_by("k8s"),
    };
    let report = app.stats(context(), request).await.unwrap().value;
    assert_eq!((report.service_count, report.server_count), (1, 2));
    let of_service = read_service(&app, TCP).await.service.stats;
    assert_eq!(report.stats, of_service);
    let tops: Vec<_> = report.top_servers.iter().map(|top| top.service).collect();
    assert_eq!(tops, [key(TCP); 2]);
}

#[tokio::test]
async fn drains_are_filtered_by_the_owners_of_their_services() {
    let (_, app) = setup();
    apply(&app, "k8s", json!([service(TCP, &[(1, 1)])])).await;
    create_service(&app, OTHER, &["10.0.0.2-80"]).await;
    for server in ["10.0.0.1", "10.0.0.2"] {
        let draft = DrainDraft {
            server: Some(server.to_owned()),
            ..DrainDraft::default()
        };
        app.create_drain(context(), draft.check().unwrap())
            .await
            .unwrap();
    }
    for (name, service) in [("k8s", TCP), ("_unmanaged", OTHER)] {
        let list = ListHolds {
            filter: owned_by(name),
            ..ListHolds::default()
        };
        let drains = app.list_drains(context(), &list).unwrap().entries;
        let services: Vec<_> = drains
            .iter()
            .flat_map(|drain| &drain.members)
            .map(|member| member.service)
            .collect();
        assert_eq!(services, [key(service)]);
    }
}

/// The changes that a watcher gets, as texts, until there is none for now.
pub(super) async fn changes(watch: &mut WatchStream) -> Vec<String> {
    let mut changes = Vec::new();
    loop {
        let next = tokio::time::timeout(Duration::from_millis(50), watch.next());
        let Ok(Some(messages)) = next.await else {
            return changes;
        };
        for message in messages {
            let WatchMessage::Change(change) = message else {
                continue;
            };
            let resource = change.resource().unwrap();
            let name = match resource.server() {
                Some(server) => server.to_string(),
                None => resource.service().unwrap().to_string(),
            };
            changes.push(format!("{} {name}", change.kind.as_str()));
        }
    }
}

pub(super) async fn watch(app: &App, filter: KeptFilter) -> WatchStream {
    let request = WatchRequest {
        filter: Filter {
            kept: filter,
            ..Filter::default()
        },
        ..WatchRequest::default()
    };
    let mut watch = app.watch(context(), request).await.unwrap();
    assert_eq!(changes(&mut watch).await, [""; 0]);
    watch
}

#[tokio::test]
async fn a_change_of_the_owner_is_an_event() {
    let (_, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    let mut everything = watch(&app, KeptFilter::default()).await;
    let mut of_k8s = watch(&app, owned_by("k8s")).await;
    let mut unmanaged = watch(&app, owned_by("_unmanaged")).await;
    let declared = json!([service(TCP, &[(1, 1)])]);
    let adopted = apply_with(
        &app,
        context(),
        "k8s",
        declared.clone(),
        adopting(Adopt::Unmanaged),
    );
    assert_eq!(adopted.await.unwrap().outcome, ApplyOutcome::Unchanged);
    assert_eq!(changes(&mut everything).await, [format!("modified {TCP}")]);
    assert_eq!(
        changes(&mut of_k8s).await,
        [format!("added {TCP}"), "added 10.0.0.1-80".to_owned()]
    );
    assert_eq!(
        changes(&mut unmanaged).await,
        ["deleted 10.0.0.1-80".to_owned(), format!("deleted {TCP}")]
    );
    // Nothing has changed.
    apply(&app, "k8s", declared.clone()).await;
    assert_eq!(changes(&mut everything).await, [""; 0]);
    // A server is shown to those who see its service.
    let server = server_draft(json!({"address": "10.0.0.2"}));
    app.create_server(context(), key(TCP), server)
        .await
        .unwrap();
    assert_eq!(changes(&mut of_k8s).await, ["added 10.0.0.2-80"]);
    assert_eq!(changes(&mut unmanaged).await, [""; 0]);
    let taken = apply_with(&app, context(), "web", declared, adopting(Adopt::Any));
    taken.await.unwrap();
    let gone = changes(&mut of_k8s).await;
    assert_eq!(gone.last(), Some(&format!("deleted {TCP}")));
}

#[tokio::test]
async fn what_no_table_declares_is_read_as_a_table() {
    let (_, app) = setup();
    create_service(&app, OTHER, &["10.0.0.1-80", "10.0.0.2-80"]).await;
    apply(&app, "k8s", json!([service(TCP, &[(1, 1)])])).await;
    let unmanaged = async || {
        app.declared_table(context(), &Owner::unmanaged())
            .await
            .unwrap()
    };
    let report = unmanaged().await;
    assert_eq!(report.status, TableStatus::InSync);
    let services: Vec<_> = report.table.services.keys().collect();
    assert_eq!(services, [&key(OTHER)]);
    // It can be declared as it is: the order of its servers is that of a request.
    let declared = &report.table.services[&key(OTHER)];
    let servers: Vec<_> = declared.servers.iter().map(|s| s.key.to_string()).collect();
    assert_eq!(servers, ["10.0.0.1-80", "10.0.0.2-80"]);
    app.delete_service(context(), key(OTHER), false, NONE)
        .await
        .unwrap();
    assert_eq!(unmanaged().await.table.services.len(), 0);
    assert_eq!(
        fields(&"_unmanaged".parse::<Owner>().unwrap_err()),
        ["owner"]
    );
}

#[tokio::test]
async fn without_a_store_owners_are_not_known() {
    let (_, app) = setup();
    create_service(&app, TCP, &[]).await;
    let missing = StoreError::Missing("state.redb".into());
    let app = app.with_store(Store::unavailable(missing)).unwrap();
    assert_eq!(
        Kept::owner(&read_service(&app, TCP).await.service.kept),
        None
    );
    let list = ListServices {
        filter: Filter {
            kept: owned_by("_unmanaged"),
            ..Filter::default()
        },
        ..ListServices::default()
    };
    let listed = app.list_services(context(), list).await;
    assert_eq!(reason(listed), Reason::StoreUnavailable);
    let unmanaged = app.declared_table(context(), &Owner::unmanaged()).await;
    assert_eq!(reason(unmanaged), Reason::StoreUnavailable);
}

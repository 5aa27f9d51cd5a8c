//! Watches of drains, ramps and declared tables.

use super::{
    holds::{connect, drain_request, until},
    tables::{OTHER, all, apply, apply_with, owner, service, table_draft},
    *,
};
use crate::{
    store::Store,
    watch::{Resource, Revision},
};

/// A change as a watcher sees it.
#[derive(Debug)]
struct Seen {
    kind: &'static str,
    before: Option<Resource>,
    after: Option<Resource>,
    origin: &'static str,
    revision: Option<Revision>,
}

async fn watch(app: &App, query: WatchRequest, resources: &[&str]) -> WatchStream {
    let resources = WatchResources::named(resources.iter().copied()).unwrap();
    let request = WatchRequest { resources, ..query };
    let mut watch = app.watch(context(), request).await.unwrap();
    assert_eq!(seen(&mut watch).await.len(), 0);
    watch
}

/// What there is to see now.
async fn seen(watch: &mut WatchStream) -> Vec<Seen> {
    let mut all = Vec::new();
    loop {
        let next = tokio::time::timeout(Duration::from_millis(50), watch.next());
        let Ok(messages) = next.await else {
            return all;
        };
        for message in messages.unwrap() {
            let WatchMessage::Change(change) = message else {
                continue;
            };
            all.push(Seen {
                kind: change.kind.as_str(),
                revision: change.revision(),
                origin: change
                    .event
                    .as_ref()
                    .map_or("", |event| event.origin.as_str()),
                before: change.before,
                after: change.after,
            });
        }
    }
}

fn drain_of(resource: Option<&Resource>) -> &Drain {
    match resource {
        Some(Resource::Drain(drain, total)) => {
            assert_eq!(drain.members.len(), *total);
            drain
        }
        other => panic!("{other:?}"),
    }
}

/// `KIND STATE GENERATION` of each change of a table, without the first two for a deletion.
fn of_tables(seen: &[Seen]) -> Vec<String> {
    let text = |seen: &Seen| match &seen.after {
        Some(Resource::Table(table)) => {
            let (state, generation) = (table.status.as_str(), table.generation);
            format!("{} {} {state} {generation}", seen.kind, table.owner)
        }
        None => seen.kind.to_owned(),
        other => panic!("{other:?}"),
    };
    seen.iter().map(text).collect()
}

/// Each change begins where the last one of its object ended.
fn assert_continuous(all: &[Seen]) {
    for (one, next) in all.iter().zip(all.iter().skip(1)) {
        assert_eq!(one.after, next.before);
    }
}

async fn with_connections(app: &App, kernel: &FakeKernel) -> Drain {
    let body = json!({"id": TCP, "servers": [{"id": "10.0.0.1-80", "weight": 10}]});
    app.create_service(context(), draft(body)).await.unwrap();
    connect(kernel, "10.0.0.1:80", 3);
    let request = drain_request(json!({"server": "10.0.0.1-80"}));
    app.create_drain(context(), request).await.unwrap().0
}

#[tokio::test]
async fn a_drain_is_watched_from_its_begin_to_its_end() {
    let (kernel, app) = setup();
    let mut watched = watch(&app, WatchRequest::default(), &["drain"]).await;
    let mut others = watch(&app, WatchRequest::default(), &["service", "server"]).await;
    let created = with_connections(&app, &kernel).await;
    let mut all = seen(&mut watched).await;
    assert_eq!((all[0].kind, &all[0].before), ("added", &None));
    let added = drain_of(all[0].after.as_ref());
    assert_eq!((added.id, &added.members), (created.id, &created.members));
    let member = &created.members[0];
    assert_eq!((member.effective_weight, member.active_connections), (0, 3));
    // Its progress, without a change of its state.
    connect(&kernel, "10.0.0.1:80", 2);
    until(async || {
        all.extend(seen(&mut watched).await);
        drain_of(all.last().unwrap().after.as_ref()).members[0].active_connections == 2
    })
    .await;
    connect(&kernel, "10.0.0.1:80", 0);
    until(async || {
        all.extend(seen(&mut watched).await);
        drain_of(all.last().unwrap().after.as_ref()).state == DrainState::Drained
    })
    .await;
    for change in &all[1..] {
        assert_eq!((change.kind, change.origin), ("modified", "task"));
    }
    app.delete_drain(context(), created.id).await.unwrap();
    app.delete_drain(context(), created.id).await.unwrap();
    let last = seen(&mut watched).await;
    let kinds: Vec<_> = last.iter().map(|change| change.kind).collect();
    assert!(kinds.ends_with(&["modified", "deleted"]), "{kinds:?}");
    let ended = drain_of(last[last.len() - 2].after.as_ref());
    assert_eq!(ended.state, DrainState::Cancelled);
    all.extend(last);
    assert_continuous(&all);
    // The order is that of the other events, and a watch resumes within it.
    let middle = all[all.len() - 3].revision;
    let request = WatchRequest {
        from: middle,
        resources: WatchResources::named(["drain"].into_iter()).unwrap(),
        ..WatchRequest::default()
    };
    let mut resumed = app.watch(context(), request).await.unwrap();
    let again = seen(&mut resumed).await;
    let rest: Vec<_> = all[all.len() - 2..]
        .iter()
        .map(|one| one.revision)
        .collect();
    assert_eq!(
        again.iter().map(|one| one.revision).collect::<Vec<_>>(),
        rest
    );
    for change in seen(&mut others).await {
        assert!(["service", "server"].contains(&change.after.unwrap().kind()));
    }
}

#[tokio::test]
async fn a_ramp_is_watched() {
    let (_, app) = setup();
    create_service(&app, TCP, &["10.0.0.1-80"]).await;
    let mut watched = watch(&app, WatchRequest::default(), &["ramp"]).await;
    let request = RampDraft {
        service: Some(TCP.to_owned()),
        server: Some("10.0.0.1-80".to_owned()),
        to: Some(100),
        over_seconds: Some(600),
        ..RampDraft::default()
    };
    let ramp = app
        .create_ramp(context(), request.check().unwrap())
        .await
        .unwrap();
    let added = seen(&mut watched).await;
    assert_eq!(added[0].after, Some(Resource::of_ramp(&ramp)));
    assert_eq!(added[0].kind, "added");
    let ended = app.delete_ramp(context(), ramp.id).await.unwrap();
    let changed = seen(&mut watched).await;
    assert_eq!(
        changed.last().unwrap().after,
        Some(Resource::of_ramp(&ended))
    );
}

#[tokio::test]
async fn tables_are_watched_as_lists_show_them() {
    let (kernel, app) = setup();
    let mut watched = watch(&app, WatchRequest::default(), &["table"]).await;
    let web = WatchRequest {
        filter: Filter {
            kept: KeptFilter {
                owner: Some(owner("web")),
                ..KeptFilter::default()
            },
            ..Filter::default()
        },
        ..WatchRequest::default()
    };
    let mut of_web = watch(&app, web, &["table"]).await;
    apply(&app, "k8s", json!([service(TCP, &[(1, 1)])])).await;
    let first = seen(&mut watched).await;
    assert_eq!(of_tables(&first), ["added k8s in_sync 1"]);
    let listed = app.declared_table(context(), &owner("k8s")).await.unwrap();
    assert_eq!(first[0].after, Some(Resource::of_table(listed.summary())));
    apply(&app, "k8s", json!([service(TCP, &[(1, 1), (2, 1)])])).await;
    // Nothing is new.
    apply(&app, "k8s", json!([service(TCP, &[(1, 1), (2, 1)])])).await;
    let second = seen(&mut watched).await;
    assert_eq!(
        of_tables(&second),
        ["modified k8s applying 1", "modified k8s in_sync 2"]
    );
    let settings = table_draft(json!({"reconcile": "report"}));
    app.update_table(context(), owner("k8s"), settings, NONE)
        .await
        .unwrap();
    assert!(kernel.remove_destination(id("192.0.2.1:80"), socket("10.0.0.2:80")));
    app.reconcile_now().await.unwrap();
    app.reconcile_now().await.unwrap();
    let third = seen(&mut watched).await;
    assert_eq!(
        of_tables(&third),
        ["modified k8s in_sync 3", "modified k8s drifted 3"]
    );
    assert_eq!((third[0].origin, third[1].origin), ("task", "task"));
    apply(&app, "web", json!([service(OTHER, &[(1, 1)])])).await;
    assert_eq!(of_tables(&seen(&mut of_web).await), ["added web in_sync 1"]);
    let deletion = DeleteTableOptions {
        confirm: Some(1),
        ..DeleteTableOptions::default()
    };
    app.delete_table(context(), owner("k8s"), deletion)
        .await
        .unwrap();
    let last = seen(&mut watched).await;
    assert_eq!(
        of_tables(&last),
        ["added web in_sync 1", "modified k8s applying 3", "deleted"]
    );
    assert_eq!(seen(&mut of_web).await.len(), 0);
}

#[tokio::test]
async fn the_state_has_what_is_stored() {
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let before = app_on(&kernel).with_store(store.clone()).unwrap();
    let drain = with_connections(&before, &kernel).await;
    let adopted = ApplyOptions {
        adopt: Adopt::Unmanaged,
        ..all()
    };
    let declared = json!([{"id": TCP, "servers": [{"id": "10.0.0.1-80", "weight": 10}]}]);
    apply_with(&before, context(), "k8s", declared, adopted)
        .await
        .unwrap();
    let app = app_on(&kernel).with_store(store).unwrap();
    let of = |name: &str| Filter {
        kept: KeptFilter {
            owner: Some(owner(name)),
            ..KeptFilter::default()
        },
        ..Filter::default()
    };
    let state = async |filter: Filter| {
        let request = WatchRequest {
            initial: true,
            filter,
            resources: WatchResources::named(["drain", "table"].into_iter()).unwrap(),
            ..WatchRequest::default()
        };
        seen(&mut app.watch(context(), request).await.unwrap()).await
    };
    let all = state(of("k8s")).await;
    assert_eq!(drain_of(all[0].after.as_ref()).id, drain.id);
    assert_eq!(of_tables(&all[1..]), ["added k8s in_sync 1"]);
    assert_eq!(all.len(), 2);
    assert_eq!(state(of("web")).await.len(), 0);
}

#[tokio::test]
async fn filters_that_do_not_select_a_resource_are_refused() {
    let (_, app) = setup();
    let refused = async |filter: Filter, resource: &str| {
        let request = WatchRequest {
            filter,
            resources: WatchResources::named([resource].into_iter()).unwrap(),
            ..WatchRequest::default()
        };
        let watch = app.watch(context(), request).await;
        watch.map_or_else(|error| fields(&error).join(","), |_| String::new())
    };
    let scheduler = || Filter {
        scheduler: Some("rr".to_owned()),
        ..Filter::default()
    };
    let port = || Filter {
        port: Some(80),
        ..Filter::default()
    };
    assert_eq!(refused(scheduler(), "drain").await, "scheduler");
    assert_eq!(refused(scheduler(), "table").await, "scheduler");
    assert_eq!(refused(port(), "table").await, "port");
    assert_eq!(refused(port(), "ramp").await, "");
    assert_eq!(refused(scheduler(), "server").await, "");
}

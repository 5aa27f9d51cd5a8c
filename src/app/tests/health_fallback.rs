//! Fallback servers: a service with some has a server that gets connections at any time.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use proptest::prelude::*;

use super::{
    health::{SERVERS, check, force, observe, outcome},
    holds::{change, drain_request},
    tables::{apply, apply_with},
    *,
};
use crate::store::Store;

const FALLBACK: [&str; 2] = ["10.0.9.1-80", "10.0.9.2-80"];

fn fallback(ids: &[&str]) -> Value {
    let server = |id: &&str| json!({"id": id, "forwarding": "masquerade", "weight": 7});
    ids.iter().map(server).collect()
}

fn declared(weights: [u32; 3], more: Value) -> Value {
    let servers = SERVERS.iter().zip(weights);
    let servers =
        servers.map(|(id, weight)| json!({"id": id, "forwarding": "masquerade", "weight": weight}));
    json!({"id": TCP, "scheduler": "rr", "health_check": check(more),
        "servers": servers.collect::<Vec<_>>()})
}

/// A service with three servers and a fallback server, none of which is up.
async fn fallen_back(app: &App) {
    let json = declared(
        [10; 3],
        json!({"fallback_servers": fallback(&FALLBACK[..1])}),
    );
    app.create_service(context(), draft(json)).await.unwrap();
    app.find_now().await;
    observe(app, "---").await;
}

/// The servers of the service in the kernel, with their weights.
fn kernel_weights(kernel: &FakeKernel) -> Vec<(String, u32)> {
    let service = kernel.service(id("192.0.2.1:80"));
    let mut weights: Vec<_> = service
        .iter()
        .flat_map(|service| service.destinations())
        .map(|server| (server.address.to_string(), server.weight))
        .collect();
    weights.sort();
    weights
}

fn is_served(kernel: &FakeKernel) -> bool {
    kernel_weights(kernel).iter().any(|(_, weight)| *weight > 0)
}

fn weights_of(of: &[(&str, u32)]) -> Vec<(String, u32)> {
    let weights = of.iter();
    weights
        .map(|(id, weight)| ((*id).to_owned(), *weight))
        .collect()
}

const DOWN: [(&str, u32); 3] = [("10.0.0.1:80", 0), ("10.0.0.2:80", 0), ("10.0.0.3:80", 0)];

fn down_with(fallback: &[(&'static str, u32)]) -> Vec<(String, u32)> {
    weights_of(&[&DOWN[..], fallback].concat())
}

#[tokio::test]
async fn fallback_servers_come_before_the_last_goes_and_go_after_the_first_is_back() {
    let (kernel, app) = setup();
    let unserved = Arc::new(Mutex::new(Vec::new()));
    let json = declared([10; 3], json!({"fallback_servers": fallback(&FALLBACK)}));
    app.create_service(context(), draft(json)).await.unwrap();
    app.find_now().await;
    let samples = unserved.clone();
    let sample = move |kernel: &FakeKernel| {
        if !is_served(kernel) {
            samples.lock().unwrap().push(kernel_weights(kernel));
        }
    };
    kernel.faults().always(On::Any, Fault::before(sample));
    observe(&app, "--+").await;
    assert_eq!(kernel_weights(&kernel).len(), 3, "one is healthy");
    observe(&app, "..-").await;
    let serving = [("10.0.9.1:80", 7), ("10.0.9.2:80", 7)];
    assert_eq!(kernel_weights(&kernel), down_with(&serving));
    let report = app.service_health(context(), key(TCP)).await.unwrap();
    assert!(report.below_min && report.fallback);
    assert_eq!(report.servers.len(), 3, "fallback servers are not checked");
    // The first has a connection.
    let traffic = fake::Connections {
        active: 1,
        ..fake::Connections::default()
    };
    assert!(kernel.set_traffic(
        id("192.0.2.1:80"),
        socket("10.0.9.1:80"),
        traffic,
        fake::Counters::default()
    ));
    observe(&app, "+..").await;
    app.look_now().await;
    let back = [("10.0.0.1:80", 10), DOWN[1], DOWN[2], ("10.0.9.1:80", 0)];
    assert_eq!(kernel_weights(&kernel), weights_of(&back));
    assert!(
        !app.service_health(context(), key(TCP))
            .await
            .unwrap()
            .fallback
    );
    let none = fake::Connections::default();
    kernel.set_traffic(
        id("192.0.2.1:80"),
        socket("10.0.9.1:80"),
        none,
        fake::Counters::default(),
    );
    app.look_now().await;
    assert_eq!(kernel_weights(&kernel), weights_of(&back[..3]));
    assert_eq!(*unserved.lock().unwrap(), Vec::<Vec<(String, u32)>>::new());
}

#[tokio::test]
async fn fallback_servers_are_nobodys_configuration() {
    let (kernel, app) = setup();
    fallen_back(&app).await;
    let entry = read_service(&app, TCP).await;
    let marked = entry.servers.iter().filter(|server| server.is_fallback());
    let marked: Vec<_> = marked.map(|server| server.key.to_string()).collect();
    assert_eq!(marked, FALLBACK[..1]);
    let own = ServiceEntry {
        servers: entry.configured().cloned().collect(),
        ..ServiceEntry::clone(&entry)
    };
    assert_eq!(entry.etag(), own.etag());
    // What was read can be written back, with its ETag, and nothing changes.
    let body = json!(ServiceView::new(&entry, Include::default()));
    let guard = Guard::Matches(vec![entry.etag()]);
    let replaced = app.replace_service(context(), key(TCP), draft(body), guard);
    assert!(!replaced.await.unwrap().changed);
    // A set of other servers leaves them.
    let servers = json!([{"id": SERVERS[0], "forwarding": "masquerade", "weight": 10}]);
    let fewer = json!({"scheduler": "rr", "servers": servers});
    let replaced = app.replace_service(context(), key(TCP), draft(fewer), NONE);
    replaced.await.unwrap();
    let expected = [DOWN[0], ("10.0.9.1:80", 7)];
    assert_eq!(kernel_weights(&kernel), weights_of(&expected));
    // Neither do tables delete or count them.
    let options = ApplyOptions {
        adopt: Adopt::Any,
        max_deletes: Deletions::Count(0),
        ..ApplyOptions::default()
    };
    let service = json!([{"id": TCP, "scheduler": "rr",
        "servers": [{"id": SERVERS[0], "forwarding": "masquerade", "weight": 10}]}]);
    let applied = apply_with(&app, context(), "k8s", service, options).await;
    assert_eq!(applied.unwrap().outcome, ApplyOutcome::Unchanged);
    assert_eq!(kernel_weights(&kernel), weights_of(&expected));
    let rules = app
        .save_rules(context(), crate::ipvsadm::Order::Sorted)
        .await;
    let rules = String::from_utf8(rules.unwrap().value).unwrap();
    assert!(!rules.contains("10.0.9.1"), "{rules}");
    // A drain of their address does not hold them.
    let drain = drain_request(json!({"server": "10.0.9.1"}));
    app.create_drain(context(), drain).await.unwrap();
    app.look_now().await;
    assert_eq!(kernel_weights(&kernel), weights_of(&expected));
    app.delete_service(context(), key(TCP), false, NONE)
        .await
        .unwrap();
    app.look_now().await;
    assert!(app.hold_registry.holds().fallback_services().is_empty());
}

#[tokio::test]
async fn a_fallback_server_is_not_to_be_edited_and_becomes_one_that_is_created() {
    let (kernel, app) = setup();
    fallen_back(&app).await;
    let (service, server) = (key(TCP), server_key(FALLBACK[0]));
    let patch = server_draft(json!({"weight": 0}));
    let patched = app.update_server(context(), service, server, patch, NONE, false);
    let error = patched.await.unwrap_err();
    assert_eq!(error.reason, Reason::ServiceOwned);
    assert!(error.detail.contains("is a fallback server"), "{error}");
    let deleted = app.delete_server(context(), service, server, true, NONE);
    assert_eq!(reason(deleted.await), Reason::ServiceOwned);
    assert_eq!(kernel_weights(&kernel), down_with(&[("10.0.9.1:80", 7)]));
    let new = server_draft(json!({"id": FALLBACK[0], "forwarding": "masquerade", "weight": 3}));
    let created = app.create_server(context(), service, new).await.unwrap();
    assert!(!created.value.is_fallback());
    assert_eq!(created.value.config.weight, 3);
    app.find_now().await;
    observe(&app, "+..").await;
    app.look_now().await;
    let expected = [("10.0.0.1:80", 10), DOWN[1], DOWN[2], ("10.0.9.1:80", 3)];
    assert_eq!(
        kernel_weights(&kernel),
        weights_of(&expected),
        "it is left alone"
    );
}

#[tokio::test]
async fn a_fallback_server_that_the_kernel_refuses_keeps_no_other_from_it() {
    let (kernel, app) = setup();
    // The broadcast address of a network, which the kernel does not accept.
    kernel.add_broadcast("10.0.9.255".parse().unwrap());
    let servers = fallback(&["10.0.9.255-80", FALLBACK[0]]);
    let json = declared([10; 3], json!({ "fallback_servers": servers }));
    app.create_service(context(), draft(json)).await.unwrap();
    app.find_now().await;
    observe(&app, "---").await;
    app.look_now().await;
    assert_eq!(kernel_weights(&kernel), down_with(&[("10.0.9.1:80", 7)]));
    observe(&app, "+..").await;
    app.look_now().await;
    let back = [("10.0.0.1:80", 10), DOWN[1], DOWN[2]];
    assert_eq!(kernel_weights(&kernel), weights_of(&back));
    // If there is no other, the last server goes on.
    let patch = json!({"health_check": {"fallback_servers": fallback(&["10.0.9.255-80"])}});
    let patched = app.update_service(context(), key(TCP), draft(patch), NONE, false);
    patched.await.unwrap();
    app.find_now().await;
    observe(&app, "-..").await;
    app.look_now().await;
    assert_eq!(kernel_weights(&kernel), weights_of(&back));
}

#[tokio::test]
async fn without_fallback_servers_in_the_check_they_go() {
    for patch in [
        json!({"health_check": {"fallback_servers": null, "below_min": "keep_all"}}),
        json!({"health_check": {"below_min": "none"}}),
        json!({"health_check": {"fallback_servers": fallback(&FALLBACK[1..])}}),
        json!({"health_check": null}),
    ] {
        let (kernel, app) = setup();
        fallen_back(&app).await;
        let patched = app.update_service(context(), key(TCP), draft(patch.clone()), NONE, false);
        patched.await.unwrap();
        app.find_now().await;
        app.look_now().await;
        let weights = kernel_weights(&kernel);
        let first = weights.iter().find(|(id, _)| id == "10.0.9.1:80");
        assert_eq!(first, None, "{patch}");
        let has_second = weights.iter().any(|(id, _)| id == "10.0.9.2:80");
        assert_eq!(
            has_second,
            patch["health_check"]["fallback_servers"].is_array()
        );
    }
}

/// A daemon on this kernel, with what the one before has stored.
fn start(kernel: &FakeKernel, store: &Store) -> (tokio::runtime::Runtime, App) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let app = app_on(kernel).with_store(store.clone()).unwrap();
    (runtime, app)
}

/// The daemon is killed after this number of operations on servers.
fn killed_after(count: u32, kernel: &FakeKernel, store: &Store, outcomes: &[&str]) {
    let (runtime, app) = start(kernel, store);
    runtime.block_on(async {
        app.find_now().await;
        app.look_now().await;
        let left = AtomicU32::new(count);
        let die = Fault::before(move |kernel| {
            if left.fetch_sub(1, Ordering::Relaxed) == 0 {
                kernel.faults().always(On::Any, Fault::Errno(5));
            }
        });
        for command in [command::NEW_DEST, command::SET_DEST, command::DEL_DEST] {
            kernel.faults().always(On::Command(command), die.clone());
        }
        for outcomes in outcomes {
            observe(&app, outcomes).await;
        }
    });
    kernel.faults().clear();
}

#[test]
fn a_crash_at_any_step_leaves_a_server_and_nothing_that_is_not_cleaned_up() {
    for count in 0..10 {
        for outcomes in [&["---"][..], &["---", "+.."]] {
            let (kernel, store) = (FakeKernel::new(), Store::in_memory());
            let (runtime, app) = start(&kernel, &store);
            let json = declared([10; 3], json!({"fallback_servers": fallback(&FALLBACK)}));
            let created = app.create_service(context(), draft(json));
            runtime.block_on(created).unwrap();
            drop((runtime, app));
            killed_after(count, &kernel, &store, outcomes);
            assert!(is_served(&kernel), "{count} {outcomes:?}");
            let (runtime, app) = start(&kernel, &store);
            runtime.block_on(async {
                app.look_now().await;
                app.find_now().await;
                assert!(is_served(&kernel), "{count} {outcomes:?}");
                observe(&app, "---").await;
                let serving = [("10.0.9.1:80", 7), ("10.0.9.2:80", 7)];
                assert_eq!(
                    kernel_weights(&kernel),
                    down_with(&serving),
                    "{count} {outcomes:?}"
                );
                // It may need more successes, because it flaps.
                for _ in 0..40 {
                    observe(&app, "+++").await;
                }
                app.look_now().await;
                let own = SERVERS.map(|id| (id.replace('-', ":"), 10));
                assert_eq!(kernel_weights(&kernel), own, "{count} {outcomes:?}");
            });
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug)]
enum Action {
    SetWeight(usize, u32),
    Apply([u32; 3]),
    SetByAnotherProgram(usize, u32),
    Delete(usize),
    Drain(usize),
    EndDrain,
    Check(usize, bool),
    Force(usize, Option<bool>),
    Look,
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    let weight = || 0..3_u32;
    let server = || 0..3_usize;
    let check =
        (server(), any::<bool>()).prop_map(|(server, is_good)| Action::Check(server, is_good));
    prop_oneof![
        1 => (server(), weight()).prop_map(|(server, weight)| Action::SetWeight(server, weight)),
        1 => [weight(), weight(), weight()].prop_map(Action::Apply),
        1 => (server(), weight())
            .prop_map(|(server, weight)| Action::SetByAnotherProgram(server, weight)),
        1 => server().prop_map(Action::Delete),
        1 => server().prop_map(Action::Drain),
        1 => Just(Action::EndDrain),
        4 => check,
        1 => (server(), proptest::option::of(any::<bool>()))
            .prop_map(|(server, forced)| Action::Force(server, forced)),
        1 => Just(Action::Look),
        1 => Just(Action::Restart),
    ]
}

/// Whether somebody else than the daemon decides what the action makes of the kernel.
fn is_of_others(action: Action) -> bool {
    matches!(
        action,
        Action::SetWeight(..)
            | Action::Apply(_)
            | Action::SetByAnotherProgram(..)
            | Action::Delete(_)
    )
}

async fn execute(app: &App, kernel: &FakeKernel, drains: &mut Vec<HoldId>, action: Action) {
    let service = key(TCP);
    match action {
        Action::SetWeight(one, weight) => {
            let patch = server_draft(json!({"weight": weight}));
            let server = server_key(SERVERS[one]);
            // It may have been deleted.
            let patched = app.update_server(context(), service, server, patch, NONE, false);
            drop(patched.await);
        }
        Action::Apply(weights) => {
            let json = declared(weights, json!({"fallback_servers": fallback(&FALLBACK)}));
            apply(app, "k8s", json!([json])).await;
        }
        Action::SetByAnotherProgram(one, weight) => {
            let address = SERVERS[one].replace('-', ":");
            let has = kernel_weights(kernel);
            if has.iter().any(|(id, _)| *id == address) {
                change(kernel, service, socket(&address), |server| {
                    server.weight = weight
                });
                app.look_now().await;
            }
        }
        Action::Delete(one) => {
            let server = server_key(SERVERS[one]);
            let deleted = app.delete_server(context(), service, server, true, NONE);
            deleted.await.unwrap();
        }
        Action::Drain(one) => {
            let request = drain_request(json!({"server": SERVERS[one], "services": [TCP]}));
            if let Ok((drain, _)) = app.create_drain(context(), request).await {
                drains.push(drain.id);
            }
        }
        Action::EndDrain => {
            if let Some(id) = drains.pop() {
                drop(app.delete_drain(context(), id).await);
            }
        }
        Action::Check(one, is_good) => {
            let word = if is_good { '+' } else { '-' };
            // It may need more successes, because it flaps.
            for _ in 0..if is_good { 40 } else { 1 } {
                app.note_now(service, server_key(SERVERS[one]), &outcome(word))
                    .await;
            }
        }
        Action::Force(one, forced) => {
            let json = forced.map(|up| json!({"state": if up { "up" } else { "down" }}));
            drop(force(app, SERVERS[one], json).await);
        }
        Action::Look => app.look_now().await,
        Action::Restart => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn there_is_always_a_server_that_gets_connections(
        actions in proptest::collection::vec(action(), 1..40)
    ) {
        let (kernel, store) = (FakeKernel::new(), Store::in_memory());
        let (mut runtime, mut app) = start(&kernel, &store);
        let mut drains = Vec::new();
        let is_watched = Arc::new(AtomicBool::new(false));
        let unserved = Arc::new(Mutex::new(None));
        runtime.block_on(async {
            let json = declared([1; 3], json!({"fallback_servers": fallback(&FALLBACK)}));
            apply(&app, "k8s", json!([json])).await;
            app.find_now().await;
        });
        let (watched, found) = (is_watched.clone(), unserved.clone());
        // Before each command: what the one before has made.
        kernel.faults().always(On::Any, Fault::before(move |kernel| {
            if watched.load(Ordering::Relaxed) && !is_served(kernel) {
                *found.lock().unwrap() = Some(kernel_weights(kernel));
            }
        }));
        for action in actions {
            is_watched.store(!is_of_others(action), Ordering::Relaxed);
            if matches!(action, Action::Restart) {
                // With the old runtime, the tasks of the daemon before end.
                (runtime, app) = start(&kernel, &store);
                // The holds may be looked at before it is known which services are checked.
                runtime.block_on(app.look_now());
            }
            runtime.block_on(async {
                execute(&app, &kernel, &mut drains, action).await;
                app.find_now().await;
                is_watched.store(true, Ordering::Relaxed);
                app.look_now().await;
                app.find_now().await;
                app.look_now().await;
                assert!(is_served(&kernel), "{action:?}: {:?}", kernel_weights(&kernel));
                let entry = read_service(&app, TCP).await;
                let own = entry.configured().any(|server| server.effective_weight > 0);
                let report = app.service_health(context(), key(TCP)).await.unwrap();
                let serving = entry.servers.iter().filter(|server| server.is_fallback());
                let serving = serving.filter(|server| server.effective_weight == 7).count();
                let is_needed = !own || report.below_min;
                assert_eq!(serving, if is_needed { 2 } else { 0 }, "{action:?}: {report:?} {entry:?}");
                assert_eq!(entry.servers.len() - entry.configured().count(), serving, "{action:?}");
            });
            let unserved = unserved.lock().unwrap().take();
            assert_eq!(unserved, None, "{action:?}");
        }
    }
}

//! Drains and ramps.

use super::{
    tables::{apply, operations, owner, service},
    *,
};
use crate::store::Collection;

const SECOND: &str = "tcp-192.0.2.2-80";
const SERVER: &str = "10.0.0.1-80";
const BY_PROGRAM: u32 = 7;

pub(super) fn drain_request(json: Value) -> DrainRequest {
    serde_json::from_value::<DrainDraft>(json)
        .unwrap()
        .check()
        .unwrap()
}

fn ramp_request(json: Value) -> RampRequest {
    serde_json::from_value::<RampDraft>(json)
        .unwrap()
        .check()
        .unwrap()
}

async fn drain(app: &App, json: Value) -> Drain {
    let (drain, created) = app
        .create_drain(context(), drain_request(json))
        .await
        .unwrap();
    assert!(created);
    drain
}

/// A service with servers 10.0.0.N, each with the weight 10 N.
async fn weighted(app: &App, service: &str, servers: &[u8]) {
    let servers: Vec<_> = servers
        .iter()
        .map(|n| json!({"id": format!("10.0.0.{n}-80"), "forwarding": "masquerade", "weight": 10 * u32::from(*n)}))
        .collect();
    let draft = draft(json!({"id": service, "scheduler": "rr", "servers": servers}));
    app.create_service(context(), draft).await.unwrap();
}

async fn server(app: &App, service: &str, id: &str) -> Server {
    let found = app.server(context(), key(service), server_key(id)).await;
    found.unwrap().value
}

/// The intended and the effective weight.
async fn weights(app: &App, service: &str, id: &str) -> (u32, u32) {
    let server = server(app, service, id).await;
    (server.config.weight, server.effective_weight)
}

async fn patch(app: &App, service: &str, id: &str, json: Value) -> Server {
    let (service, server) = (key(service), server_key(id));
    let patched = app.update_server(context(), service, server, server_draft(json), NONE, false);
    patched.await.unwrap().value
}

/// The weight in the kernel.
pub(super) fn kernel_weight(kernel: &FakeKernel, service: &str, address: &str) -> u32 {
    let service = kernel.service(fake_id(key(service))).unwrap();
    service.destination(socket(address)).unwrap().weight
}

/// Another program sets the weight of a server of the first service.
fn set_by_another_program(kernel: &FakeKernel, address: &str) {
    change(kernel, key(TCP), socket(address), |server| {
        server.weight = BY_PROGRAM
    });
}

/// Another program changes a server.
pub(super) fn change(
    kernel: &FakeKernel,
    service: ServiceKey,
    address: SocketAddr,
    change: impl FnOnce(&mut fake::Destination),
) {
    let service = fake_id(service);
    let found = kernel.service(service).unwrap();
    let mut server = *found.destination(address).unwrap();
    assert!(kernel.remove_destination(service, address));
    change(&mut server);
    assert!(kernel.add_destination(service, server));
}

fn fake_id(service: ServiceKey) -> ServiceId {
    let ServiceKey::Address { address, port, .. } = service else {
        panic!("no address");
    };
    ServiceId::tcp(SocketAddr::new(address, port))
}

/// Connections of a server of the first service.
pub(super) fn connect(kernel: &FakeKernel, address: &str, count: u32) {
    let connections = fake::Connections {
        active: count,
        ..fake::Connections::default()
    };
    let (service, address) = (id("192.0.2.1:80"), socket(address));
    assert!(kernel.set_traffic(service, address, connections, fake::Counters::default()));
}

/// Waits for the task, which looks once a second.
pub(super) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(std::time::Instant::now() < end, "it does not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_drain_holds_the_weight_and_its_deletion_restores_it() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1, 2]).await;
    let drain = drain(&app, json!({"server": SERVER})).await;
    assert_eq!(drain.state, DrainState::Drained);
    assert_eq!(
        (drain.members[0].weight, drain.members[0].effective_weight),
        (10, 0)
    );
    let held = server(&app, TCP, SERVER).await;
    assert_eq!((held.config.weight, held.effective_weight), (10, 0));
    assert_eq!(held.holds.as_deref(), Some(&[Hold::drain(drain.id)][..]));
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), 0);
    assert_eq!(weights(&app, TCP, "10.0.0.2-80").await, (20, 20));

    let ended = app.delete_drain(context(), drain.id).await.unwrap();
    assert_eq!(ended.state, DrainState::Cancelled);
    let free = server(&app, TCP, SERVER).await;
    assert_eq!(
        (free.config.weight, free.effective_weight, free.holds),
        (10, 10, None)
    );
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), 10);
}

#[tokio::test]
async fn the_same_drain_is_one_and_others_add_up() {
    let (_, app) = setup();
    weighted(&app, TCP, &[1]).await;
    let first = drain(&app, json!({"server": SERVER})).await;
    let again = app.create_drain(context(), drain_request(json!({"server": SERVER})));
    assert_eq!(again.await.unwrap(), (first.clone(), false));
    let second = drain(&app, json!({"server": "10.0.0.1"})).await;
    assert_eq!(server(&app, TCP, SERVER).await.holds.unwrap().len(), 2);
    app.delete_drain(context(), first.id).await.unwrap();
    assert_eq!(weights(&app, TCP, SERVER).await, (10, 0));
    app.delete_drain(context(), second.id).await.unwrap();
    assert_eq!(weights(&app, TCP, SERVER).await, (10, 10));
}

#[tokio::test]
async fn writes_that_keep_the_weight_keep_the_drain() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1, 2]).await;
    let drain = drain(&app, json!({"server": SERVER})).await;
    let patched = patch(&app, TCP, SERVER, json!({"upper_threshold": 5})).await;
    assert_eq!((patched.config.weight, patched.effective_weight), (10, 0));
    assert_eq!(patched.config.upper_threshold, 5);
    // What is read may be sent back.
    let same = json!({"weight": 10, "forwarding": "masquerade", "upper_threshold": 5});
    let (service, id) = (key(TCP), server_key(SERVER));
    let put = app.replace_server(context(), service, id, server_draft(same), NONE);
    assert!(!put.await.unwrap().changed);
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), 0);
    assert!(app.drain(context(), drain.id).unwrap().is_active());
}

#[tokio::test]
async fn a_write_that_changes_the_weight_ends_the_drain_of_the_server() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1]).await;
    weighted(&app, SECOND, &[1]).await;
    let drain = drain(&app, json!({"server": "10.0.0.1"})).await;
    let patched = patch(&app, TCP, SERVER, json!({"weight": 3})).await;
    assert_eq!(
        (
            patched.config.weight,
            patched.effective_weight,
            patched.holds
        ),
        (3, 3, None)
    );
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), 3);
    // Of the other service, it goes on.
    assert_eq!(weights(&app, SECOND, SERVER).await, (10, 0));
    let states = |drain: &Drain| {
        drain
            .members
            .iter()
            .map(|one| one.state)
            .collect::<Vec<_>>()
    };
    let now = app.drain(context(), drain.id).unwrap();
    assert_eq!(
        states(&now),
        [MemberState::Superseded, MemberState::Drained]
    );
    // The task does not drain it again.
    app.look_now().await;
    assert_eq!(weights(&app, TCP, SERVER).await, (3, 3));
    patch(&app, SECOND, SERVER, json!({"weight": 4})).await;
    let ended = app.drain(context(), drain.id).unwrap();
    assert_eq!(ended.state, DrainState::Superseded);
    assert!(!ended.is_active());
}

#[tokio::test]
async fn a_weight_that_another_program_sets_ends_the_drain() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1]).await;
    let drain = drain(&app, json!({"server": SERVER})).await;
    set_by_another_program(&kernel, "10.0.0.1:80");
    app.look_now().await;
    assert_eq!(weights(&app, TCP, SERVER).await, (BY_PROGRAM, BY_PROGRAM));
    assert_eq!(
        app.drain(context(), drain.id).unwrap().state,
        DrainState::Superseded
    );
}

#[tokio::test]
async fn a_write_does_not_overwrite_the_weight_of_another_program() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1]).await;
    drain(&app, json!({"server": SERVER})).await;
    // Before the write reads the server.
    set_by_another_program(&kernel, "10.0.0.1:80");
    let patched = patch(&app, TCP, SERVER, json!({"upper_threshold": 5})).await;
    assert_eq!(
        (patched.config.weight, patched.effective_weight),
        (BY_PROGRAM, BY_PROGRAM)
    );
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), BY_PROGRAM);
    // Between its read and its operation.
    drain(&app, json!({"server": SERVER, "deadline_seconds": 10})).await;
    let reads = std::sync::atomic::AtomicUsize::new(0);
    let write = Fault::before(move |kernel| {
        if reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            change(kernel, key(TCP), socket("10.0.0.1:80"), |server| {
                server.weight = 9
            });
        }
    });
    kernel
        .faults()
        .times(2, On::Command(command::GET_DEST), write);
    let patched = patch(&app, TCP, SERVER, json!({"upper_threshold": 6})).await;
    assert_eq!(
        (patched.config.upper_threshold, patched.config.weight),
        (6, 9)
    );
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), 9);
}

#[tokio::test]
async fn a_lost_reply_leaves_the_drain_in_force() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1]).await;
    kernel
        .faults()
        .once(On::Command(command::SET_DEST), Fault::Overrun);
    let drain = drain(&app, json!({"server": SERVER})).await;
    until(async || kernel_weight(&kernel, TCP, "10.0.0.1:80") == 0).await;
    assert_eq!(weights(&app, TCP, SERVER).await, (10, 0));
    // One that was not executed is no change of another program.
    app.look_now().await;
    assert!(app.drain(context(), drain.id).unwrap().is_active());
}

#[tokio::test]
async fn servers_that_appear_later_join() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1]).await;
    weighted(&app, SECOND, &[2]).await;
    let drain = drain(&app, json!({"server": "10.0.0.1"})).await;
    let new = server_draft(json!({"id": "10.0.0.1-81", "forwarding": "masquerade", "weight": 9}));
    let created = app
        .create_server(context(), key(SECOND), new)
        .await
        .unwrap()
        .value;
    assert_eq!((created.config.weight, created.effective_weight), (9, 0));
    assert_eq!(kernel_weight(&kernel, SECOND, "10.0.0.1:81"), 0);
    // One of another program.
    let mut new = fake::Destination::new(socket("10.0.0.1:82"));
    new.weight = 8;
    assert!(kernel.add_destination(id("192.0.2.1:80"), new));
    app.look_now().await;
    let members = app.drain(context(), drain.id).unwrap().members;
    let mut weights: Vec<_> = members
        .iter()
        .map(|one| (one.weight, one.effective_weight))
        .collect();
    weights.sort_unstable();
    assert_eq!(weights, [(8, 0), (9, 0), (10, 0)]);
}

#[tokio::test]
async fn a_server_that_is_created_again_stays_drained() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1, 2]).await;
    drain(&app, json!({"server": SERVER, "services": [TCP]})).await;
    let (service, id) = (key(TCP), server_key(SERVER));
    app.delete_server(context(), service, id, false, NONE)
        .await
        .unwrap();
    let new = server_draft(json!({"id": SERVER, "forwarding": "masquerade", "weight": 6}));
    app.create_server(context(), service, new).await.unwrap();
    assert_eq!(weights(&app, TCP, SERVER).await, (6, 0));
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), 0);
}

#[tokio::test]
async fn an_apply_changes_the_weight_beneath_the_drain() {
    let (kernel, app) = setup();
    apply(&app, "web", json!([service(TCP, &[(1, 10), (2, 20)])])).await;
    let drain = drain(&app, json!({"server": SERVER})).await;
    // A controller that applies its table again and again does not end it.
    let same = apply(&app, "web", json!([service(TCP, &[(1, 10), (2, 20)])])).await;
    assert_eq!(same.outcome, ApplyOutcome::Unchanged);
    let other = apply(&app, "web", json!([service(TCP, &[(1, 50), (2, 20)])])).await;
    assert_eq!(
        operations(&other),
        [format!("update_server {TCP} {SERVER} done")]
    );
    assert_eq!(weights(&app, TCP, SERVER).await, (50, 0));
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), 0);
    app.delete_drain(context(), drain.id).await.unwrap();
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), 50);
}

#[tokio::test]
async fn a_failed_change_puts_the_drain_back() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1, 2]).await;
    drain(&app, json!({"server": SERVER})).await;
    // The second operation fails, so that the first, which changes the weight, is undone.
    let errno = Fault::Errno(libc::ENOMEM);
    kernel.faults().once(On::Command(command::NEW_DEST), errno);
    let servers = json!([
        {"id": SERVER, "forwarding": "masquerade", "weight": 3},
        {"id": "10.0.0.2-80", "forwarding": "masquerade", "weight": 20},
        {"id": "10.0.0.3-80", "forwarding": "masquerade", "weight": 30},
    ]);
    let whole = draft(json!({"id": TCP, "scheduler": "rr", "servers": servers}));
    let put = app.replace_service(context(), key(TCP), whole, NONE).await;
    assert!(put.is_err());
    assert_eq!(weights(&app, TCP, SERVER).await, (10, 0));
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), 0);
}

#[tokio::test]
async fn holds_survive_the_daemon() {
    let kernel = FakeKernel::new();
    let store = Store::in_memory();
    let app = app_on(&kernel).with_store(store.clone()).unwrap();
    weighted(&app, TCP, &[1, 2]).await;
    let drain = drain(&app, json!({"server": SERVER, "deadline_seconds": 1000})).await;
    drop(app);

    let app = app_on(&kernel).with_store(store).unwrap();
    let held = server(&app, TCP, SERVER).await;
    assert_eq!((held.config.weight, held.effective_weight), (10, 0));
    let again = app.drain(context(), drain.id).unwrap();
    assert_eq!(
        (again.id, again.server, again.deadline_seconds),
        (drain.id, drain.server, Some(1000))
    );
    app.delete_drain(context(), drain.id).await.unwrap();
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), 10);
}

#[tokio::test]
async fn the_intended_weight_is_stored_before_the_kernel_loses_it() {
    let kernel = FakeKernel::new();
    let store = Store::in_memory();
    let app = app_on(&kernel).with_store(store.clone()).unwrap();
    weighted(&app, TCP, &[1]).await;
    let (sender, stored) = std::sync::mpsc::channel();
    let look = Fault::before(move |_| {
        let held = Collection::<Value>::new("held-weights");
        sender.send(store.load(&held).unwrap()).unwrap();
    });
    kernel.faults().once(On::Command(command::SET_DEST), look);
    drain(&app, json!({"server": SERVER})).await;
    let stored = stored.try_recv().unwrap();
    assert_eq!(stored.len(), 1, "{stored:?}");
    assert_eq!(stored[0].1["weight"], 10);
}

#[tokio::test]
async fn servers_without_connections_are_removed_if_that_is_asked_for() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1, 2]).await;
    connect(&kernel, "10.0.0.1:80", 1);
    let waiting = drain(&app, json!({"server": SERVER, "then": "remove"})).await;
    assert_eq!(waiting.state, DrainState::Draining);
    assert_eq!(read_service(&app, TCP).await.servers.len(), 2);
    connect(&kernel, "10.0.0.1:80", 0);
    until(async || !app.drain(context(), waiting.id).unwrap().is_active()).await;
    assert_eq!(ids(&*read_service(&app, TCP).await), ["10.0.0.2-80"]);
    assert_eq!(
        app.drain(context(), waiting.id).unwrap().state,
        DrainState::Drained
    );
}

#[tokio::test]
async fn a_deadline_ends_the_wait() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1]).await;
    connect(&kernel, "10.0.0.1:80", 1);
    let drain = drain(&app, json!({"server": SERVER, "deadline_seconds": 1})).await;
    until(async || app.drain(context(), drain.id).unwrap().state == DrainState::DeadlineReached)
        .await;
    // It still holds.
    assert_eq!(weights(&app, TCP, SERVER).await, (10, 0));
}

#[tokio::test]
async fn a_declared_server_is_not_removed() {
    let (_, app) = setup();
    apply(&app, "web", json!([service(TCP, &[(1, 10)])])).await;
    let request = drain_request(json!({"server": SERVER, "then": "remove"}));
    assert_eq!(
        reason(app.create_drain(context(), request).await),
        Reason::ServiceOwned
    );
    assert_eq!(weights(&app, TCP, SERVER).await, (10, 10));
}

#[tokio::test]
async fn a_ramp_reaches_its_weight_in_steps() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1]).await;
    let request =
        json!({"service": TCP, "server": SERVER, "to": 100, "over_seconds": 2, "steps": 2});
    let ramp = app
        .create_ramp(context(), ramp_request(request))
        .await
        .unwrap();
    assert_eq!(
        (ramp.from, ramp.weight, ramp.state),
        (10, 10, RampState::Ramping)
    );
    assert_eq!(weights(&app, TCP, SERVER).await, (100, 10));
    until(async || kernel_weight(&kernel, TCP, "10.0.0.1:80") == 55).await;
    until(async || app.ramp(context(), ramp.id).unwrap().state == RampState::Done).await;
    let free = server(&app, TCP, SERVER).await;
    assert_eq!(
        (free.config.weight, free.effective_weight, free.holds),
        (100, 100, None)
    );
}

#[tokio::test]
async fn a_drain_precedes_a_ramp_and_another_ramp_replaces_it() {
    let (_, app) = setup();
    weighted(&app, TCP, &[1]).await;
    let request = |to: u32| {
        ramp_request(json!({"service": TCP, "server": SERVER, "to": to, "over_seconds": 1000}))
    };
    let first = app.create_ramp(context(), request(100)).await.unwrap();
    let drain = drain(&app, json!({"server": SERVER})).await;
    assert_eq!(weights(&app, TCP, SERVER).await, (100, 0));
    app.delete_drain(context(), drain.id).await.unwrap();
    assert_eq!(weights(&app, TCP, SERVER).await, (100, 10));
    let second = app.create_ramp(context(), request(200)).await.unwrap();
    assert_eq!(
        app.ramp(context(), first.id).unwrap().state,
        RampState::Superseded
    );
    assert_eq!(weights(&app, TCP, SERVER).await, (200, 10));
    app.delete_ramp(context(), second.id).await.unwrap();
    assert_eq!(weights(&app, TCP, SERVER).await, (200, 200));
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let (kernel, app) = setup();
    weighted(&app, TCP, &[1]).await;
    let before = state(&kernel);
    let dry = context().clone().with_dry_run(true);
    let (planned, _) = app
        .create_drain(&dry, drain_request(json!({"server": SERVER})))
        .await
        .unwrap();
    assert_eq!(planned.members.len(), 1);
    let request = json!({"service": TCP, "server": SERVER, "to": 100, "over_seconds": 2});
    app.create_ramp(&dry, ramp_request(request)).await.unwrap();
    assert_eq!(state(&kernel), before);
    let drains = app.list_drains(context(), &ListHolds::default());
    assert_eq!(drains.unwrap().entries, []);
    let ramps = app.list_ramps(context(), &ListHolds::default());
    assert_eq!(ramps.unwrap().entries, []);
}

#[tokio::test]
async fn unknown_servers_are_refused() {
    let (_, app) = setup();
    weighted(&app, TCP, &[1]).await;
    let request = |json| app.create_drain(context(), drain_request(json));
    let missing = request(json!({"server": "10.0.0.9", "services": [TCP]}));
    assert_eq!(reason(missing.await), Reason::ServerNotFound);
    let missing = request(json!({"server": SERVER, "services": [SECOND]}));
    assert_eq!(reason(missing.await), Reason::ServiceNotFound);
    assert_eq!(
        reason(app.drain(context(), HoldId(1))),
        Reason::DrainNotFound
    );
    assert_eq!(reason(app.ramp(context(), HoldId(1))), Reason::RampNotFound);
}

#[tokio::test]
async fn a_drain_is_no_drift() {
    let (_, app) = setup();
    let services = json!([service(TCP, &[(1, 10)])]);
    apply(&app, "web", services).await;
    drain(&app, json!({"server": "10.0.0.1"})).await;
    let drift = app.drift(context(), owner("web")).await.unwrap();
    assert_eq!(operations(&drift), Vec::<String>::new());
}

//! Drains and ramps when the disk takes nothing.

use std::io;

use super::{
    holds::{drain_request, kernel_weight},
    *,
};
use crate::store::{
    Collection, Store, WriteBatch,
    tests::support::{Failing, FakeDisk},
};

const OTHER: &str = "tcp-192.0.2.2-80";
const DRAINED: &str = "10.0.0.1-80";
const RAMPED: &str = "10.0.0.2-80";
const FREE: &str = "10.0.0.3-80";

/// A daemon with a server that drains, one that a ramp holds, and one that nothing holds.
struct Daemon {
    kernel: FakeKernel,
    disk: Arc<FakeDisk>,
    app: App,
    drain: HoldId,
    ramp: HoldId,
}

impl Daemon {
    async fn start() -> Self {
        let (kernel, disk) = (FakeKernel::new(), FakeDisk::new(Vec::new()));
        let store = Store::on_disk(disk.clone());
        let app = app_on(&kernel).with_store(store).unwrap();
        create_service(&app, TCP, &[DRAINED, RAMPED]).await;
        create_service(&app, OTHER, &[FREE]).await;
        let request = drain_request(json!({"server": DRAINED}));
        let (drain, _) = app.create_drain(context(), request).await.unwrap();
        let ramp = json!({"service": TCP, "server": RAMPED, "to": 2, "over_seconds": 86400});
        let ramp = serde_json::from_value::<RampDraft>(ramp).unwrap();
        let ramp = app.create_ramp(context(), ramp.check().unwrap()).await;
        Self {
            drain: drain.id,
            ramp: ramp.unwrap().id,
            kernel,
            disk,
            app,
        }
    }

    /// From now on, the disk takes this number of writes and synchronisations.
    fn fill_after(&self, steps: u64) {
        let failing = Failing::After(steps, io::ErrorKind::StorageFull);
        self.disk.with(|content| content.failing = Some(failing));
    }

    fn free(&self) {
        self.disk.with(|content| content.failing = None);
    }

    /// A daemon that starts with what is durable, after it has looked once.
    async fn started_again(&self) -> App {
        let durable = self.disk.with(|content| content.durable.clone());
        let store = Store::on_disk(FakeDisk::new(durable));
        let app = app_on(&self.kernel).with_store(store).unwrap();
        app.look_now().await;
        app
    }

    /// Changes the weight of a server.
    async fn patch(&self, service: &str, server: &str, weight: u32) -> Result<(), Error> {
        let draft = server_draft(json!({"weight": weight}));
        let (service, server) = (key(service), server_key(server));
        let patched = self
            .app
            .update_server(context(), service, server, draft, NONE, false);
        patched.await.map(drop)
    }

    fn kernel_weight(&self, service: &str, address: &str) -> u32 {
        kernel_weight(&self.kernel, service, address)
    }
}

/// The holds of a server, and its intended and effective weight.
async fn held(app: &App, server: &str) -> (Vec<HoldId>, u32, u32) {
    let found = app.server(context(), key(TCP), server_key(server)).await;
    let server = found.unwrap().value;
    let holds = server.holds.iter().flat_map(|holds| holds.iter());
    let ids = holds.map(|hold| hold.id).collect();
    (ids, server.config.weight, server.effective_weight)
}

/// That nothing was changed, according to an error.
fn assert_unchanged(error: &Error) {
    assert_eq!(error.reason, Reason::StoreUnavailable, "{error}");
    assert!(error.detail.contains("nothing was changed"), "{error}");
}

fn server_of(id: &str, weight: u32) -> Value {
    json!({"id": id, "forwarding": "masquerade", "weight": weight})
}

#[tokio::test]
async fn writes_of_held_servers_fail_before_the_kernel_is_changed() {
    let daemon = Daemon::start().await;
    let app = &daemon.app;
    let (table, service) = (state(&daemon.kernel), key(TCP));
    daemon.fill_after(0);
    let mut errors = Vec::new();

    errors.push(daemon.patch(TCP, DRAINED, 5).await.unwrap_err());
    errors.push(daemon.patch(TCP, RAMPED, 5).await.unwrap_err());
    let put = server_draft(server_of(DRAINED, 6));
    let put = app.replace_server(context(), service, server_key(DRAINED), put, NONE);
    errors.push(put.await.unwrap_err());
    let servers = json!([server_of(DRAINED, 7), server_of(RAMPED, 7)]);
    let put = draft(json!({"id": TCP, "scheduler": "rr", "servers": servers}));
    let put = app.replace_service(context(), service, put, NONE);
    errors.push(put.await.unwrap_err());
    let delete = app.delete_server(context(), service, server_key(RAMPED), false, NONE);
    errors.push(delete.await.unwrap_err());
    let delete = app.delete_service(context(), service, false, NONE);
    errors.push(delete.await.unwrap_err());
    let clear = app.clear_services(context(), Some(2));
    errors.push(clear.await.unwrap_err());
    // It would join the drain.
    let new = server_draft(server_of(DRAINED, 8));
    let create = app.create_server(context(), key(OTHER), new);
    errors.push(create.await.unwrap_err());
    errors.iter().for_each(assert_unchanged);
    let operations = json!([
        {"op": "update_server", "service": TCP, "server": DRAINED, "value": {"server": {"weight": 9}}},
    ]);
    let batch = serde_json::from_value(json!({"operations": operations})).unwrap();
    let report = app.apply_batch(context(), batch).await.unwrap();
    assert_eq!(report.outcome, ApplyOutcome::RolledBack);

    assert_eq!(state(&daemon.kernel), table);
    assert_eq!(held(app, DRAINED).await, (vec![daemon.drain], 1, 0));
    assert_eq!(held(app, RAMPED).await.0, [daemon.ramp]);
    assert!(app.drain(context(), daemon.drain).unwrap().is_active());
    // What changes nothing of holds needs no store.
    daemon.patch(OTHER, FREE, 5).await.unwrap();
    let delete = app.delete_server(context(), service, server_key(DRAINED), false, NONE);
    assert!(delete.await.unwrap());

    daemon.free();
    daemon.patch(TCP, RAMPED, 5).await.unwrap();
    assert_eq!(held(app, RAMPED).await, (Vec::new(), 5, 5));
}

#[tokio::test]
async fn a_change_of_holds_that_is_executed_and_not_stored_says_so_and_is_stored_later() {
    let daemon = Daemon::start().await;
    let mut steps = 0;
    let error = loop {
        daemon.fill_after(steps);
        let error = daemon.patch(TCP, DRAINED, 5).await.unwrap_err();
        if daemon.kernel_weight(TCP, "10.0.0.1:80") == 5 {
            break error;
        }
        assert_unchanged(&error);
        steps += 1;
    };
    assert!(steps > 0);
    assert_eq!(error.reason, Reason::StoreUnavailable);
    assert!(error.detail.contains("the kernel was changed"), "{error}");
    assert!(!error.detail.contains("nothing was changed"), "{error}");

    // Others are not concerned.
    daemon.patch(OTHER, FREE, 6).await.unwrap();
    let again = daemon.patch(TCP, DRAINED, 7).await.unwrap_err();
    assert_unchanged(&again);
    assert_eq!(daemon.kernel_weight(TCP, "10.0.0.1:80"), 5);

    daemon.free();
    daemon.app.look_now().await;
    daemon.patch(TCP, DRAINED, 8).await.unwrap();
    let app = daemon.started_again().await;
    assert_eq!(held(&app, DRAINED).await, (Vec::new(), 8, 8));
    let drain = app.drain(context(), daemon.drain).unwrap();
    assert_eq!(drain.state, DrainState::Superseded);
}

#[tokio::test]
async fn a_drain_or_ramp_whose_end_is_not_stored_goes_on() {
    let daemon = Daemon::start().await;
    let app = &daemon.app;
    let table = state(&daemon.kernel);
    daemon.fill_after(0);
    for _ in 0..2 {
        let error = app.delete_drain(context(), daemon.drain).await.unwrap_err();
        assert_unchanged(&error);
        let error = app.delete_ramp(context(), daemon.ramp).await.unwrap_err();
        assert_unchanged(&error);
        assert!(app.drain(context(), daemon.drain).unwrap().is_active());
        assert_eq!(app.ramp(context(), daemon.ramp).unwrap().end_time, None);
        assert_eq!(held(app, DRAINED).await, (vec![daemon.drain], 1, 0));
    }
    assert_eq!(state(&daemon.kernel), table);

    daemon.free();
    let drain = app.delete_drain(context(), daemon.drain).await.unwrap();
    assert_eq!(drain.state, DrainState::Cancelled);
    app.delete_ramp(context(), daemon.ramp).await.unwrap();
    assert_eq!(held(app, DRAINED).await, (Vec::new(), 1, 1));
    assert_eq!(held(app, RAMPED).await, (Vec::new(), 2, 2));
    // Those that have ended are forgotten when that is durable.
    daemon.fill_after(0);
    let error = app.delete_drain(context(), daemon.drain).await.unwrap_err();
    assert_unchanged(&error);
    assert!(app.drain(context(), daemon.drain).is_ok());
}

#[tokio::test]
async fn a_drain_whose_end_is_stored_has_ended_although_its_servers_are_not() {
    let daemon = Daemon::start().await;
    let mut steps = 0;
    let ended = loop {
        daemon.fill_after(steps);
        match daemon.app.delete_drain(context(), daemon.drain).await {
            Ok(ended) => break ended,
            Err(error) => assert_unchanged(&error),
        }
        steps += 1;
    };
    assert_eq!(ended.state, DrainState::Cancelled);
    // The disk takes nothing more.
    let error = daemon.patch(TCP, RAMPED, 5).await.unwrap_err();
    assert_unchanged(&error);
    assert_eq!(daemon.kernel_weight(TCP, "10.0.0.1:80"), 1);
    assert_eq!(held(&daemon.app, DRAINED).await, (Vec::new(), 1, 1));
    let app = daemon.started_again().await;
    assert_eq!(held(&app, DRAINED).await, (Vec::new(), 1, 1));
}

#[tokio::test]
async fn holds_of_drains_and_ramps_that_are_not_there_are_released_at_the_start() {
    let daemon = Daemon::start().await;
    let store = daemon.app.store();
    let mut batch = WriteBatch::new();
    let (drains, ramps) = (
        Collection::<Value>::new("drains"),
        Collection::<Value>::new("ramps"),
    );
    batch.delete(&drains, daemon.drain.to_string()).unwrap();
    batch.delete(&ramps, daemon.ramp.to_string()).unwrap();
    store.write(batch).await.unwrap();
    assert_eq!(daemon.kernel_weight(TCP, "10.0.0.1:80"), 0);

    let app = daemon.started_again().await;
    assert_eq!(held(&app, DRAINED).await, (Vec::new(), 1, 1));
    assert_eq!(held(&app, RAMPED).await, (Vec::new(), 2, 2));
    assert_eq!(daemon.kernel_weight(TCP, "10.0.0.1:80"), 1);
    let stored = app.store().load(&Collection::<Value>::new("held-weights"));
    assert_eq!(stored.unwrap(), []);
}

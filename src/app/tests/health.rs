//! Health checks: what the outcomes of checks make of weights.

use super::{holds::kernel_weight, *};
use crate::{
    health::{Failure, Outcome},
    store::Store,
};

pub(super) const SERVERS: [&str; 3] = ["10.0.0.1-80", "10.0.0.2-80", "10.0.0.3-80"];

/// A check that decides with each outcome.
pub(super) fn check(more: Value) -> Value {
    let mut check = json!({"type": "tcp", "rise": 1, "fall": 1});
    check
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    check
}

/// A service with servers of the weight 10, and with a health check.
async fn checked(app: &App, more: Value) {
    let servers = SERVERS.map(|id| json!({"id": id, "forwarding": "masquerade", "weight": 10}));
    let json =
        json!({"id": TCP, "scheduler": "rr", "servers": servers, "health_check": check(more)});
    app.create_service(context(), draft(json)).await.unwrap();
    app.find_now().await;
}

pub(super) fn outcome(word: char) -> Outcome {
    Outcome {
        result: match word {
            '+' => Ok(()),
            '-' => Err(Failure::Wrong("connection refused".to_owned())),
            _ => Err(Failure::Silent("no connection within 1 s".to_owned())),
        },
        latency: Duration::from_millis(2),
    }
}

/// The outcomes of checks of the servers, in their order; `.` for none.
pub(super) async fn observe(app: &App, outcomes: &str) {
    for (id, word) in SERVERS.iter().zip(outcomes.chars()) {
        if word != '.' {
            app.note_now(key(TCP), server_key(id), &outcome(word)).await;
        }
    }
}

/// The effective weights of the servers.
pub(super) async fn effective(app: &App) -> [u32; 3] {
    let entry = read_service(app, TCP).await;
    SERVERS.map(|id| {
        let mut servers = entry.servers.iter();
        let server = servers.find(|server| server.key == server_key(id));
        server.unwrap().effective_weight
    })
}

async fn weight(app: &App, id: &str) -> u32 {
    let found = app.server(context(), key(TCP), server_key(id)).await;
    found.unwrap().value.config.weight
}

pub(super) async fn force(app: &App, id: &str, json: Option<Value>) -> Result<HealthState, Error> {
    let request = json.map(|json| {
        let draft: OverrideDraft = serde_json::from_value(json).unwrap();
        draft.check().unwrap()
    });
    let forced = app.override_health(context(), key(TCP), server_key(id), request);
    Ok(forced.await?.state)
}

#[tokio::test]
async fn a_server_that_fails_keeps_its_row_and_its_intended_weight() {
    let (kernel, app) = setup();
    checked(&app, json!({})).await;
    observe(&app, "+-+").await;
    assert_eq!(effective(&app).await, [10, 0, 10]);
    assert_eq!(weight(&app, SERVERS[1]).await, 10);
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.2:80"), 0);
    let report = app.service_health(context(), key(TCP)).await.unwrap();
    let states: Vec<_> = report
        .servers
        .iter()
        .map(|one| one.state.as_str())
        .collect();
    assert_eq!(states, ["up", "down", "up"]);
    assert_eq!(
        report.servers[1].reason.as_deref(),
        Some("connection refused")
    );
    assert_eq!((report.healthy_count, report.below_min), (2, false));
    // A change of its weight is one of the intended weight.
    let patch = server_draft(json!({"weight": 20}));
    let patched = app.update_server(
        context(),
        key(TCP),
        server_key(SERVERS[1]),
        patch,
        NONE,
        false,
    );
    let server = patched.await.unwrap().value;
    assert_eq!((server.config.weight, server.effective_weight), (20, 0));
    observe(&app, ".+.").await;
    assert_eq!(effective(&app).await, [10, 20, 10]);
    assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.2:80"), 20);
}

#[tokio::test]
async fn too_few_healthy_servers_keep_all() {
    let (_, app) = setup();
    checked(&app, json!({"min_healthy": "1"})).await;
    observe(&app, "--+").await;
    assert_eq!(effective(&app).await, [0, 0, 10]);
    observe(&app, "..-").await;
    assert_eq!(effective(&app).await, [10; 3]);
    assert!(
        app.service_health(context(), key(TCP))
            .await
            .unwrap()
            .below_min
    );
    observe(&app, "+..").await;
    assert_eq!(
        effective(&app).await,
        [10; 3],
        "one is not more than the least"
    );
    observe(&app, ".+.").await;
    assert_eq!(effective(&app).await, [10, 10, 0]);
}

#[tokio::test]
async fn no_pool_is_emptied_when_the_network_of_the_director_fails() {
    let (_, app) = setup();
    checked(&app, json!({})).await;
    observe(&app, "+++").await;
    observe(&app, "sss").await;
    assert_eq!(effective(&app).await, [10; 3]);
    assert!(app.service_health(context(), key(TCP)).await.unwrap().storm);
    // The network is back, and one server is not.
    observe(&app, "++s").await;
    assert_eq!(effective(&app).await, [10, 10, 0]);
    assert!(!app.service_health(context(), key(TCP)).await.unwrap().storm);
    // What answers wrongly is no failure of the network.
    observe(&app, "---").await;
    assert_eq!(effective(&app).await, [0; 3]);
}

#[tokio::test]
async fn the_end_of_a_storm_takes_no_server_out_that_answers() {
    let (_, app) = setup();
    checked(&app, json!({"rise": 3, "fall": 1})).await;
    observe(&app, "+++").await;
    observe(&app, "sss").await;
    assert_eq!(effective(&app).await, [10; 3]);
    for outcomes in ["+..", ".+.", "..+", "+++"] {
        observe(&app, outcomes).await;
        assert_eq!(effective(&app).await, [10; 3], "{outcomes}");
    }
    // What answers wrongly afterwards has failed.
    observe(&app, "-..").await;
    assert_eq!(effective(&app).await, [0, 10, 10]);
}

#[tokio::test]
async fn a_server_that_is_not_checked_hides_no_storm() {
    let (_, app) = setup();
    let disabled = json!([{"server": SERVERS[2], "disabled": true}]);
    checked(&app, json!({"servers": disabled})).await;
    observe(&app, "++.").await;
    observe(&app, "ss.").await;
    assert_eq!(effective(&app).await, [10; 3]);
    assert!(app.service_health(context(), key(TCP)).await.unwrap().storm);
}

#[tokio::test]
async fn what_an_earlier_look_has_seen_changes_nothing() {
    let (_, app) = setup();
    let look = app.health.begin_look();
    checked(&app, json!({})).await;
    let down = json!({"state": "down"});
    force(&app, SERVERS[0], Some(down)).await.unwrap();
    // It began before the service was created.
    app.health.see(&[], true, look);
    app.find_now().await;
    assert_eq!(effective(&app).await, [0, 10, 10]);
}

#[tokio::test]
async fn a_service_loses_no_more_servers_at_once_than_it_may() {
    let (_, app) = setup();
    let check = json!({"max_losses": "1", "interval_seconds": 60, "timeout_seconds": 1});
    checked(&app, check).await;
    observe(&app, "--+").await;
    assert_eq!(effective(&app).await, [0, 10, 10]);
    let report = app.service_health(context(), key(TCP)).await.unwrap();
    assert!(report.limited);
    assert_eq!(report.servers[1].state, HealthState::Down);
    let none = draft(json!({"health_check": {"max_losses": null}}));
    let patched = app.update_service(context(), key(TCP), none, NONE, false);
    patched.await.unwrap();
    app.find_now().await;
    assert_eq!(effective(&app).await, [0, 0, 10]);
}

#[tokio::test]
async fn what_is_deleted_and_created_again_begins_anew() {
    let (_, app) = setup();
    checked(&app, json!({})).await;
    observe(&app, "-++").await;
    let server = server_key(SERVERS[0]);
    let deleted = app.delete_server(context(), key(TCP), server, false, NONE);
    deleted.await.unwrap();
    let again = json!({"id": SERVERS[0], "forwarding": "masquerade", "weight": 10});
    let created = app.create_server(context(), key(TCP), server_draft(again));
    created.await.unwrap();
    app.find_now().await;
    assert_eq!(effective(&app).await, [10; 3]);
    observe(&app, ".--").await;
    app.delete_service(context(), key(TCP), false, NONE)
        .await
        .unwrap();
    checked(&app, json!({})).await;
    assert_eq!(effective(&app).await, [10; 3]);
    let report = app.service_health(context(), key(TCP)).await.unwrap();
    let mut servers = report.servers.iter();
    assert!(servers.all(|one| one.state == HealthState::Unknown && one.transitions.is_empty()));
}

#[tokio::test]
async fn the_last_changes_of_a_state_are_shown() {
    let (_, app) = setup();
    checked(&app, json!({})).await;
    observe(&app, "+").await;
    observe(&app, "-").await;
    force(&app, SERVERS[0], Some(json!({"state": "up"})))
        .await
        .unwrap();
    let report = app.service_health(context(), key(TCP)).await.unwrap();
    let shown = report.servers[0].transitions.iter();
    let shown: Vec<_> = shown
        .map(|one| (one.state.as_str(), one.reason.as_deref()))
        .collect();
    let refused = Some("connection refused");
    let expected = [("forced_up", refused), ("down", refused), ("up", None)];
    assert_eq!(shown, expected);
    for _ in 0..10 {
        force(&app, SERVERS[0], None).await.unwrap();
        force(&app, SERVERS[0], Some(json!({"state": "down"})))
            .await
            .unwrap();
    }
    let report = app.service_health(context(), key(TCP)).await.unwrap();
    let transitions = &report.servers[0].transitions;
    assert_eq!(transitions.len(), ServerHealthReport::MAX_TRANSITIONS);
    assert_eq!(transitions[0].state, HealthState::ForcedDown);
}

#[tokio::test]
async fn a_check_in_progress_does_not_hide_that_the_network_fails() {
    let (_, app) = setup();
    checked(&app, json!({"fall": 2})).await;
    observe(&app, "+++").await;
    // The first was connected when the network failed, and got no answer.
    observe(&app, "-ss").await;
    observe(&app, "sss").await;
    assert_eq!(effective(&app).await, [10; 3]);
    assert!(app.service_health(context(), key(TCP)).await.unwrap().storm);
    observe(&app, "+++").await;
    observe(&app, "+++").await;
    observe(&app, "-..").await;
    observe(&app, "-..").await;
    assert_eq!(effective(&app).await, [0, 10, 10]);
}

#[tokio::test]
async fn what_has_failed_before_the_network_stays_out() {
    let (_, app) = setup();
    checked(&app, json!({})).await;
    observe(&app, "-++").await;
    assert_eq!(effective(&app).await, [0, 10, 10]);
    observe(&app, "sss").await;
    assert_eq!(effective(&app).await, [0, 10, 10]);
    // It answers again, and still wrongly.
    observe(&app, "-++").await;
    assert_eq!(effective(&app).await, [0, 10, 10]);
}

#[test]
fn a_restart_empties_no_pool_that_was_kept() {
    for (more, outcomes) in [(json!({}), "sss"), (json!({"min_healthy": "1"}), "---")] {
        let (kernel, store) = (FakeKernel::new(), Store::in_memory());
        let (runtime, app) = start(&kernel, &store);
        runtime.block_on(async {
            checked(&app, more).await;
            observe(&app, "+++").await;
            observe(&app, outcomes).await;
            assert_eq!(effective(&app).await, [10; 3], "{outcomes}");
        });
        drop(runtime);
        let (runtime, app) = start(&kernel, &store);
        runtime.block_on(async {
            assert_eq!(
                effective(&app).await,
                [10; 3],
                "{outcomes}, after the start"
            );
            observe(&app, outcomes).await;
            assert_eq!(effective(&app).await, [10; 3], "{outcomes}, after a check");
        });
    }
}

#[tokio::test]
async fn an_override_is_stronger_than_checks() {
    let (_, app) = setup();
    checked(&app, json!({})).await;
    observe(&app, "-++").await;
    let up = force(&app, SERVERS[0], Some(json!({"state": "up"})))
        .await
        .unwrap();
    assert_eq!(up, HealthState::ForcedUp);
    let down = json!({"state": "down", "expires_seconds": 600});
    let down = force(&app, SERVERS[1], Some(down)).await.unwrap();
    assert_eq!(down, HealthState::ForcedDown);
    assert_eq!(effective(&app).await, [10, 0, 10]);
    let held = app
        .server(context(), key(TCP), server_key(SERVERS[1]))
        .await
        .unwrap()
        .value;
    assert_eq!(held.holds.as_deref(), Some(&[Hold::MANUAL][..]));
    assert_eq!(
        force(&app, SERVERS[0], None).await.unwrap(),
        HealthState::Down
    );
    assert_eq!(
        force(&app, SERVERS[1], None).await.unwrap(),
        HealthState::Up
    );
    assert_eq!(effective(&app).await, [0, 10, 10]);
    // Nothing to force.
    assert_eq!(
        reason(force(&app, "10.0.0.9-80", None).await),
        Reason::ServerNotFound
    );
    let without = draft(json!({"health_check": null}));
    let without = app.update_service(context(), key(TCP), without, NONE, false);
    without.await.unwrap();
    let refused = force(&app, SERVERS[0], Some(json!({"state": "up"}))).await;
    assert_eq!(reason(refused), Reason::HealthCheckNotFound);
}

#[tokio::test]
async fn without_a_check_nothing_is_held() {
    let (_, app) = setup();
    checked(&app, json!({})).await;
    observe(&app, "-++").await;
    let without = draft(json!({"health_check": {}}));
    app.replace_service(context(), key(TCP), without, NONE)
        .await
        .unwrap();
    app.find_now().await;
    assert_eq!(effective(&app).await, [10; 3]);
    let health = app.service_health(context(), key(TCP)).await;
    assert_eq!(reason(health), Reason::HealthCheckNotFound);
}

#[test]
fn a_restart_knows_what_has_failed() {
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let (runtime, app) = start(&kernel, &store);
    runtime.block_on(async {
        checked(&app, json!({"rise": 2})).await;
        observe(&app, "-++").await;
        let down = Some(json!({"state": "down"}));
        force(&app, SERVERS[2], down).await.unwrap();
    });
    // With the old runtime, the tasks of the daemon before end.
    drop(runtime);
    let (runtime, app) = start(&kernel, &store);
    runtime.block_on(async {
        assert_eq!(effective(&app).await, [0, 10, 0]);
        let report = app.service_health(context(), key(TCP)).await.unwrap();
        let states = report.servers.iter().map(|one| one.state.as_str());
        assert_eq!(
            states.collect::<Vec<_>>(),
            ["down", "unknown", "forced_down"]
        );
        // It needs as many successes as before.
        observe(&app, "+..").await;
        assert_eq!(effective(&app).await, [0, 10, 0]);
        observe(&app, "+..").await;
        assert_eq!(effective(&app).await, [10, 10, 0]);
    });
}

#[test]
fn at_the_end_of_the_daemon_servers_can_get_their_weight() {
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let (runtime, app) = start(&kernel, &store);
    runtime.block_on(async {
        checked(&app, json!({})).await;
        observe(&app, "-++").await;
        let down = Some(json!({"state": "down"}));
        force(&app, SERVERS[2], down).await.unwrap();
        app.release_failed_servers(Duration::from_secs(60))
            .await
            .unwrap();
        assert_eq!(kernel_weight(&kernel, TCP, "10.0.0.1:80"), 10);
        // A check that ends meanwhile changes nothing.
        observe(&app, "--.").await;
        assert_eq!(effective(&app).await, [10, 10, 0]);
    });
    drop(runtime);
    let (runtime, app) = start(&kernel, &store);
    runtime.block_on(async {
        assert_eq!(effective(&app).await, [10, 10, 0]);
        let report = app.service_health(context(), key(TCP)).await.unwrap();
        assert_eq!(report.servers[0].state, HealthState::Unknown);
    });
}

/// A daemon on this kernel, with what the one before has stored.
pub(super) fn start(kernel: &FakeKernel, store: &Store) -> (tokio::runtime::Runtime, App) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let app = app_on(kernel).with_store(store.clone()).unwrap();
    runtime.block_on(app.find_now());
    (runtime, app)
}

/// Waits until the server of the service has this weight in the kernel.
async fn until_weight(app: &App, server: &str, weight: u32) {
    let waiting = async {
        loop {
            let found = app.server(context(), key(TCP), server_key(server)).await;
            if found.unwrap().value.effective_weight == weight {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_task_takes_a_server_out_that_does_not_listen_and_brings_it_back() {
    let (_, app) = setup();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let id = format!("127.0.0.1-{}", address.port());
    let check = json!({"type": "tcp", "interval_seconds": 1, "rise": 1, "fall": 1});
    let servers = json!([{"id": id, "forwarding": "masquerade", "weight": 5}]);
    let json = json!({"id": TCP, "scheduler": "rr", "servers": servers, "health_check": check});
    app.check_servers();
    app.create_service(context(), draft(json)).await.unwrap();
    let up = async || {
        let report = app.service_health(context(), key(TCP)).await.unwrap();
        report.servers[0].state == HealthState::Up
    };
    while !up().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(listener);
    until_weight(&app, &id, 0).await;
    let _listener = tokio::net::TcpListener::bind(address).await.unwrap();
    until_weight(&app, &id, 5).await;
}

#[tokio::test]
async fn a_server_whose_checks_are_disabled_is_treated_as_healthy() {
    let (_, app) = setup();
    checked(&app, json!({})).await;
    observe(&app, "-++").await;
    assert_eq!(effective(&app).await, [0, 10, 10]);
    let servers =
        json!([{"server": SERVERS[0], "disabled": true}, {"server": "10.0.0.9-80", "port": 81}]);
    let patch = draft(json!({"health_check": {"servers": servers}}));
    let patched = app.update_service(context(), key(TCP), patch, NONE, false);
    patched.await.unwrap();
    app.find_now().await;
    assert_eq!(effective(&app).await, [10; 3]);
    // The end of a check that has begun before.
    observe(&app, "-..").await;
    assert_eq!(effective(&app).await, [10; 3]);
    let state = async || {
        let report = app.service_health(context(), key(TCP)).await.unwrap();
        report.servers[0].state
    };
    assert_eq!(state().await, HealthState::Disabled);
    force(&app, SERVERS[0], Some(json!({"state": "down"})))
        .await
        .unwrap();
    assert_eq!(effective(&app).await, [0, 10, 10]);
    force(&app, SERVERS[0], None).await.unwrap();
    let patch = draft(json!({"health_check": {"servers": null}}));
    let patched = app.update_service(context(), key(TCP), patch, NONE, false);
    patched.await.unwrap();
    app.find_now().await;
    assert_eq!(state().await, HealthState::Unknown);
    observe(&app, "-..").await;
    assert_eq!(effective(&app).await, [0, 10, 10]);
}

#[tokio::test]
async fn a_server_is_checked_at_the_port_of_its_own_settings() {
    let (_, app) = setup();
    let listeners = [
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
    ];
    let ports = listeners
        .each_ref()
        .map(|one| one.local_addr().unwrap().port());
    let id = format!("127.0.0.1-{}", ports[0]);
    let [server, _checked] = listeners;
    // Nothing listens at the port of the server.
    drop(server);
    let check = json!({"type": "tcp", "interval_seconds": 1, "rise": 1, "fall": 1,
        "servers": [{"server": id, "port": ports[1]}]});
    let servers = json!([{"id": id, "forwarding": "masquerade", "weight": 5}]);
    let json = json!({"id": TCP, "scheduler": "rr", "servers": servers, "health_check": check});
    app.check_servers();
    app.create_service(context(), draft(json)).await.unwrap();
    let is_up = async || {
        let report = app.service_health(context(), key(TCP)).await.unwrap();
        report.servers[0].state == HealthState::Up
    };
    while !is_up().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

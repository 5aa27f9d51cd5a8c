//! Results of health checks that others report.

use super::{
    health::{SERVERS, effective, outcome},
    *,
};
use crate::{audit::Outcome, store::Store};

const OTHER: &str = "tcp-192.0.2.1-81";

/// A service with servers of the weight 10, whose results are reported.
async fn external(app: &App, more: Value) {
    create(app, TCP, "external", more).await;
}

async fn create(app: &App, service: &str, kind: &str, mut check: Value) {
    let servers = SERVERS.map(|id| json!({"id": id, "forwarding": "masquerade", "weight": 10}));
    check["type"] = json!(kind);
    let json = json!({"id": service, "scheduler": "rr", "servers": servers, "health_check": check});
    app.create_service(context(), draft(json)).await.unwrap();
}

async fn send(
    app: &App,
    context: &RequestContext,
    id: &str,
    json: Value,
) -> Result<ServerHealthReport, Error> {
    let draft: HealthResultDraft = serde_json::from_value(json).unwrap();
    let result = draft.check().unwrap();
    app.report_health(context, key(TCP), server_key(id), &result)
        .await
}

/// The state after a result of the first server.
async fn report(app: &App, healthy: bool) -> &'static str {
    let json = json!({"healthy": healthy});
    let sent = send(app, context(), SERVERS[0], json).await;
    sent.unwrap().state.as_str()
}

/// The operations about health in the audit trail, in their order.
async fn audited(app: &App) -> Vec<(String, Outcome)> {
    let records = audit::records(app).await.into_iter().rev();
    let of_health = records.filter(|record| record.operation.contains("health"));
    of_health
        .map(|record| (record.operation, record.outcome))
        .collect()
}

#[tokio::test]
async fn a_result_takes_a_server_out_at_once_and_brings_it_back() {
    let (_, app) = setup();
    external(&app, json!({})).await;
    let json = json!({"healthy": false, "reason": "replication lag of 90 s"});
    let down = send(&app, context(), SERVERS[1], json).await.unwrap();
    assert_eq!(down.state, HealthState::Down);
    assert_eq!(down.reason.as_deref(), Some("replication lag of 90 s"));
    assert!(down.last_check_time.is_some() && down.latency_seconds.is_none());
    assert_eq!(effective(&app).await, [10, 0, 10]);
    let up = send(&app, context(), SERVERS[1], json!({"healthy": true})).await;
    let up = up.unwrap();
    assert_eq!((up.state, up.reason), (HealthState::Up, None));
    assert_eq!(effective(&app).await, [10; 3]);
    // A reason that nobody gives.
    let plain = send(&app, context(), SERVERS[1], json!({"healthy": false})).await;
    let reason = plain.unwrap().reason;
    assert_eq!(reason.as_deref(), Some("reported as unhealthy"));
}

#[tokio::test]
async fn rise_and_fall_count_results_without_damping() {
    let (_, app) = setup();
    external(&app, json!({"fall": 2, "rise": 3})).await;
    for _ in 0..4 {
        assert_eq!(report(&app, true).await, "up");
        assert_eq!(report(&app, false).await, "up");
        assert_eq!(report(&app, false).await, "down");
        for expected in ["down", "down", "up"] {
            assert_eq!(report(&app, true).await, expected);
        }
    }
}

#[tokio::test]
async fn a_result_that_cannot_be_taken_is_refused() {
    let (_, app) = setup();
    let missing = send(&app, context(), SERVERS[0], json!({"healthy": true})).await;
    assert_eq!(reason(missing), Reason::ServiceNotFound);
    external(&app, json!({})).await;
    let missing = send(&app, context(), "10.0.0.9-80", json!({"healthy": true})).await;
    assert_eq!(reason(missing), Reason::ServerNotFound);
    let viewer = RequestContext {
        principal: principal("viewer", Role::Viewer),
        ..context().clone()
    };
    let denied = send(&app, &viewer, SERVERS[0], json!({"healthy": false})).await;
    assert_eq!(reason(denied), Reason::PermissionDenied);
    let dry_run = RequestContext {
        dry_run: true,
        ..context().clone()
    };
    let tried = send(&app, &dry_run, SERVERS[0], json!({"healthy": false})).await;
    assert_eq!(tried.unwrap().state, HealthState::Unknown);
    assert_eq!(effective(&app).await, [10; 3]);
    let patch = draft(json!({"health_check": {"type": "tcp"}}));
    let patched = app.update_service(context(), key(TCP), patch, NONE, false);
    patched.await.unwrap();
    let refused = send(&app, context(), SERVERS[0], json!({"healthy": false})).await;
    let error = refused.unwrap_err();
    assert_eq!(error.reason, Reason::HealthCheckNotExternal);
    assert!(error.detail.contains("type tcp"), "{}", error.detail);
    assert!(error.hint.unwrap().contains("health_check.type"));
    let patch = draft(json!({"health_check": null}));
    let patched = app.update_service(context(), key(TCP), patch, NONE, false);
    patched.await.unwrap();
    let refused = send(&app, context(), SERVERS[0], json!({"healthy": false})).await;
    assert_eq!(reason(refused), Reason::HealthCheckNotFound);
    assert_eq!(effective(&app).await, [10; 3]);
}

#[tokio::test]
async fn the_audit_trail_has_changes_and_refusals_only() {
    let (_, app) = setup();
    external(&app, json!({})).await;
    for healthy in [true, true, true, false, false, false, true, true] {
        report(&app, healthy).await;
    }
    let missing = send(&app, context(), "10.0.0.9-80", json!({"healthy": true})).await;
    missing.unwrap_err();
    let expected = [
        ("health_down", Outcome::Success),
        ("report_health", Outcome::Success),
        ("health_up", Outcome::Success),
        ("report_health", Outcome::Success),
        ("report_health", Outcome::Failure),
    ];
    let expected = expected.map(|(operation, outcome)| (operation.to_owned(), outcome));
    assert_eq!(audited(&app).await, expected);
}

#[tokio::test]
async fn a_result_that_is_too_old_does_not_hold_any_more() {
    let (_, app) = setup();
    app.check_servers();
    external(&app, json!({"expire_seconds": 1})).await;
    let json = json!({"healthy": false, "reason": "disk full"});
    send(&app, context(), SERVERS[0], json).await.unwrap();
    assert_eq!(effective(&app).await, [0, 10, 10]);
    let waiting = async {
        while effective(&app).await != [10; 3] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let deadline = Duration::from_secs(60);
    tokio::time::timeout(deadline, waiting).await.unwrap();
    let health = app.service_health(context(), key(TCP)).await.unwrap();
    let first = &health.servers[0];
    assert_eq!(first.state, HealthState::Unknown);
    let expected = "no result for 1 s; the last was unhealthy: disk full";
    assert_eq!(first.reason.as_deref(), Some(expected));
    let operations = audited(&app).await.into_iter().map(|(name, _)| name);
    let operations: Vec<_> = operations.collect();
    assert_eq!(
        operations,
        ["health_down", "report_health", "health_unknown"]
    );
    // The next result decides again.
    assert_eq!(report(&app, false).await, "down");
}

#[test]
fn a_restart_knows_what_was_reported_as_unhealthy() {
    let (kernel, store) = (FakeKernel::new(), Store::in_memory());
    let (runtime, app) = health::start(&kernel, &store);
    runtime.block_on(async {
        external(&app, json!({})).await;
        report(&app, false).await;
        let up = send(&app, context(), SERVERS[1], json!({"healthy": true})).await;
        up.unwrap();
    });
    // With the old runtime, the tasks of the daemon before end.
    drop(runtime);
    let (runtime, app) = health::start(&kernel, &store);
    runtime.block_on(async {
        assert_eq!(effective(&app).await, [0, 10, 10]);
        let health = app.service_health(context(), key(TCP)).await.unwrap();
        let states = health.servers.iter().map(|one| one.state.as_str());
        let states: Vec<_> = states.collect();
        assert_eq!(states, ["down", "unknown", "unknown"]);
        assert_eq!(report(&app, true).await, "up");
        assert_eq!(effective(&app).await, [10; 3]);
    });
}

#[tokio::test]
async fn results_do_not_hide_that_the_network_of_the_director_fails() {
    let (_, app) = setup();
    external(&app, json!({})).await;
    create(&app, OTHER, "tcp", json!({"fall": 1})).await;
    app.find_now().await;
    for word in ['+', 's'] {
        for id in SERVERS {
            let sent = send(&app, context(), id, json!({"healthy": true})).await;
            sent.unwrap();
            app.note_now(key(OTHER), server_key(id), &outcome(word))
                .await;
        }
    }
    let health = app.service_health(context(), key(OTHER)).await.unwrap();
    assert!(health.storm);
    let entry = read_service(&app, OTHER).await;
    assert!(
        entry
            .servers
            .iter()
            .all(|server| server.effective_weight == 10)
    );
    // Results are never part of a storm: who reports knows more.
    for id in SERVERS {
        let sent = send(&app, context(), id, json!({"healthy": false})).await;
        sent.unwrap();
    }
    assert_eq!(effective(&app).await, [0; 3]);
}

#[tokio::test]
async fn another_origin_of_results_begins_anew() {
    let (_, app) = setup();
    external(&app, json!({})).await;
    report(&app, false).await;
    let set_type = async |kind: &str| {
        let patch = draft(json!({"health_check": {"type": kind, "fall": 1}}));
        let patched = app.update_service(context(), key(TCP), patch, NONE, false);
        patched.await.unwrap();
        app.find_now().await;
    };
    set_type("tcp").await;
    assert_eq!(effective(&app).await, [10; 3]);
    app.note_now(key(TCP), server_key(SERVERS[0]), &outcome('-'))
        .await;
    assert_eq!(effective(&app).await, [0, 10, 10]);
    set_type("external").await;
    assert_eq!(effective(&app).await, [10; 3]);
    let health = app.service_health(context(), key(TCP)).await.unwrap();
    assert_eq!(health.servers[0].reason, None);
    // A check that began before says nothing.
    app.note_now(key(TCP), server_key(SERVERS[0]), &outcome('-'))
        .await;
    assert_eq!(effective(&app).await, [10; 3]);
}

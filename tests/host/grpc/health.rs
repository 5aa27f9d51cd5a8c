//! Health checks, the health of servers and overrides.

use ipvsd::proto::v1 as pb;
use tonic::Code;

use super::harness::{Daemon, assert_rejected, mask, service, some, start_daemon};

const WEB: &str = "tcp-192.0.2.1-80";
const ONE: &str = "192.168.10.1-80";

async fn update(
    daemon: &mut Daemon,
    check: Option<pb::HealthCheck>,
    paths: &[&str],
) -> Option<pb::HealthCheck> {
    let request = pb::UpdateServiceRequest {
        service: Some(pb::Service {
            health_check: check,
            ..service(WEB)
        }),
        update_mask: mask(paths),
        ..pb::UpdateServiceRequest::default()
    };
    let updated = daemon.client.update_service(request).await.unwrap();
    updated.into_inner().service.unwrap().health_check
}

fn set(state: &str) -> pb::SetHealthOverrideRequest {
    pb::SetHealthOverrideRequest {
        service: WEB.to_owned(),
        server: ONE.to_owned(),
        state: some(state),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_merges_a_health_check_unless_its_mask_names_it() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[ONE]).await;
    let http = pb::HealthCheck {
        r#type: some("http"),
        fall: Some(5),
        ..Default::default()
    };
    let made = update(&mut daemon, Some(http), &[]).await.unwrap();
    assert_eq!(
        (made.path.as_deref(), made.fall, made.rise),
        (Some("/"), Some(5), Some(2))
    );
    let path = pb::HealthCheck {
        path: some("/a"),
        ..Default::default()
    };
    let merged = update(&mut daemon, Some(path.clone()), &[]).await.unwrap();
    assert_eq!((merged.path.as_deref(), merged.fall), (Some("/a"), Some(5)));
    let one = update(&mut daemon, None, &["health_check.fall"])
        .await
        .unwrap();
    assert_eq!((one.path.as_deref(), one.fall), (Some("/a"), Some(3)));
    let tcp = pb::HealthCheck {
        r#type: some("tcp"),
        ..Default::default()
    };
    let whole = update(&mut daemon, Some(tcp), &["health_check"])
        .await
        .unwrap();
    assert_eq!((whole.path, whole.fall), (None, Some(3)));
    assert_eq!(
        update(&mut daemon, None, &["scheduler"])
            .await
            .unwrap()
            .fall,
        Some(3)
    );
    assert_eq!(update(&mut daemon, None, &["health_check"]).await, None);
    let without_type = pb::UpdateServiceRequest {
        service: Some(pb::Service {
            health_check: Some(path),
            ..service(WEB)
        }),
        ..pb::UpdateServiceRequest::default()
    };
    let refused = daemon.client.update_service(without_type).await;
    let field = &["health_check.type", "health_check.path"][..];
    assert_rejected(refused, Code::InvalidArgument, "INVALID_ARGUMENT", field);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_shown_and_overridden() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[ONE]).await;
    let get = || pb::GetHealthRequest {
        service: WEB.to_owned(),
    };
    let missing = daemon.client.get_health(get()).await;
    assert_rejected(missing, Code::NotFound, "HEALTH_CHECK_NOT_FOUND", &[]);
    let tcp = pb::HealthCheck {
        r#type: some("tcp"),
        ..Default::default()
    };
    update(&mut daemon, Some(tcp), &[]).await;
    let health = daemon
        .client
        .get_health(get())
        .await
        .unwrap()
        .into_inner()
        .health
        .unwrap();
    assert_eq!(
        (health.healthy_count, health.servers[0].state.as_str()),
        (1, "unknown")
    );
    let list = daemon.client.list_health(pb::ListHealthRequest::default());
    assert_eq!(list.await.unwrap().into_inner().services, [health]);
    let forced = daemon
        .client
        .set_health_override(set("down"))
        .await
        .unwrap();
    assert_eq!(forced.into_inner().health.unwrap().state, "forced_down");
    let held = daemon.get_service(WEB).await;
    assert_eq!(held.servers[0].effective_weight, Some(0));
    assert_eq!(held.servers[0].holds[0].kind, "manual");
    let ended = pb::DeleteHealthOverrideRequest {
        service: WEB.to_owned(),
        server: ONE.to_owned(),
        ..Default::default()
    };
    let ended = daemon.client.delete_health_override(ended).await.unwrap();
    assert_eq!(ended.into_inner().health.unwrap().state, "unknown");
    let bad = daemon.client.set_health_override(set("off")).await;
    assert_rejected(bad, Code::InvalidArgument, "INVALID_ARGUMENT", &["state"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_reported_for_the_type_external() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[ONE]).await;
    let report = |healthy: Option<bool>| pb::ReportHealthRequest {
        service: WEB.to_owned(),
        server: ONE.to_owned(),
        healthy,
        reason: some("replication lag"),
        dry_run: false,
    };
    let dns = pb::HealthCheck {
        r#type: some("dns"),
        query_name: some("example.com"),
        transport: some("udp"),
        ..Default::default()
    };
    let made = update(&mut daemon, Some(dns), &[]).await.unwrap();
    let shown = (made.query_type.as_deref(), made.expect_rcode.as_deref());
    assert_eq!(shown, (Some("SOA"), Some("NOERROR")));
    assert_eq!(made.transport.as_deref(), Some("udp"));
    let refused = daemon.client.report_health(report(Some(false))).await;
    let reason = "HEALTH_CHECK_NOT_EXTERNAL";
    assert_rejected(refused, Code::FailedPrecondition, reason, &[]);
    let external = pb::HealthCheck {
        r#type: some("external"),
        expire_seconds: Some(60),
        ..Default::default()
    };
    let made = update(&mut daemon, Some(external), &[]).await.unwrap();
    assert_eq!((made.interval_seconds, made.timeout_seconds), (None, None));
    assert_eq!((made.rise, made.expire_seconds), (Some(1), Some(60)));
    let without = daemon.client.report_health(report(None)).await;
    let invalid = "INVALID_ARGUMENT";
    assert_rejected(without, Code::InvalidArgument, invalid, &["healthy"]);
    let down = daemon.client.report_health(report(Some(false))).await;
    let down = down.unwrap().into_inner().health.unwrap();
    assert_eq!(down.state, "down");
    assert_eq!(down.reason.as_deref(), Some("replication lag"));
    assert_eq!(down.latency_seconds, None);
    let held = daemon.get_service(WEB).await;
    assert_eq!(held.servers[0].effective_weight, Some(0));
    assert_eq!(held.servers[0].holds[0].kind, "health");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fallback_servers_are_a_list_that_is_replaced_as_a_whole() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[ONE]).await;
    let check = |ids: &[&str]| {
        let servers = ids.iter().map(|id| pb::Server {
            id: (*id).to_owned(),
            forwarding: some("masquerade"),
            ..Default::default()
        });
        pb::HealthCheck {
            r#type: some("tcp"),
            fallback_servers: servers.collect(),
            ..Default::default()
        }
    };
    let ids = |check: &Option<pb::HealthCheck>| {
        let servers = check.iter().flat_map(|check| &check.fallback_servers);
        servers.map(|server| server.id.clone()).collect::<Vec<_>>()
    };
    let both = check(&["192.168.10.8-80", "192.168.10.9-80"]);
    let made = update(&mut daemon, Some(both), &[]).await;
    assert_eq!(ids(&made), ["192.168.10.8-80", "192.168.10.9-80"]);
    assert_eq!(made.as_ref().unwrap().below_min, some("fallback"));
    let kept = update(&mut daemon, Some(check(&[])), &[]).await;
    assert_eq!(kept, made);
    let one = check(&["192.168.10.9-80"]);
    let replaced = update(&mut daemon, Some(one), &["health_check.fallback_servers"]).await;
    assert_eq!(ids(&replaced), ["192.168.10.9-80"]);
    daemon
        .client
        .set_health_override(set("down"))
        .await
        .unwrap();
    let found = daemon.get_service(WEB).await;
    let mut fallback = found.servers.iter();
    let fallback = fallback.find(|server| server.membership == "fallback");
    assert_eq!(fallback.unwrap().id, "192.168.10.9-80");
    let health = pb::GetHealthRequest {
        service: WEB.to_owned(),
    };
    let health = daemon.client.get_health(health).await.unwrap();
    assert!(health.into_inner().health.unwrap().fallback);
    let request = pb::UpdateServiceRequest {
        service: Some(service(WEB)),
        update_mask: mask(&["health_check.fallback_servers"]),
        ..Default::default()
    };
    let without = daemon.client.update_service(request).await.unwrap();
    let service = without.into_inner().service.unwrap();
    let check = service.health_check.unwrap();
    assert_eq!(check.below_min, some("keep_all"));
    assert_eq!(check.fallback_servers, []);
}

//! Statistics, info, counters.

use ipvsd::proto::v1 as pb;
use tonic::Code;

use super::harness::{assert_rejected, start_daemon};

const WEB: &str = "tcp-192.0.2.1-80";

#[tokio::test]
async fn stats_have_totals_and_top_lists() {
    let mut daemon = start_daemon().await;
    daemon
        .create_service(WEB, &["192.168.10.1-80", "192.168.10.2-80"])
        .await;
    daemon.create_service("fwmark-7", &[]).await;
    let request = pb::GetStatsRequest {
        top: Some(1),
        ..pb::GetStatsRequest::default()
    };
    let result = daemon.client.get_stats(request).await.unwrap().into_inner();
    assert_eq!((result.service_count, result.server_count), (2, 2));
    assert_eq!(
        (result.top_services.len(), result.top_servers.len()),
        (1, 1)
    );
    assert_eq!(result.top_servers[0].service, WEB);
    assert!(result.estimation && result.stats.is_some() && result.rates.is_some());
    for (field, top, sort) in [
        ("top", 101, ""),
        ("top", u32::MAX, ""),
        ("sort", 1, "id"),
        ("sort", 1, "rates.unknown"),
    ] {
        let request = pb::GetStatsRequest {
            top: Some(top),
            sort: sort.to_owned(),
            ..pb::GetStatsRequest::default()
        };
        let outcome = daemon.client.get_stats(request).await;
        assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &[field]);
    }
}

#[tokio::test]
async fn info_describes_the_daemon_and_the_kernel() {
    let mut daemon = start_daemon().await;
    let request = pb::GetInfoRequest::default();
    let result = daemon.client.get_info(request).await.unwrap().into_inner();
    assert_eq!(result.version, env!("CARGO_PKG_VERSION"));
    let kernel = result.kernel.unwrap();
    assert_eq!(
        (kernel.ipvs_version.as_str(), kernel.connection_table_size),
        ("1.2.1", 4096)
    );
    assert!(result.schedulers.iter().any(|s| s.name == "wlc"));
    assert!(result.namespace.is_none());
}

#[tokio::test]
async fn counters_of_one_or_all_services_are_zeroed() {
    let mut daemon = start_daemon().await;
    let one = pb::ZeroCountersRequest {
        service: WEB.to_owned(),
        ..pb::ZeroCountersRequest::default()
    };
    let outcome = daemon.client.zero_counters(one.clone()).await;
    assert_rejected(outcome, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
    daemon.create_service(WEB, &[]).await;
    daemon.client.zero_counters(one).await.unwrap();
    daemon
        .client
        .zero_counters(pb::ZeroCountersRequest::default())
        .await
        .unwrap();
    let bad = pb::ZeroCountersRequest {
        service: "all".to_owned(),
        ..pb::ZeroCountersRequest::default()
    };
    let outcome = daemon.client.zero_counters(bad).await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["service"],
    );
}

#[tokio::test]
async fn max_age_accepts_a_cached_result() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &[]).await;
    let mut request = pb::ListServicesRequest {
        max_age: Some(prost_types::Duration {
            seconds: 3600,
            nanos: 0,
        }),
        ..pb::ListServicesRequest::default()
    };
    daemon.client.list_services(request.clone()).await.unwrap();
    daemon.kernel.flush();
    let old = daemon
        .client
        .list_services(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(old.services.len(), 1);
    let age = old.age.unwrap();
    assert!((age.seconds, age.nanos) > (0, 0), "{age:?}");
    request.max_age = None;
    let fresh = daemon
        .client
        .list_services(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(fresh.services.len(), 0);
}

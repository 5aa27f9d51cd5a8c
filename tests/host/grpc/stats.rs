//! Statistics, info, counters.

use ipvsd::proto::v1 as pb;
use tonic::Code;

use super::harness::{refused, stage};

const WEB: &str = "tcp-192.0.2.1-80";

#[tokio::test]
async fn stats_tell_totals_and_the_busiest() {
    let mut stage = stage().await;
    stage
        .given(WEB, &["192.168.10.1-80", "192.168.10.2-80"])
        .await;
    stage.given("fwmark-7", &[]).await;
    let request = pb::GetStatsRequest {
        top: Some(1),
        ..pb::GetStatsRequest::default()
    };
    let told = stage.client.get_stats(request).await.unwrap().into_inner();
    assert_eq!((told.service_count, told.server_count), (2, 2));
    assert_eq!((told.top_services.len(), told.top_servers.len()), (1, 1));
    assert_eq!(told.top_servers[0].service, WEB);
    assert!(told.estimation && told.stats.is_some() && told.rates.is_some());
    for (field, top, sort) in [
        ("top", 101, ""),
        ("top", -1, ""),
        ("sort", 1, "id"),
        ("sort", 1, "rates.beauty"),
    ] {
        let request = pb::GetStatsRequest {
            top: Some(top),
            sort: sort.to_owned(),
            max_age: None,
        };
        let outcome = stage.client.get_stats(request).await;
        refused(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &[field]);
    }
}

#[tokio::test]
async fn info_tells_daemon_and_kernel() {
    let mut stage = stage().await;
    let request = pb::GetInfoRequest::default();
    let told = stage.client.get_info(request).await.unwrap().into_inner();
    assert_eq!(told.version, env!("CARGO_PKG_VERSION"));
    let kernel = told.kernel.unwrap();
    assert_eq!(
        (kernel.ipvs_version.as_str(), kernel.connection_table_size),
        ("1.2.1", 4096)
    );
    assert!(told.schedulers.iter().any(|s| s.name == "wlc"));
    assert!(told.namespace.is_none());
}

#[tokio::test]
async fn counters_are_zeroed_of_one_or_of_all() {
    let mut stage = stage().await;
    let one = pb::ZeroCountersRequest {
        service: WEB.to_owned(),
    };
    let outcome = stage.client.zero_counters(one.clone()).await;
    refused(outcome, Code::NotFound, "SERVICE_NOT_FOUND", &[]);
    stage.given(WEB, &[]).await;
    stage.client.zero_counters(one).await.unwrap();
    stage
        .client
        .zero_counters(pb::ZeroCountersRequest::default())
        .await
        .unwrap();
    let bad = pb::ZeroCountersRequest {
        service: "all".to_owned(),
    };
    let outcome = stage.client.zero_counters(bad).await;
    refused(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["service"],
    );
}

#[tokio::test]
async fn an_older_answer_is_given_to_who_accepts_one() {
    let mut stage = stage().await;
    stage.given(WEB, &[]).await;
    let mut request = pb::ListServicesRequest {
        max_age: Some(prost_types::Duration {
            seconds: 3600,
            nanos: 0,
        }),
        ..pb::ListServicesRequest::default()
    };
    stage.client.list_services(request.clone()).await.unwrap();
    stage.kernel.flush();
    let old = stage
        .client
        .list_services(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(old.services.len(), 1);
    let age = old.age.unwrap();
    assert!((age.seconds, age.nanos) > (0, 0), "{age:?}");
    request.max_age = None;
    let fresh = stage
        .client
        .list_services(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(fresh.services.len(), 0);
}

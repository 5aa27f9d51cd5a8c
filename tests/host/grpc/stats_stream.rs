//! StreamStats and GetStatsHistory.

use ipvsd::{
    kernel::fake::{Counters, ServiceId},
    proto::v1 as pb,
};
use tonic::Code;

use super::harness::{assert_rejected, start_daemon, within_timeout};

const SERVICE: &str = "tcp-192.0.2.1-80";
const SERVER: &str = "192.168.10.1-80";

fn duration(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_have_counters_and_then_rates() {
    let mut daemon = start_daemon().await;
    daemon.create_service(SERVICE, &[SERVER]).await;
    daemon.create_service("fwmark-7", &[]).await;
    let request = pb::StreamStatsRequest {
        interval: duration(1, 500_000_000),
        include: vec!["servers".to_owned()],
        service: SERVICE.to_owned(),
    };
    let stream = daemon.client.stream_stats(request).await;
    let mut stream = stream.unwrap().into_inner();
    let mut next = async || {
        let message = within_timeout(stream.message()).await.unwrap().unwrap();
        assert_eq!(message.reason, "");
        message.frame.unwrap()
    };
    let first = next().await;
    assert!(first.estimation && first.time.is_some() && first.interval.is_none());
    let totals = first.totals.unwrap();
    assert_eq!(
        (totals.service_count, totals.server_count, totals.rates),
        (2, 1, None)
    );
    let [service] = &first.services[..] else {
        panic!("{:?}", first.services);
    };
    assert_eq!(
        (service.id.as_str(), service.available_server_count),
        (SERVICE, 1)
    );
    assert_eq!(
        (service.servers[0].id.as_str(), service.servers[0].weight),
        (SERVER, 1)
    );
    while next().await.services[0].rates.is_none() {}
    let counters = Counters {
        connections: 600,
        ..Counters::default()
    };
    let id = ServiceId::tcp("192.0.2.1:80".parse().unwrap());
    assert!(daemon.kernel.set_counters(id, counters));
    let frame = loop {
        let frame = next().await;
        if frame.services[0].stats.unwrap().connections == 600 {
            break frame;
        }
    };
    let interval = std::time::Duration::try_from(frame.interval.unwrap()).unwrap();
    let expected = 600.0 / interval.as_secs_f64();
    let rates = frame.services[0].rates.unwrap();
    assert!(
        (rates.connections - expected).abs() < 1e-6,
        "{rates:?} {expected}"
    );
    assert_eq!(frame.services[0].stats.unwrap().connections, 600);
    assert!(frame.totals.unwrap().rates.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_checked() {
    let mut daemon = start_daemon().await;
    for (interval, include, service, fields) in [
        (duration(1, 0), "services", "", vec!["interval"]),
        (
            duration(61, 0),
            "x",
            "y",
            vec!["interval", "include", "service"],
        ),
        (duration(60, 1), "services", "", vec!["interval"]),
        (duration(-2, 0), "services", "", vec!["interval"]),
        (None, "servers", "", vec!["include"]),
    ] {
        let request = pb::StreamStatsRequest {
            interval,
            include: vec![include.to_owned()],
            service: service.to_owned(),
        };
        let outcome = daemon.client.stream_stats(request).await;
        assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &fields);
    }
    for (window, service, fields) in [
        (duration(0, 0), "", vec!["window"]),
        (duration(3600, 1), "y", vec!["window", "service"]),
    ] {
        let service = service.to_owned();
        let request = pb::GetStatsHistoryRequest { service, window };
        let outcome = daemon.client.get_stats_history(request).await;
        assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &fields);
    }
    let request = pb::GetStatsHistoryRequest::default();
    let history = daemon.client.get_stats_history(request).await.unwrap();
    let history = history.into_inner();
    assert_eq!(
        (history.interval, history.points),
        (duration(6, 0), Vec::new())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kernel_that_cannot_be_read_is_reported_and_the_stream_goes_on() {
    let mut daemon = start_daemon().await;
    daemon.kernel.faults().unload();
    let request = pb::StreamStatsRequest::default();
    let stream = daemon.client.stream_stats(request).await;
    let mut stream = stream.unwrap().into_inner();
    let message = within_timeout(stream.message()).await.unwrap().unwrap();
    assert_eq!(
        (message.frame, message.reason.as_str()),
        (None, "KERNEL_UNAVAILABLE")
    );
    daemon.kernel.faults().load();
    let mut message = within_timeout(stream.message()).await.unwrap().unwrap();
    while message.frame.is_none() {
        message = within_timeout(stream.message()).await.unwrap().unwrap();
    }
}

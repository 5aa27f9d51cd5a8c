//! ListServices: filters, order, pages and the maximum response size.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::Duration,
};

use ipvsd::{
    app::AppOptions,
    budget::Budget,
    executor::ExecutorLimits,
    grpc::GrpcOptions,
    kernel::{
        FakeKernel,
        fake::{Destination, Fault, On, Service, ServiceId, command},
    },
    proto::v1 as pb,
    server::Limits,
};
use prost::Message;
use tonic::Code;

use super::harness::{assert_rejected, some, start_daemon, start_daemon_over, start_daemon_with};

const WEB: &str = "tcp-192.0.2.1-80";

#[tokio::test]
async fn services_are_filtered_sorted_and_paged() {
    let mut daemon = start_daemon().await;
    for id in ["udp-192.0.2.1-53", "tcp-192.0.2.1-443", "fwmark-7", WEB] {
        daemon.create_service(id, &[]).await;
    }
    let mut request = pb::ListServicesRequest {
        page_size: Some(3),
        ..pb::ListServicesRequest::default()
    };
    let page = daemon
        .client
        .list_services(request.clone())
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<_> = page.services.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, [WEB, "tcp-192.0.2.1-443", "udp-192.0.2.1-53"]);
    assert_eq!(page.services[0].server_count, Some(0));
    assert!(page.age.is_some());
    request.page_token = page.next_page_token;
    let page = daemon
        .client
        .list_services(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.services[0].id, "fwmark-7");
    assert_eq!(page.next_page_token, "");
    let request = pb::ListServicesRequest {
        protocol: some("tcp"),
        address: some("192.0.2.1"),
        sort: "-id".to_owned(),
        include: vec!["stats".to_owned()],
        ..pb::ListServicesRequest::default()
    };
    let page = daemon
        .client
        .list_services(request)
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<_> = page.services.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["tcp-192.0.2.1-443", WEB]);
    assert!(page.services[0].stats.is_some() && page.services[0].rates.is_none());
    assert_eq!(
        (page.services[0].server_count, page.estimation),
        (None, Some(true))
    );
}

#[tokio::test]
async fn an_invalid_request_is_rejected_and_the_field_named() {
    type Change = fn(&mut pb::ListServicesRequest);
    let wrong: [(&str, Change); 9] = [
        ("page_size", |r| r.page_size = Some(100_001)),
        ("page_size", |r| r.page_size = Some(u32::MAX)),
        ("page_token", |r| r.page_token = "x".to_owned()),
        ("include[0]", |r| r.include = vec!["everything".to_owned()]),
        ("sort", |r| r.sort = "speed".to_owned()),
        ("protocol", |r| r.protocol = some("tpc")),
        ("address", |r| r.address = some("192.0.2")),
        ("port", |r| r.port = Some(65536)),
        ("max_age", |r| {
            r.max_age = Some(prost_types::Duration {
                seconds: -1,
                nanos: 0,
            });
        }),
    ];
    let mut daemon = start_daemon().await;
    for (field, change) in wrong {
        let mut request = pb::ListServicesRequest::default();
        change(&mut request);
        let outcome = daemon.client.list_services(request).await;
        assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &[field]);
    }
}

#[tokio::test]
async fn no_response_exceeds_the_maximum_size() {
    const LIMIT: usize = 2000;
    let options = GrpcOptions {
        max_response_bytes: LIMIT,
        ..Limits::default().grpc_options()
    };
    let mut daemon = start_daemon_with(options, AppOptions::default()).await;
    let ids: Vec<_> = (1..=40).map(|i| format!("tcp-192.0.2.{i}-80")).collect();
    for id in &ids {
        daemon.create_service(id, &["192.168.10.1-80"]).await;
    }
    let mut listed = Vec::new();
    let mut request = pb::ListServicesRequest::default();
    loop {
        let page = daemon
            .client
            .list_services(request.clone())
            .await
            .unwrap()
            .into_inner();
        let bytes: usize = page.services.iter().map(|s| s.encoded_len() + 6).sum();
        assert!(bytes <= LIMIT, "{bytes}");
        listed.extend(page.services.into_iter().map(|s| s.id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(listed, ids, "each service once and in order");

    // A service that does not fit: a write leaves out its servers, a read fails with a hint.
    let many: Vec<_> = (1..=40).map(|i| format!("192.168.10.{i}-80")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let created = daemon.create_service("tcp-192.0.2.200-80", &many).await;
    assert_eq!((created.servers.len(), created.server_count), (0, Some(40)));
    let get = pb::GetServiceRequest {
        id: created.id,
        ..pb::GetServiceRequest::default()
    };
    let outcome = daemon.client.get_service(get).await;
    assert_rejected(outcome, Code::ResourceExhausted, "TOO_LARGE", &[]);
    let mut listed = 0;
    let mut request = pb::ListServersRequest {
        service: "tcp-192.0.2.200-80".to_owned(),
        ..pb::ListServersRequest::default()
    };
    loop {
        let page = daemon
            .client
            .list_servers(request.clone())
            .await
            .unwrap()
            .into_inner();
        listed += page.servers.len();
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(listed, 40);
}

#[tokio::test]
async fn a_cached_page_equals_a_fresh_one() {
    let mut daemon = start_daemon().await;
    daemon.create_service(WEB, &["10.0.0.1-80"]).await;
    let request = |seconds| pb::ListServicesRequest {
        max_age: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..pb::ListServicesRequest::default()
    };
    let mut list = async |seconds| {
        let page = daemon.client.list_services(request(seconds)).await.unwrap();
        let page = page.into_inner();
        assert!(page.age.is_some());
        pb::ListServicesResponse { age: None, ..page }
    };
    let fresh = list(0).await;
    assert_eq!(fresh.services[0].servers.len(), 1);
    for _ in 0..3 {
        assert_eq!(list(60).await, fresh);
    }
}

#[tokio::test]
async fn pages_of_a_large_table_are_read_in_parts() {
    let app = AppOptions {
        listed_servers: 10,
        ..AppOptions::default()
    };
    let options = GrpcOptions {
        max_response_bytes: 20_000,
        ..Limits::default().grpc_options()
    };
    let mut daemon = start_daemon_with(options, app).await;
    for number in 1..=200 {
        let id = format!("tcp-192.0.2.{number}-80");
        daemon
            .create_service(&id, &["10.0.0.1-80", "10.0.0.2-80"])
            .await;
    }
    for seconds in [0, 3600] {
        let mut request = pb::ListServicesRequest {
            max_age: Some(prost_types::Duration { seconds, nanos: 0 }),
            ..pb::ListServicesRequest::default()
        };
        let mut ids = Vec::new();
        loop {
            let page = daemon.client.list_services(request.clone()).await;
            let page = page.unwrap().into_inner();
            assert!(page.encoded_len() <= 20_000);
            for service in page.services {
                assert_eq!((service.servers.len(), service.server_count), (2, Some(2)));
                let read = pb::GetServiceRequest {
                    id: service.id.clone(),
                    ..pb::GetServiceRequest::default()
                };
                if ids.len() % 50 == 0 {
                    let read = daemon.client.get_service(read).await.unwrap();
                    assert_eq!(read.into_inner().service, Some(service.clone()));
                }
                ids.push(service.id);
            }
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        let sorted = (1..=200).map(|number| format!("tcp-192.0.2.{number}-80"));
        assert!(ids.into_iter().eq(sorted));
    }
}

#[tokio::test]
async fn the_deadline_bounds_all_parts_of_a_list_together() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let app = AppOptions {
        listed_servers: 1,
        ..AppOptions::default()
    };
    let options = GrpcOptions {
        request_timeout: TIMEOUT,
        ..Limits::default().grpc_options()
    };
    let mut daemon = start_daemon_with(options, app).await;
    for number in 0..600_u32 {
        let [_, _, high, low] = number.to_be_bytes();
        let id = ServiceId::tcp(([192, 0, high, low], 80).into());
        daemon.kernel.add_service(Service::new(id));
        let server = Destination::new(([10, 0, 0, 1], 80).into());
        daemon.kernel.add_destination(id, server);
    }
    // Each part takes less than the timeout.
    let dumps = AtomicU32::new(0);
    let slow = Fault::before(move |_| {
        if dumps.fetch_add(1, Ordering::Relaxed) % 250 == 100 {
            sleep(TIMEOUT * 3 / 5);
        }
    });
    let kernel = daemon.kernel.clone();
    kernel.faults().always(On::Command(command::GET_DEST), slow);
    let list = daemon
        .client
        .list_services(pb::ListServicesRequest::default());
    assert_rejected(
        list.await.map(drop),
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        &[],
    );
}

#[tokio::test]
async fn a_list_that_is_being_made_is_charged() {
    let kernel = FakeKernel::new();
    for number in 0..2000_u32 {
        let [_, _, high, low] = number.to_be_bytes();
        let id = ServiceId::tcp(([192, 0, high, low], 80).into());
        kernel.add_service(Service::new(id));
        kernel.add_destination(id, Destination::new(([10, 0, 0, 1], 80).into()));
    }
    // The table needs 704,000 bytes, and an eighth is reserved: a list of one part fits beside it, a longer one does not.
    let limits = ExecutorLimits {
        budget: Budget::new(880_000),
        ..ExecutorLimits::default()
    };
    let options = Limits::default().grpc_options();
    let mut daemon = start_daemon_over(kernel, limits, options, AppOptions::default()).await;
    let mut request = pb::ListServicesRequest {
        page_size: Some(2000),
        ..pb::ListServicesRequest::default()
    };
    let list = daemon.client.list_services(request.clone()).await;
    assert_rejected(list.map(drop), Code::ResourceExhausted, "RATE_LIMITED", &[]);
    request.page_size = Some(100);
    let list = daemon.client.list_services(request).await;
    assert_eq!(list.unwrap().into_inner().services.len(), 100);
}

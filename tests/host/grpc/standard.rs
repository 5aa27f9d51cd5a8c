//! Standard gRPC features: deadlines, unknown methods, health, reflection, grpc-web.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use ipvsd::{app::AppOptions, grpc::GrpcOptions, proto::v1 as pb, server::Limits};
use prost::Message;
use tonic::{Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use super::harness::{
    Daemon, TIMEOUT, assert_rejected, start_daemon, start_daemon_with, within_timeout,
};

fn fast_health_checks() -> GrpcOptions {
    GrpcOptions {
        health_interval: Duration::from_millis(10),
        ..Limits::default().grpc_options()
    }
}

fn check_request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn an_error_has_the_request_id() {
    let mut daemon = start_daemon().await;
    let mut request = Request::new(pb::GetServiceRequest::default());
    request
        .metadata_mut()
        .insert("x-request-id", "abc".parse().unwrap());
    let status = daemon.client.get_service(request).await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(details.request_info().unwrap().request_id, "abc");
}

/// Calls a method over grpc-web and HTTP/1.1.
async fn call_over_web(
    daemon: &Daemon,
    method: &str,
    message: &impl Message,
    timeout: &str,
) -> http::Response<Bytes> {
    let message = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let request = http::Request::post(format!("{}/ipvsd.v1.IpvsService/{method}", daemon.address))
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .header("grpc-timeout", timeout)
        .body(Full::new(Bytes::from(frame)))
        .unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = within_timeout(client.request(request)).await.unwrap();
    let (head, body) = response.into_parts();
    let body = within_timeout(body.collect()).await.unwrap().to_bytes();
    http::Response::from_parts(head, body)
}

#[tokio::test]
async fn an_expired_deadline_is_reported_and_nothing_is_changed() {
    let daemon = start_daemon().await;
    // tonic's client enforces the deadline itself, so this uses a plain HTTP client.
    let request = pb::CreateServiceRequest {
        service: Some(super::harness::service("tcp-192.0.2.1-80")),
        ..pb::CreateServiceRequest::default()
    };
    let response = call_over_web(&daemon, "CreateService", &request, "1n").await;
    let status = Status::from_header_map(response.headers()).unwrap();
    assert_rejected::<()>(
        Err(status),
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        &[],
    );
    assert!(daemon.kernel.services().is_empty());
}

#[tokio::test]
async fn a_kernel_without_ipvs_is_unavailable_with_a_hint() {
    let mut daemon = start_daemon().await;
    daemon.kernel.faults().unload();
    let outcome = daemon
        .client
        .get_timeouts(pb::GetTimeoutsRequest::default())
        .await;
    let status = assert_rejected(outcome, Code::Unavailable, "KERNEL_UNAVAILABLE", &[]);
    let details = status.get_error_details();
    assert!(
        details.error_info().unwrap().metadata.contains_key("hint"),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_message_that_is_too_long_is_rejected() {
    let options = GrpcOptions {
        max_request_bytes: 1000,
        ..Limits::default().grpc_options()
    };
    let mut daemon = start_daemon_with(options, AppOptions::default()).await;
    let request = pb::GetServiceRequest {
        id: "x".repeat(2000),
        ..pb::GetServiceRequest::default()
    };
    let outcome = daemon.client.get_service(request).await;
    assert_rejected(outcome, Code::ResourceExhausted, "TOO_LARGE", &[]);
}

#[tokio::test]
async fn an_unknown_service_is_unimplemented() {
    let daemon = start_daemon().await;
    let mut client = Grpc::new(daemon.channel);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/ipvsd.v2.IpvsService/GetInfo");
    let codec: ProstCodec<pb::GetInfoRequest, pb::GetInfoResponse> = ProstCodec::default();
    let request = Request::new(pb::GetInfoRequest::default());
    let outcome = client.unary(request, path, codec).await;
    assert_rejected(outcome, Code::Unimplemented, "NOT_FOUND", &[]);
}

#[tokio::test]
async fn the_health_status_follows_the_kernel() {
    let daemon = start_daemon_with(fast_health_checks(), AppOptions::default()).await;
    let mut health = HealthClient::new(daemon.channel);
    for service in ["", "ipvsd.v1.IpvsService"] {
        let response = health
            .check(check_request(service))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(response.status(), ServingStatus::Serving);
    }
    let unknown = health
        .check(check_request("ipvsd.v1.Other"))
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let mut watch = health
        .watch(check_request("ipvsd.v1.IpvsService"))
        .await
        .unwrap()
        .into_inner();
    let mut next = async || {
        within_timeout(watch.message())
            .await
            .unwrap()
            .unwrap()
            .status()
    };
    assert_eq!(next().await, ServingStatus::Serving);
    daemon.kernel.faults().unload();
    assert_eq!(next().await, ServingStatus::NotServing);
    daemon.kernel.faults().load();
    assert_eq!(next().await, ServingStatus::Serving);
    let mut watch = health
        .watch(check_request("other"))
        .await
        .unwrap()
        .into_inner();
    let first = within_timeout(watch.message()).await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn health_watches_are_limited_and_end_at_shutdown() {
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let options = GrpcOptions {
        max_health_watches: 1,
        ..fast_health_checks()
    };
    let options = options.until(async { drop(ended.await) });
    let daemon = start_daemon_with(options, AppOptions::default()).await;
    let mut health = HealthClient::new(daemon.channel);
    let mut watch = health.watch(check_request("")).await.unwrap().into_inner();
    assert_eq!(
        within_timeout(watch.message())
            .await
            .unwrap()
            .unwrap()
            .status(),
        ServingStatus::Serving
    );
    let second = health.watch(check_request("")).await;
    assert_rejected(second, Code::ResourceExhausted, "RATE_LIMITED", &[]);
    end.send(()).unwrap();
    assert_eq!(
        within_timeout(watch.message())
            .await
            .unwrap()
            .unwrap()
            .status(),
        ServingStatus::NotServing
    );
    assert!(
        within_timeout(watch.message()).await.unwrap().is_none(),
        "the stream ends"
    );
    let response = health.check(check_request("")).await.unwrap().into_inner();
    assert_eq!(response.status(), ServingStatus::NotServing);
    // The permit of the ended watch is free again.
    let until = std::time::Instant::now() + TIMEOUT;
    while health.watch(check_request("")).await.is_err() {
        assert!(std::time::Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn reflection_lists_every_service_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};
    let daemon = start_daemon().await;
    let expected = ["grpc.health.v1.Health", "ipvsd.v1.IpvsService"];
    {
        use v1::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(daemon.channel.clone());
        let request = tokio_stream::iter([request]);
        let mut responses = client
            .server_reflection_info(request)
            .await
            .unwrap()
            .into_inner();
        let response = within_timeout(responses.message()).await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = response.message_response else {
            panic!("{response:?}")
        };
        let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
        assert!(
            expected.iter().all(|name| names.contains(name)),
            "{names:?}"
        );
    }
    {
        use v1alpha::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::FileContainingSymbol(
                "ipvsd.v1.IpvsService".into(),
            )),
        };
        let mut client = ServerReflectionClient::new(daemon.channel);
        let request = tokio_stream::iter([request]);
        let mut responses = client
            .server_reflection_info(request)
            .await
            .unwrap()
            .into_inner();
        let response = within_timeout(responses.message()).await.unwrap().unwrap();
        let Some(MessageResponse::FileDescriptorResponse(files)) = response.message_response else {
            panic!("{response:?}")
        };
        assert_eq!(files.file_descriptor_proto.len(), 1);
    }
}

#[tokio::test]
async fn grpc_web_works_over_http_1() {
    let daemon = start_daemon().await;
    let response = call_over_web(&daemon, "GetInfo", &pb::GetInfoRequest::default(), "9S").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.version(), http::Version::HTTP_11);
    assert_eq!(
        response.headers()["content-type"],
        "application/grpc-web+proto"
    );
    let body = response.into_body();
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
    let result = pb::GetInfoResponse::decode(&body[5..5 + length]).unwrap();
    assert_eq!(result.version, env!("CARGO_PKG_VERSION"));
    let trailers = String::from_utf8_lossy(&body[5 + length..]);
    assert!(trailers.contains("grpc-status:0"), "{trailers:?}");
}

//! What is not ipvsd's own: deadlines, unknown methods, health, reflection, grpc-web.

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

use super::harness::{SOON, Stage, refused, soon, stage, stage_with};

fn patient() -> GrpcOptions {
    GrpcOptions {
        health_interval: Duration::from_millis(10),
        ..Limits::default().grpc_options()
    }
}

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn an_error_names_its_request() {
    let mut stage = stage().await;
    let mut request = Request::new(pb::GetServiceRequest::default());
    request
        .metadata_mut()
        .insert("x-request-id", "abc".parse().unwrap());
    let status = stage.client.get_service(request).await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(details.request_info().unwrap().request_id, "abc");
}

/// A call over grpc-web and HTTP/1.1.
async fn over_web(
    stage: &Stage,
    method: &str,
    message: &impl Message,
    timeout: &str,
) -> http::Response<Bytes> {
    let message = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let request = http::Request::post(format!("{}/ipvsd.v1.Ipvs/{method}", stage.address))
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .header("grpc-timeout", timeout)
        .body(Full::new(Bytes::from(frame)))
        .unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = soon(client.request(request)).await.unwrap();
    let (head, body) = response.into_parts();
    let body = soon(body.collect()).await.unwrap().to_bytes();
    http::Response::from_parts(head, body)
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_told_and_nothing_is_begun() {
    let stage = stage().await;
    // tonic's client would heed the deadline itself and never hear the answer.
    let request = pb::CreateServiceRequest {
        service: Some(super::harness::service("tcp-192.0.2.1-80")),
    };
    let response = over_web(&stage, "CreateService", &request, "1n").await;
    let status = Status::from_header_map(response.headers()).unwrap();
    refused::<()>(
        Err(status),
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        &[],
    );
    assert!(stage.kernel.services().is_empty());
}

#[tokio::test]
async fn a_kernel_without_ipvs_is_unavailable_and_says_what_to_do() {
    let mut stage = stage().await;
    stage.kernel.faults().unload();
    let outcome = stage
        .client
        .get_timeouts(pb::GetTimeoutsRequest::default())
        .await;
    let status = refused(outcome, Code::Unavailable, "KERNEL_UNAVAILABLE", &[]);
    let details = status.get_error_details();
    assert!(
        details.error_info().unwrap().metadata.contains_key("hint"),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_with_a_reason() {
    let options = GrpcOptions {
        max_request_bytes: 1000,
        ..Limits::default().grpc_options()
    };
    let mut stage = stage_with(options, AppOptions::default()).await;
    let request = pb::GetServiceRequest {
        id: "x".repeat(2000),
        ..pb::GetServiceRequest::default()
    };
    let outcome = stage.client.get_service(request).await;
    refused(outcome, Code::ResourceExhausted, "TOO_LARGE", &[]);
}

#[tokio::test]
async fn an_unknown_service_is_unimplemented() {
    let stage = stage().await;
    let mut client = Grpc::new(stage.channel);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/ipvsd.v2.Ipvs/Fly");
    let codec: ProstCodec<pb::GetInfoRequest, pb::GetInfoResponse> = ProstCodec::default();
    let request = Request::new(pb::GetInfoRequest::default());
    let outcome = client.unary(request, path, codec).await;
    refused(outcome, Code::Unimplemented, "NOT_FOUND", &[]);
}

#[tokio::test]
async fn the_health_follows_the_kernel() {
    let stage = stage_with(patient(), AppOptions::default()).await;
    let mut health = HealthClient::new(stage.channel);
    for service in ["", "ipvsd.v1.Ipvs"] {
        let answer = health.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let unknown = health.check(of("ipvsd.v1.Other")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let mut watch = health
        .watch(of("ipvsd.v1.Ipvs"))
        .await
        .unwrap()
        .into_inner();
    let mut next = async || soon(watch.message()).await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);
    stage.kernel.faults().unload();
    assert_eq!(next().await, ServingStatus::NotServing);
    stage.kernel.faults().load();
    assert_eq!(next().await, ServingStatus::Serving);
    let mut watch = health.watch(of("other")).await.unwrap().into_inner();
    let first = soon(watch.message()).await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn watches_of_the_health_are_bounded_and_end_with_the_daemon() {
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let options = GrpcOptions {
        max_health_watches: 1,
        ..patient()
    };
    let options = options.until(async { drop(ended.await) });
    let stage = stage_with(options, AppOptions::default()).await;
    let mut health = HealthClient::new(stage.channel);
    let mut watch = health.watch(of("")).await.unwrap().into_inner();
    assert_eq!(
        soon(watch.message()).await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    let second = health.watch(of("")).await;
    refused(second, Code::ResourceExhausted, "RATE_LIMITED", &[]);
    end.send(()).unwrap();
    assert_eq!(
        soon(watch.message()).await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    assert!(
        soon(watch.message()).await.unwrap().is_none(),
        "the stream ends"
    );
    let answer = health.check(of("")).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing);
    // Its place is free again.
    let until = std::time::Instant::now() + SOON;
    while health.watch(of("")).await.is_err() {
        assert!(std::time::Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn reflection_tells_of_every_service_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};
    let stage = stage().await;
    let expected = ["grpc.health.v1.Health", "ipvsd.v1.Ipvs"];
    {
        use v1::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(stage.channel.clone());
        let request = tokio_stream::iter([request]);
        let mut answers = client
            .server_reflection_info(request)
            .await
            .unwrap()
            .into_inner();
        let answer = soon(answers.message()).await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
            panic!("{answer:?}")
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
            message_request: Some(MessageRequest::FileContainingSymbol("ipvsd.v1.Ipvs".into())),
        };
        let mut client = ServerReflectionClient::new(stage.channel);
        let request = tokio_stream::iter([request]);
        let mut answers = client
            .server_reflection_info(request)
            .await
            .unwrap()
            .into_inner();
        let answer = soon(answers.message()).await.unwrap().unwrap();
        let Some(MessageResponse::FileDescriptorResponse(files)) = answer.message_response else {
            panic!("{answer:?}")
        };
        assert_eq!(files.file_descriptor_proto.len(), 1);
    }
}

#[tokio::test]
async fn grpc_web_is_answered_over_http_1() {
    let stage = stage().await;
    let response = over_web(&stage, "GetInfo", &pb::GetInfoRequest::default(), "9S").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.version(), http::Version::HTTP_11);
    assert_eq!(
        response.headers()["content-type"],
        "application/grpc-web+proto"
    );
    let body = response.into_body();
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
    let told = pb::GetInfoResponse::decode(&body[5..5 + length]).unwrap();
    assert_eq!(told.version, env!("CARGO_PKG_VERSION"));
    let trailers = String::from_utf8_lossy(&body[5 + length..]);
    assert!(trailers.contains("grpc-status:0"), "{trailers:?}");
}

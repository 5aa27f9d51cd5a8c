//! Requests that gRPC refuses: the same errors as over HTTP, with the same details.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use ipvsd::{app::AppOptions, grpc::GrpcOptions, proto::v1 as pb, server::Limits};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::harness::{
    Daemon, assert_rejected, mask, server, service, some, start_daemon, start_daemon_with,
    within_timeout,
};

const ID: &str = "tcp-192.0.2.1-80";

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// Calls a method over HTTP/2 with this body.
async fn call(daemon: &Daemon, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Status {
    let mut request = http::Request::post(format!("{}{path}", daemon.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-request-id", "abc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let response = within_timeout(client.request(request)).await.unwrap();
    let (head, body) = response.into_parts();
    let trailers = within_timeout(body.collect()).await.unwrap();
    let trailers = trailers.trailers().cloned().unwrap_or_default();
    let status = Status::from_header_map(&head.headers);
    status
        .or_else(|| Status::from_header_map(&trailers))
        .unwrap()
}

#[track_caller]
fn assert_refused(status: Status, code: Code, reason: &str, message: &str) {
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(
        (status.code(), info.reason.as_str()),
        (code, reason),
        "{status:?}"
    );
    assert!(status.message().contains(message), "{status:?}");
    let id = details.request_info().map(|info| info.request_id.as_str());
    assert_eq!(id, Some("abc"), "{status:?}");
}

#[tokio::test]
async fn a_malformed_timeout_is_refused_and_the_call_does_not_run() {
    let daemon = start_daemon().await;
    let request = pb::CreateServiceRequest {
        service: Some(service(ID)),
        ..pb::CreateServiceRequest::default()
    };
    let body = frame(&request.encode_to_vec());
    for timeout in ["", "1", "S", "1s", "-1S", "123456789S", "1.5S", "1 S"] {
        for path in [
            "/ipvsd.v1.IpvsService/CreateService",
            "/grpc.health.v1.Health/Check",
        ] {
            let headers = [("grpc-timeout", timeout)];
            let status = call(&daemon, path, &headers, body.clone()).await;
            assert_refused(
                status,
                Code::InvalidArgument,
                "INVALID_ARGUMENT",
                "grpc-timeout",
            );
        }
    }
    assert!(daemon.kernel.services().is_empty());
}

#[tokio::test]
async fn an_undecodable_message_is_the_fault_of_the_client() {
    let daemon = start_daemon().await;
    let path = "/ipvsd.v1.IpvsService/CreateService";
    let streaming = "/ipvsd.v1.IpvsService/RestoreRules";
    for (path, body, what) in [
        (path, frame(&[0xff; 10]), "undecodable"),
        (path, Vec::new(), "missing"),
        (path, vec![0, 0, 0, 0, 9, 1], "truncated"),
        (path, vec![0, 0], "truncated in the length"),
        (path, vec![7, 0, 0, 0, 0], "with an invalid flag"),
        (path, vec![1, 0, 0, 0, 0], "compressed without an algorithm"),
        (
            "/ipvsd.v1.IpvsService/ListServices",
            frame(&[0xff; 10]),
            "a list",
        ),
        (
            "/ipvsd.v1.IpvsService/ListConnections",
            frame(&[0xff; 10]),
            "a stream of responses",
        ),
        (streaming, frame(&[0xff; 10]), "a stream of requests"),
        (streaming, vec![0, 0, 0, 0, 9, 1], "a truncated stream"),
        ("/grpc.health.v1.Health/Check", frame(&[0xff; 10]), "health"),
    ] {
        let status = call(&daemon, path, &[], body).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        assert_refused(status, Code::InvalidArgument, "INVALID_ARGUMENT", "");
    }
}

#[tokio::test]
async fn an_unknown_method_or_service_and_a_compressed_message_are_explained() {
    let daemon = start_daemon().await;
    for path in [
        "/ipvsd.v1.IpvsService/Nothing",
        "/ipvsd.v1.Nothing/Nothing",
        "/grpc.health.v1.Health/Nothing",
    ] {
        let status = call(&daemon, path, &[], frame(&[])).await;
        assert_refused(status, Code::Unimplemented, "NOT_FOUND", path);
    }
    let headers = [("grpc-encoding", "gzip")];
    let body = vec![1, 0, 0, 0, 0];
    let status = call(&daemon, "/ipvsd.v1.IpvsService/GetInfo", &headers, body).await;
    assert_refused(
        status,
        Code::Unimplemented,
        "UNSUPPORTED_MEDIA_TYPE",
        "gzip",
    );
}

#[tokio::test]
async fn a_message_that_is_too_long_has_the_request_id_also_in_a_stream() {
    let options = GrpcOptions {
        max_request_bytes: 1000,
        ..Limits::default().grpc_options()
    };
    let daemon = start_daemon_with(options, AppOptions::default()).await;
    let body = frame(&[0; 2000]);
    for method in ["CreateService", "ListServices", "RestoreRules"] {
        let path = format!("/ipvsd.v1.IpvsService/{method}");
        let status = call(&daemon, &path, &[], body.clone()).await;
        assert_refused(status, Code::ResourceExhausted, "TOO_LARGE", "");
    }
}

#[tokio::test]
async fn an_etag_of_another_server_is_a_mismatch_as_over_http() {
    let mut daemon = start_daemon().await;
    daemon.create_service(ID, &["10.0.0.1-80"]).await;
    for etag in ["nonsense", "\"s-0123456789abcdef\"", "W/x"] {
        let outcome = daemon
            .client
            .delete_service(pb::DeleteServiceRequest {
                id: ID.to_owned(),
                etag: etag.to_owned(),
                ..pb::DeleteServiceRequest::default()
            })
            .await;
        let status = assert_rejected(outcome, Code::Aborted, "REVISION_MISMATCH", &["etag"]);
        assert!(status.message().contains("not an ETag"), "{status:?}");
    }
    assert_eq!(daemon.kernel.services().len(), 1);
}

#[tokio::test]
async fn all_invalid_fields_are_reported_at_once() {
    let mut daemon = start_daemon().await;
    let outcome = daemon
        .client
        .list_services(pb::ListServicesRequest {
            protocol: some("6"),
            address: some("x"),
            port: Some(70000),
            include: vec!["nothing".to_owned()],
            sort: "size".to_owned(),
            ..pb::ListServicesRequest::default()
        })
        .await;
    let all = ["protocol", "address", "port", "include[0]", "sort"];
    assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &all);
    let outcome = daemon
        .client
        .list_servers(pb::ListServersRequest {
            service: "x".to_owned(),
            include: vec!["nothing".to_owned()],
            sort: "size".to_owned(),
            ..pb::ListServersRequest::default()
        })
        .await;
    let all = ["service", "include[0]", "sort"];
    assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &all);
    let outcome = daemon
        .client
        .get_stats(pb::GetStatsRequest {
            top: Some(101),
            sort: "size".to_owned(),
            ..pb::GetStatsRequest::default()
        })
        .await;
    assert_rejected(
        outcome,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
        &["top", "sort"],
    );
    let outcome = daemon
        .client
        .count_connections(pb::CountConnectionsRequest {
            filter: Some(pb::ConnectionFilter {
                protocol: some("x"),
                client: some("y"),
                ..pb::ConnectionFilter::default()
            }),
            count_by: "z".to_owned(),
        })
        .await;
    let all = ["filter.protocol", "filter.client", "count_by"];
    assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &all);
    let outcome = daemon
        .client
        .update_server(pb::UpdateServerRequest {
            service: "x".to_owned(),
            server: Some(pb::Server {
                id: "y".to_owned(),
                ..server("y")
            }),
            update_mask: mask(&["wieght"]),
            ..pb::UpdateServerRequest::default()
        })
        .await;
    let all = ["service", "update_mask.paths[0]", "id"];
    assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &all);
    let outcome = daemon
        .client
        .replace_service(pb::ReplaceServiceRequest {
            service: Some(pb::Service {
                scheduler: some("a b"),
                servers: vec![pb::Server {
                    weight: Some(99_999_999),
                    ..server("10.0.0.1-80")
                }],
                ..service("x")
            }),
            ..pb::ReplaceServiceRequest::default()
        })
        .await;
    let all = ["id", "scheduler", "servers[0].weight"];
    assert_rejected(outcome, Code::InvalidArgument, "INVALID_ARGUMENT", &all);
}

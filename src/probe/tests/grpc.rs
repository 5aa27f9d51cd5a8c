//! Requests to `grpc.health.v1` of servers that behave well and badly.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    codegen::BoxStream,
    transport::{Server, server::Router},
};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, HealthCheckResponse,
        health_server::{Health, HealthServer},
    },
};

use super::{acceptor, check, probe, server, wrong};
use crate::{health::Failure, model::HealthCheck};

/// A health service that answers everything with one result.
struct Fixed(Result<i32, Status>);

#[tonic::async_trait]
impl Health for Fixed {
    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let status = self.0.clone()?;
        Ok(Response::new(HealthCheckResponse { status }))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn start(router: Router) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn fixed(result: Result<i32, Status>) -> SocketAddr {
    let service = HealthServer::new(Fixed(result));
    start(Server::builder().add_service(service)).await
}

/// Serves a connection of HTTP/2.
async fn serve<F, B>(
    listener: TcpListener,
    service: impl Fn(http::Request<hyper::body::Incoming>) -> F,
) where
    F: Future<Output = Result<http::Response<B>, http::Error>> + Send + 'static,
    B: http_body::Body<Data = bytes::Bytes, Error = std::convert::Infallible> + Send + 'static,
{
    let (stream, _) = listener.accept().await.unwrap();
    let service = hyper::service::service_fn(service);
    let stream = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let server = hyper::server::conn::http2::Builder::new(executor);
    drop(server.serve_connection(stream, service).await);
}

fn grpc(fields: Value) -> HealthCheck {
    let mut json = json!({"type": "grpc"});
    let more = fields.as_object().unwrap().clone();
    json.as_object_mut().unwrap().extend(more);
    check(json)
}

async fn asked(fields: Value, address: SocketAddr) -> Result<(), Failure> {
    probe(&grpc(fields), address).await.result
}

#[tokio::test]
async fn only_serving_is_a_success() {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("shop.v1.Cart", ServingStatus::NotServing)
        .await;
    let address = start(Server::builder().add_service(service)).await;
    let cart = || json!({"grpc_service": "shop.v1.Cart"});
    assert_eq!(asked(json!({}), address).await, Ok(()));
    assert_eq!(
        wrong(asked(cart(), address).await),
        "NOT_SERVING, not SERVING"
    );
    reporter
        .set_service_status("shop.v1.Cart", ServingStatus::Serving)
        .await;
    assert_eq!(asked(cart(), address).await, Ok(()));
    let unknown = wrong(asked(json!({"grpc_service": "shop.v1.Till"}), address).await);
    assert!(unknown.starts_with("status NOT_FOUND"), "{unknown}");
    for (status, reason) in [
        (0, "UNKNOWN, not SERVING"),
        (3, "SERVICE_UNKNOWN, not SERVING"),
        (99, "status 99, not SERVING"),
    ] {
        let address = fixed(Ok(status)).await;
        assert_eq!(wrong(asked(json!({}), address).await), reason);
    }
}

#[tokio::test]
async fn the_reason_has_the_code_and_the_begin_of_the_message() {
    let without = start(Server::builder().add_routes(tonic::service::Routes::default())).await;
    let reason = wrong(asked(json!({}), without).await);
    assert!(reason.starts_with("status UNIMPLEMENTED"), "{reason}");
    let long = format!("\u{1b}[31m{}", "x".repeat(4000));
    let address = fixed(Err(Status::resource_exhausted(long))).await;
    let reason = wrong(asked(json!({}), address).await);
    assert!(
        reason.starts_with("status RESOURCE_EXHAUSTED: [31mxxx"),
        "{reason}"
    );
    assert!(reason.len() < 300, "{}", reason.len());
}

#[tokio::test]
async fn the_request_has_the_authority_and_the_deadline_of_the_check() {
    let (listener, address) = listen().await;
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let sender = std::sync::Mutex::new(Some(sender));
        let service = move |request: http::Request<hyper::body::Incoming>| {
            let sender = sender.lock().unwrap().take().unwrap();
            sender.send(request.into_parts().0).unwrap();
            async {
                let response = http::Response::builder().status(503);
                response.body(http_body_util::Empty::<bytes::Bytes>::new())
            }
        };
        serve(listener, service).await;
    });
    let fields = json!({"host": "www.example.com:81", "interval_seconds": 5, "timeout_seconds": 4});
    let reason = wrong(asked(fields, address).await);
    // What a proxy says without a status of gRPC.
    assert!(reason.starts_with("status UNAVAILABLE"), "{reason}");
    let head = receiver.await.unwrap();
    assert_eq!(head.uri.authority().unwrap(), "www.example.com:81");
    assert_eq!(head.uri.path(), "/grpc.health.v1.Health/Check");
    assert_eq!(head.headers["grpc-timeout"], "4000000u");
    assert!(
        head.headers["user-agent"]
            .to_str()
            .unwrap()
            .starts_with("ipvsd/")
    );
}

#[tokio::test]
async fn what_is_no_http_2_is_wrong() {
    for sent in [
        &b""[..],
        b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        b"SSH-2.0-x\r\n",
        &[0xff; 100],
    ] {
        let address = server(move |mut stream| async move {
            let mut request = vec![0; 4096];
            drop(stream.read(&mut request).await);
            stream.write_all(sent).await.unwrap();
        })
        .await;
        let reason = wrong(asked(json!({}), address).await);
        assert!(reason.starts_with("no complete response: "), "{reason}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_fails_after_the_timeout_and_its_connection_ends() {
    let (listener, address) = listen().await;
    let asking = tokio::spawn(asked(json!({}), address));
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut received = Vec::new();
    // It ends with a reset.
    stream.read_to_end(&mut received).await.unwrap_err();
    assert!(received.starts_with(b"PRI * HTTP/2.0"));
    assert_eq!(
        wrong(asking.await.unwrap()),
        "no complete answer within 1 s"
    );
}

#[tokio::test]
async fn a_long_message_is_not_read() {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let service = |_: http::Request<hyper::body::Incoming>| async {
            // A message of 2 MiB, as its head says.
            let head = [&[0][..], &(2_u32 << 20).to_be_bytes()].concat();
            let body = http_body_util::Full::new(bytes::Bytes::from(head));
            let response = http::Response::builder().header("content-type", "application/grpc");
            response.body(body)
        };
        serve(listener, service).await;
    });
    let reason = wrong(asked(json!({}), address).await);
    assert!(reason.starts_with("status OUT_OF_RANGE"), "{reason}");
}

#[tokio::test]
async fn tls_is_used_if_the_check_says_so() {
    let (_, service) = tonic_health::server::health_reporter();
    let plain = start(Server::builder().add_service(service)).await;
    let (listener, address) = listen().await;
    let acceptor = acceptor(&[b"h2"]);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A handshake that fails does not end the server.
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let protocol = stream.get_ref().1.alpn_protocol();
                assert_eq!(protocol, Some(&b"h2"[..]));
                let mut inner = TcpStream::connect(plain).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut stream, &mut inner).await);
            }
        }
    });
    let lax = json!({"tls": true, "tls_verify": false, "sni": "www.example.com"});
    assert_eq!(asked(lax, address).await, Ok(()));
    match asked(json!({"tls": true, "sni": "www.example.com"}), address).await {
        // A system without authorities cannot check.
        Err(Failure::Wrong(reason)) => assert!(reason.starts_with("TLS: "), "{reason}"),
        Err(Failure::Unchecked(reason)) => assert!(reason.contains("TLS"), "{reason}"),
        other => panic!("{other:?}"),
    }
    wrong(asked(json!({}), address).await);
}

//! What hyper does without the server room, which is why the room does it itself. When one of
//! these fails after an upgrade, `server/pulse.rs` may become simpler.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use http::Response;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::harness::*;

const SHORT: Duration = Duration::from_millis(100);

/// One connection served by hyper with nothing but a header timeout.
async fn plain_hyper() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(SHORT);
        let service =
            service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::from("hello"))) });
        let _ = builder
            .serve_connection(TokioIo::new(stream), service)
            .await;
    });
    address
}

#[tokio::test]
async fn the_header_timeout_of_hyper_cuts_idle_connections_too() {
    let mut stream = TcpStream::connect(plain_hyper().await).await.unwrap();
    stream
        .write_all(get_and_keep("/").as_bytes())
        .await
        .unwrap();
    listen_for(&mut stream, "hello").await;
    assert!(!stays_open(&mut stream, SOON).await);
}

#[tokio::test]
async fn the_header_timeout_of_hyper_does_not_run_before_the_protocol_is_known() {
    let mut stream = TcpStream::connect(plain_hyper().await).await.unwrap();
    assert!(stays_open(&mut stream, SHORT * 5).await);
}

//! Behaviour of hyper's own header timeout, which `src/server/activity.rs` replaces. If one of these
//! tests fails after an upgrade, that file may become simpler.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::body::Body;
use http::Response;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use super::harness::*;

const SHORT: Duration = Duration::from_millis(100);

/// Serves one connection with hyper alone, with a header timeout.
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
async fn header_timeout_of_hyper_also_closes_idle_connections() {
    let mut stream = TcpStream::connect(plain_hyper().await).await.unwrap();
    stream
        .write_all(get_keep_alive("/").as_bytes())
        .await
        .unwrap();
    read_until(&mut stream, "hello").await;
    assert!(!stays_open(&mut stream, DEADLINE).await);
}

#[tokio::test]
async fn header_timeout_of_hyper_does_not_run_before_protocol_detection() {
    let mut stream = TcpStream::connect(plain_hyper().await).await.unwrap();
    assert!(stays_open(&mut stream, SHORT * 5).await);
}

//! A server on a free port, a router with handlers to wait in, and clients that say exactly what
//! they are told to.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, Request, StatusCode};
use http_body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ipvsd::identity::Peer;
use ipvsd::server::{Config, Drained, LimitReason, ListenAddress, Server, Shutdown, with_limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Never within a test.
pub const NEVER: Duration = Duration::from_secs(3600);

/// Finishes what should finish, or fails.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future)
        .await
        .expect("did not happen in time")
}

/// The handlers' side of a test.
pub struct Stage {
    /// One message for each request that has entered `/wait`.
    pub entered: mpsc::UnboundedReceiver<()>,
    /// One message for each endless answer of `/flood` that was dropped.
    pub dropped: mpsc::UnboundedReceiver<()>,
    /// One permit lets one `/wait` go.
    pub release: Arc<Semaphore>,
    pub router: Router,
}

pub fn stage() -> Stage {
    let (enter, entered) = mpsc::unbounded_channel();
    let (drops, dropped) = mpsc::unbounded_channel();
    let release = Arc::new(Semaphore::new(0));
    let gate = release.clone();
    let wait = move || {
        let (enter, gate) = (enter.clone(), gate.clone());
        async move {
            enter.send(()).unwrap();
            gate.acquire().await.unwrap().forget();
            "waited"
        }
    };
    let flood = move || async move { Body::new(Flood(drops.clone())) };
    let router = Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/healthz", get(|| async { "alive" }))
        .route(
            "/peer",
            get(|ConnectInfo(peer): ConnectInfo<Peer>| async move { peer.to_string() }),
        )
        .route(
            "/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route("/panic", get(|| async { panic!("on purpose") as () }))
        .route(
            "/late",
            get(|| async { Body::new(Late(Box::pin(tokio::time::sleep(LATE)), 2)) }),
        )
        .route("/big", get(|| async { Bytes::from(vec![b'x'; BIG]) }))
        .route("/flood", get(flood))
        .route("/wait", get(wait));
    Stage {
        entered,
        dropped,
        release,
        router,
    }
}

/// Bytes of `/big`, one piece for its handler: more than sockets and windows take unread.
pub const BIG: usize = 32 * 1024 * 1024;

/// An endless body that tells when it is dropped.
struct Flood(mpsc::UnboundedSender<()>);

impl http_body::Body for Flood {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(
            &[b'x'; 16 * 1024],
        )))))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// How long `/late` takes to say something, twice.
pub const LATE: Duration = Duration::from_millis(400);

/// A body that makes the client wait, as a watch does.
struct Late(Pin<Box<tokio::time::Sleep>>, u8);

impl http_body::Body for Late {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.1 == 0 {
            return Poll::Ready(None);
        }
        std::task::ready!(self.0.as_mut().poll(cx));
        self.1 -= 1;
        self.0.as_mut().reset(tokio::time::Instant::now() + LATE);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"late.")))))
    }
}

/// The shape of refusals in these tests: the reason in words, and how the request looked.
pub fn answer(reason: LimitReason, headers: &HeaderMap) -> Response {
    let status = match reason {
        LimitReason::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        LimitReason::BodyTooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
        LimitReason::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
        LimitReason::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let text = |name: &str| {
        headers
            .get(name)
            .map_or("-", |value| value.to_str().unwrap())
    };
    let body = format!(
        "{reason:?} id={} type={}",
        text("x-request-id"),
        text("content-type")
    );
    (status, body).into_response()
}

/// A configuration on a free port with no timeout that could come in the way of a test.
pub fn patient() -> Config {
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..Config::default()
    };
    let limits = &mut config.limits;
    limits.header_read_timeout = NEVER;
    limits.body_read_timeout = NEVER;
    limits.idle_timeout = NEVER;
    limits.write_timeout = NEVER;
    limits.shutdown_grace = NEVER;
    config
}

/// A running server.
pub struct Running {
    pub addresses: Vec<ListenAddress>,
    pub shutdown: Shutdown,
    pub task: JoinHandle<Drained>,
}

pub fn start(config: &Config, router: Router) -> Running {
    let server = Server::bind(config).unwrap();
    let addresses = server.addresses();
    let shutdown = Shutdown::new();
    let router = with_limits(router, &config.limits, answer);
    let handle = shutdown.clone();
    let task = tokio::spawn(async move { server.serve(router, &handle).await });
    Running {
        addresses,
        shutdown,
        task,
    }
}

impl Running {
    pub fn tcp(&self) -> SocketAddr {
        let tcp = self.addresses.iter().find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        });
        tcp.unwrap()
    }

    pub async fn connect(&self) -> TcpStream {
        soon(TcpStream::connect(self.tcp())).await.unwrap()
    }

    /// What an HTTP/1 client with one `GET` sees, whole.
    pub async fn get(&self, path: &str) -> String {
        converse(self.connect().await, &get_and_close(path)).await
    }

    /// An HTTP/2 client with prior knowledge, and the task of its connection.
    pub async fn connect_h2(&self) -> (http2::SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
        handshake(self.connect().await).await
    }
}

pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
) -> (http2::SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
    let (client, connection) = soon(http2::handshake(TokioExecutor::new(), TokioIo::new(stream)))
        .await
        .unwrap();
    (client, tokio::spawn(connection))
}

pub fn h2_get(path: &str) -> Request<Body> {
    Request::get(format!("http://ipvsd{path}"))
        .body(Body::empty())
        .unwrap()
}

pub fn get_and_close(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
}

pub fn get_and_keep(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

/// Says something and listens until the server closes.
pub async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, words: &str) -> String {
    stream.write_all(words.as_bytes()).await.unwrap();
    listen_to_end(stream).await
}

/// Everything until the server closes, however it closes.
pub async fn listen_to_end<S: AsyncRead + Unpin>(mut stream: S) -> String {
    let mut heard = Vec::new();
    let _ = soon(stream.read_to_end(&mut heard)).await;
    String::from_utf8_lossy(&heard).into_owned()
}

/// Reads until `end` has come.
pub async fn listen_for<S: AsyncRead + Unpin>(stream: &mut S, end: &str) -> String {
    let mut heard = Vec::new();
    soon(async {
        while !heard.ends_with(end.as_bytes()) {
            match stream.read_u8().await {
                Ok(byte) => heard.push(byte),
                Err(_) => break,
            }
        }
    })
    .await;
    String::from_utf8_lossy(&heard).into_owned()
}

/// Whether the connection stays open and silent for `time`.
pub async fn stays_open<S: AsyncRead + Unpin>(stream: &mut S, time: Duration) -> bool {
    tokio::time::timeout(time, stream.read_u8()).await.is_err()
}

/// A directory of its own for each test, removed afterwards. Short: socket paths are.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ipvsd-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn socket(&self) -> (PathBuf, ListenAddress) {
        let path = self.0.join("ipvsd.sock");
        (path.clone(), ListenAddress::Unix(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

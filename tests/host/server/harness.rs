//! Fixtures: a server on a free port, a router whose handlers the test controls, and raw clients.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, Request, StatusCode};
use http_body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ipvsd::{
    audit::AuditLog,
    budget::Budget,
    identity::Peer,
    server::{
        Authenticator, Config, DrainOutcome, ListenAddress, Rejection, Server, Shutdown, Tls,
        with_middleware,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

/// Deadline of every step; generous for a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A timeout that does not expire within a test.
pub const NEVER: Duration = Duration::from_secs(3600);

/// Requests that a test sends: `IPVSD_TEST_REQUESTS`, or those of a usual run.
pub fn requests(usual: usize) -> usize {
    let set = std::env::var("IPVSD_TEST_REQUESTS");
    set.map_or(usual, |number| number.parse().unwrap())
}

/// Completes the future within [`DEADLINE`], or fails the test.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("deadline exceeded")
}

/// A router, and the test's control of its handlers.
pub struct Fixture {
    /// A message for each request that entered `/wait`.
    pub entered: mpsc::UnboundedReceiver<()>,
    /// A message for each endless response of `/flood` that was dropped.
    pub dropped: mpsc::UnboundedReceiver<()>,
    /// Each permit releases one `/wait`.
    pub release: Arc<Semaphore>,
    pub router: Router,
}

pub fn setup() -> Fixture {
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
    Fixture {
        entered,
        dropped,
        release,
        router,
    }
}

/// Size of the body of `/big`, sent as one frame: more than socket buffers and windows hold.
pub const BIG: usize = 32 * 1024 * 1024;

/// An endless body that reports its drop.
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

/// Delay before each of the two frames of `/late`.
pub const LATE: Duration = Duration::from_millis(400);

/// A body with delayed frames, like that of a watch.
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

/// Renders a rejection as text, with headers of the request.
pub fn render(rejection: Rejection, headers: &HeaderMap) -> Response {
    let status = match rejection {
        Rejection::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Rejection::BodyTimeout { .. } => StatusCode::REQUEST_TIMEOUT,
        Rejection::BodyIncomplete { .. } => StatusCode::BAD_REQUEST,
        Rejection::Memory(_) => StatusCode::INSUFFICIENT_STORAGE,
        Rejection::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
        Rejection::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let text = |name: &str| {
        headers
            .get(name)
            .map_or("-", |value| value.to_str().unwrap())
    };
    let body = format!(
        "{rejection:?} id={} type={}",
        text("x-request-id"),
        text("content-type")
    );
    (status, body).into_response()
}

/// A configuration with a free port and without effective timeouts.
pub fn test_config() -> Config {
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        dev: true,
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
pub struct RunningServer {
    pub addresses: Vec<ListenAddress>,
    pub shutdown: Shutdown,
    pub task: JoinHandle<DrainOutcome>,
    pub tls: Option<Tls>,
}

pub fn start_server(config: &Config, router: Router) -> RunningServer {
    let server = Server::bind(config).unwrap();
    let (addresses, tls) = (server.addresses(), server.tls());
    let shutdown = Shutdown::new();
    let budget = Budget::new(config.limits.max_memory_bytes);
    let open = Authenticator::load(config).unwrap();
    let router = with_middleware(
        router,
        config,
        &open,
        &AuditLog::in_memory(),
        &budget,
        None,
        render,
    );
    let handle = shutdown.clone();
    let task = tokio::spawn(async move { server.serve(router, &budget, &handle).await });
    RunningServer {
        addresses,
        shutdown,
        task,
        tls,
    }
}

impl RunningServer {
    pub fn tcp(&self) -> SocketAddr {
        self.addresses.iter().find_map(ListenAddress::tcp).unwrap()
    }

    pub async fn connect(&self) -> TcpStream {
        in_time(TcpStream::connect(self.tcp())).await.unwrap()
    }

    /// Sends a `GET` over HTTP/1 and returns the raw response.
    pub async fn get(&self, path: &str) -> String {
        exchange(self.connect().await, &get_close(path)).await
    }

    /// Connects an HTTP/2 client with prior knowledge. Also returns the task of its connection.
    pub async fn connect_h2(&self) -> (http2::SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
        handshake(self.connect().await).await
    }
}

pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
) -> (http2::SendRequest<Body>, JoinHandle<hyper::Result<()>>) {
    let (client, connection) =
        in_time(http2::handshake(TokioExecutor::new(), TokioIo::new(stream)))
            .await
            .unwrap();
    (client, tokio::spawn(connection))
}

pub fn h2_get(path: &str) -> Request<Body> {
    Request::get(format!("http://localhost{path}"))
        .body(Body::empty())
        .unwrap()
}

pub fn get_close(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

pub fn get_keep_alive(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// Sends a request, and reads until the server closes the connection.
pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    read_to_end(stream).await
}

/// Reads until the server closes the connection, gracefully or not.
pub async fn read_to_end<S: AsyncRead + Unpin>(mut stream: S) -> String {
    let mut received = Vec::new();
    let _ = in_time(stream.read_to_end(&mut received)).await;
    String::from_utf8_lossy(&received).into_owned()
}

/// Reads until `end` is received.
pub async fn read_until<S: AsyncRead + Unpin>(stream: &mut S, end: &str) -> String {
    let mut received = Vec::new();
    in_time(async {
        while !received.ends_with(end.as_bytes()) {
            match stream.read_u8().await {
                Ok(byte) => received.push(byte),
                Err(_) => break,
            }
        }
    })
    .await;
    String::from_utf8_lossy(&received).into_owned()
}

/// Whether the connection stays open and silent for `time`.
pub async fn stays_open<S: AsyncRead + Unpin>(stream: &mut S, time: Duration) -> bool {
    tokio::time::timeout(time, stream.read_u8()).await.is_err()
}

/// A temporary directory. Its path is short, because socket paths are limited to 107 bytes.
pub struct TempDir(pub PathBuf);

impl TempDir {
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

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

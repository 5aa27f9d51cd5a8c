//! One connection, from accept to close: with or without TLS, HTTP/1 or HTTP/2, by the client's first
//! bytes.

use std::{
    future::{pending, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{HeaderValue, Request, Response, Version, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{sleep, sleep_until, timeout_at},
};
use tower::Service;

use super::{
    activity::{ConnectionActivity, HEAD_GRACE, MonitoredBody, RequestGuard, TimeoutAction},
    batched_io::BatchedIo,
    config::Limits,
    date, path,
    response_body::ResponseCharge,
    runtime::{ConnectionTimer, StreamExecutor},
    shutdown::{Phase, Shutdown},
    tls::{self, Tls, TlsClient},
};
use crate::{
    audit::AuditLog,
    budget::Budget,
    clock,
    identity::{Credential, OverTls, Peer},
    model,
};

/// The smallest buffer that hyper accepts for HTTP/1.
const HTTP1_MIN_BUFFER: usize = 8192;

/// Receive window of an HTTP/2 stream and of a connection in bytes: what a client may send before
/// the daemon reads it. Sufficient for 25 Mbit/s at a round-trip time of 40 ms.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Bytes of a response that an HTTP/2 stream buffers before it asks for more: two frames of a body
/// (see `MonitoredBody`). Of a body that is produced while it is sent, the stream then still holds no
/// more than two chunks.
const SEND_BUFFER: usize = 128 << 10;
/// Charge for a request in progress, beside its head: the state of its stream and its task.
const REQUEST_BYTES: usize = 8 << 10;

/// About a client whose first bytes are those of TLS, where they should be those of HTTP.
const TLS_HINT: &str = "the client speaks TLS, but this listener does not: it must use http://, or the \
                        port of a listener tls:ADDRESS:PORT";

/// A request is not even rejected, because the memory that requests may use is in use.
#[derive(Debug, thiserror::Error)]
#[error("the request was dropped: {0}")]
struct Overloaded(model::Error);

/// What the server knows of a request, as an extension of it.
#[derive(Clone, Debug)]
pub(super) struct ConnectionRequest {
    /// The memory that the requests of the connection may use.
    pub(super) budget: Budget,
    /// When the head was read.
    pub(super) received: Instant,
    /// What the connection itself proves about the client.
    pub(super) credential: Credential,
}

/// Serves connections. Shared by all of them.
pub(super) struct ConnectionHandler {
    builder: auto::Builder<StreamExecutor>,
    limits: Limits,
    budget: Budget,
    audit: AuditLog,
    shutdown: Shutdown,
    /// Connections that [`Phase::Aborting`] ended, with whatever limits.
    aborted: Arc<AtomicUsize>,
}

impl ConnectionHandler {
    /// `audit` has the clients that TLS refuses.
    pub(super) fn new(
        limits: &Limits,
        budget: &Budget,
        audit: &AuditLog,
        shutdown: &Shutdown,
    ) -> Self {
        let mut builder = auto::Builder::new(StreamExecutor);
        builder
            .http1()
            .timer(TokioTimer::new())
            // ConnectionActivity does it; hyper's timer would also close idle connections.
            .header_read_timeout(None)
            .max_buf_size(limits.max_header_bytes.max(HTTP1_MIN_BUFFER));
        builder
            .http2()
            .timer(ConnectionTimer)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_concurrent_streams(limits.max_concurrent_streams)
            .max_header_list_size(limits.max_header_bytes.try_into().unwrap_or(u32::MAX))
            .keep_alive_interval(limits.keep_alive_interval)
            .keep_alive_timeout(limits.write_timeout);
        Self {
            builder,
            limits: limits.clone(),
            budget: budget.clone(),
            audit: audit.clone(),
            shutdown: shutdown.clone(),
            aborted: Arc::default(),
        }
    }

    /// The same with other limits.
    pub(super) fn with_limits(&self, limits: &Limits) -> Self {
        Self {
            aborted: self.aborted.clone(),
            ..Self::new(limits, &self.budget, &self.audit, &self.shutdown)
        }
    }

    /// The number of connections that the shutdown aborted so far.
    pub(super) fn aborted(&self) -> usize {
        self.aborted.load(Ordering::Relaxed)
    }

    /// Serves one connection of TLS until it ends, its handshake first.
    pub(super) async fn serve_tls<S>(&self, socket: S, peer: Peer, tls: &Tls, router: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let draining = async {
            self.shutdown.reached(Phase::Draining).await;
            sleep(HEAD_GRACE).await;
        };
        let accepted = tokio::select! {
            biased;
            () = draining => return,
            accepted = tls::accept(socket, tls, self.limits.header_read_timeout) => accepted,
        };
        match accepted {
            Ok((socket, client)) => {
                let credential = client.credential();
                let served = self.serve(socket, peer, credential, Some(&client), router);
                served.await;
            }
            Err(error) => error.report(peer, &self.audit),
        }
    }

    /// Serves one connection until it ends. `credential` is what the connection proves about the client,
    /// `client` the client of TLS.
    pub(super) async fn serve<S>(
        &self,
        socket: S,
        peer: Peer,
        credential: Credential,
        client: Option<&TlsClient>,
        router: Router,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let activity = ConnectionActivity::new();
        let requests = activity.clone();
        let budget = self.budget.of_connection();
        let io = BatchedIo::new(socket, activity.clone(), budget.clone());
        let (is_tls, shutdown) = (client.is_some(), self.shutdown.clone());
        let service = service_fn(move |mut request: Request<_>| {
            if is_tls {
                request.extensions_mut().insert(OverTls);
            }
            let guard = requests.begin_request();
            let known = ConnectionRequest {
                budget: budget.clone(),
                received: guard.received,
                credential: credential.clone(),
            };
            call(&router, guard, known, peer, &shutdown, request)
        });
        let connection = self
            .builder
            .serve_connection(TokioIo::new(io.clone()), service);
        let mut connection = pin!(connection);
        let mut draining = pin!(self.draining(&activity));
        let mut ended = pin!(self.ended(peer, client));
        let mut closing = false;
        let mut next_check = pin!(sleep_until(Instant::now().into()));
        loop {
            tokio::select! {
                // The shutdown first: a response that is ready then carries `connection: close`.
                biased;
                () = draining.as_mut(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = ended.as_mut() => return,
                outcome = poll_fn(|cx| activity.poll(|| io.poll(connection.as_mut(), cx))) => {
                    if let Err(error) = outcome {
                        let hint = activity.speaks_tls().then_some(TLS_HINT);
                        tracing::debug!(%peer, error, hint, "connection ended");
                    }
                    return;
                }
                () = next_check.as_mut() => match activity.check(&self.limits, self.budget.is_scarce()) {
                    TimeoutAction::CheckAt(time) => next_check.as_mut().reset(time.into()),
                    TimeoutAction::Close if !closing => {
                        closing = true;
                        connection.as_mut().graceful_shutdown();
                        // Time for an HTTP/2 client to acknowledge; a dead one never does.
                        next_check.as_mut().reset((Instant::now() + self.limits.write_timeout).into());
                    }
                    TimeoutAction::Close => return,
                    TimeoutAction::Abort(reason) => {
                        tracing::debug!(%peer, %reason, "connection aborted");
                        return;
                    }
                },
            }
        }
    }

    /// Waits for a shutdown, and then for a request that is about to arrive: hyper would close the connection of a
    /// client that has just connected, and lose its request.
    async fn draining(&self, activity: &ConnectionActivity) {
        self.shutdown.reached(Phase::Draining).await;
        if let Some(until) = activity.head_expected_until() {
            // Without a request: the client sends none.
            let _ = timeout_at(until.into(), activity.head_read()).await;
        }
    }

    /// Waits until the connection must end at once.
    async fn ended(&self, peer: Peer, client: Option<&TlsClient>) {
        let trust_lost = async {
            match client {
                Some(client) => client.trust_lost().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.shutdown.reached(Phase::Aborting) => {
                self.aborted.fetch_add(1, Ordering::Relaxed);
            }
            reason = trust_lost => tracing::info!(%peer, %reason, "TLS connection closed"),
        }
    }
}

/// Passes a request to the router, and monitors its response.
fn call(
    router: &Router,
    guard: RequestGuard,
    known: ConnectionRequest,
    peer: Peer,
    shutdown: &Shutdown,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<MonitoredBody>, Overloaded>> + use<> {
    // hyper sends `connection: close` if the drain begins later.
    let is_last = request.version() <= Version::HTTP_11 && shutdown.phase() >= Phase::Draining;
    let own = known
        .budget
        .charge_reserved(REQUEST_BYTES + head_length(&request));
    let mut request = request.map(Body::new);
    path::trim(&mut request);
    request.extensions_mut().insert(ConnectInfo(peer));
    request.extensions_mut().insert(known);
    let response = router.clone().call(request);
    async move {
        let own = own.map_err(Overloaded)?;
        let mut response = response.await.unwrap_or_else(|never| match never {});
        let date = date::at(clock::now());
        response.headers_mut().insert(header::DATE, date);
        if is_last {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        let body = response.extensions_mut().remove::<ResponseCharge>();
        let charges = Arc::new((own, body.map(|ResponseCharge(charge)| charge)));
        Ok(response.map(|body| MonitoredBody::new(body, guard, charges)))
    }
}

/// Length of a request head in bytes, about.
fn head_length(request: &Request<Incoming>) -> usize {
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len());
    let target = request.uri().path_and_query();
    headers.sum::<usize>() + target.map_or(0, |target| target.as_str().len())
}

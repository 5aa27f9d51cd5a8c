//! One connection, from accept to close: HTTP/1 or HTTP/2, detected from the client's first bytes.

use std::{
    convert::Infallible,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};
use tower::Service;

use super::{
    activity::{ConnectionActivity, MonitoredBody, MonitoredIo, TimeoutAction},
    config::Limits,
    shutdown::{Phase, Shutdown},
};
use crate::identity::Peer;

/// The smallest buffer that hyper accepts for HTTP/1.
const HTTP1_MIN_BUFFER: usize = 8192;

/// Serves connections. Shared by all of them.
pub(super) struct ConnectionHandler {
    builder: auto::Builder<TokioExecutor>,
    limits: Limits,
    shutdown: Shutdown,
    /// Connections that [`Phase::Aborting`] ended.
    aborted: AtomicUsize,
}

impl ConnectionHandler {
    pub(super) fn new(limits: &Limits, shutdown: &Shutdown) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // ConnectionActivity does it; hyper's timer would also close idle connections.
            .header_read_timeout(None)
            .max_buf_size(limits.max_header_bytes.max(HTTP1_MIN_BUFFER));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_concurrent_streams)
            .max_header_list_size(limits.max_header_bytes.try_into().unwrap_or(u32::MAX))
            .keep_alive_interval(limits.keep_alive_interval)
            .keep_alive_timeout(limits.write_timeout);
        Self {
            builder,
            limits: limits.clone(),
            shutdown: shutdown.clone(),
            aborted: AtomicUsize::new(0),
        }
    }

    /// The number of connections that the shutdown aborted so far.
    pub(super) fn aborted(&self) -> usize {
        self.aborted.load(Ordering::Relaxed)
    }

    /// Serves one connection until it ends.
    pub(super) async fn serve<S>(&self, socket: S, peer: Peer, router: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let activity = ConnectionActivity::new();
        let io = TokioIo::new(MonitoredIo::new(socket, activity.clone()));
        let requests = activity.clone();
        let service = service_fn(move |request| call(&router, &requests, peer, request));
        let mut connection = pin!(self.builder.serve_connection(io, service));
        let mut draining = pin!(self.shutdown.reached(Phase::Draining));
        let mut aborting = pin!(self.shutdown.reached(Phase::Aborting));
        let mut closing = false;
        let mut next_check = pin!(sleep_until(Instant::now()));
        loop {
            tokio::select! {
                // The shutdown first: a response that is ready then carries `connection: close`.
                biased;
                () = draining.as_mut(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = aborting.as_mut() => {
                    self.aborted.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                outcome = connection.as_mut() => {
                    if let Err(error) = outcome {
                        tracing::debug!(%peer, error, "connection ended");
                    }
                    return;
                }
                () = next_check.as_mut() => match activity.check(&self.limits) {
                    TimeoutAction::CheckAt(time) => next_check.as_mut().reset(time),
                    TimeoutAction::Close if !closing => {
                        closing = true;
                        connection.as_mut().graceful_shutdown();
                        // Time for an HTTP/2 client to acknowledge; a dead one never does.
                        next_check.as_mut().reset(Instant::now() + self.limits.write_timeout);
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
}

/// Passes a request to the router, and monitors its response.
fn call(
    router: &Router,
    activity: &ConnectionActivity,
    peer: Peer,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<MonitoredBody>, Infallible>> + use<> {
    let guard = activity.begin_request();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.clone().call(request);
    async move {
        let response = response.await?;
        Ok(response.map(|body| MonitoredBody::new(body, guard)))
    }
}

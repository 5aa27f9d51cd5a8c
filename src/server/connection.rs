//! One connection: HTTP/1 or HTTP/2, whichever the client begins with, from accept to close.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tower::Service;

use super::activity::{PacedBody, PacedIo, Pulse, Verdict};
use super::config::Limits;
use super::shutdown::{Phase, Shutdown};
use crate::identity::Peer;

/// hyper takes no smaller buffer for HTTP/1.
const HTTP1_SMALLEST_BUFFER: usize = 8192;

/// What all connections share.
pub(super) struct Terms {
    builder: auto::Builder<TokioExecutor>,
    limits: Limits,
    shutdown: Shutdown,
    /// Connections that ended by [`Phase::Cutting`].
    cut: AtomicUsize,
}

impl Terms {
    pub(super) fn new(limits: &Limits, shutdown: &Shutdown) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // The pulse does that; hyper's timer would cut idle connections as well.
            .header_read_timeout(None)
            .max_buf_size(limits.max_header_bytes.max(HTTP1_SMALLEST_BUFFER));
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
            cut: AtomicUsize::new(0),
        }
    }

    /// How many connections were cut by the end of the server so far.
    pub(super) fn cut(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }

    /// Serves one connection to its end.
    pub(super) async fn serve<S>(&self, socket: S, peer: Peer, router: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let pulse = Pulse::new();
        let io = TokioIo::new(PacedIo::new(socket, pulse.clone()));
        let requests = pulse.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let ticket = requests.request();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = router.clone().call(request);
            async move {
                let answer = answer.await?;
                Ok::<_, Infallible>(answer.map(|body| PacedBody::new(body, ticket)))
            }
        });
        let mut connection = pin!(self.builder.serve_connection(io, service));
        let mut draining = pin!(self.shutdown.reached(Phase::Draining));
        let mut cutting = pin!(self.shutdown.reached(Phase::Cutting));
        let mut closing = false;
        let mut look_again = pin!(sleep_until(Instant::now()));
        loop {
            tokio::select! {
                // The end first: an answer that is ready as well then says `connection: close`.
                biased;
                () = draining.as_mut(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = cutting.as_mut() => {
                    self.cut.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                outcome = connection.as_mut() => {
                    if let Err(error) = outcome {
                        tracing::debug!(%peer, error, "connection ended");
                    }
                    return;
                }
                () = look_again.as_mut() => match pulse.verdict(&self.limits) {
                    Verdict::Wait(moment) => look_again.as_mut().reset(moment),
                    Verdict::Idle if !closing => {
                        closing = true;
                        connection.as_mut().graceful_shutdown();
                        // For an HTTP/2 client to take leave; a dead one never does.
                        look_again.as_mut().reset(Instant::now() + self.limits.write_timeout);
                    }
                    Verdict::Idle => return,
                    Verdict::Cut(fault) => {
                        tracing::debug!(%peer, %fault, "connection cut");
                        return;
                    }
                },
            }
        }
    }
}

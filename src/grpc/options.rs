//! Options of the gRPC front end.

use std::time::Duration;

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};

/// A future that completes when the daemon starts to shut down.
pub type Draining = Shared<BoxFuture<'static, ()>>;

/// Limits and intervals of the gRPC front end. `server::Limits::grpc_options` has the defaults.
#[derive(Clone, Debug)]
pub struct GrpcOptions {
    /// Longest duration of a request; a shorter deadline of the client takes precedence.
    pub request_timeout: Duration,
    /// Longest request message, in bytes.
    pub max_request_bytes: usize,
    /// Longest text of RestoreRules, in bytes, over all messages of the stream.
    pub max_rules_bytes: usize,
    /// Longest response message, in bytes. Pages end before they exceed it.
    pub max_response_bytes: usize,
    /// Interval between readiness checks while a client watches the health service.
    pub health_interval: Duration,
    /// Most concurrent watches of the health service. Clients without a valid credential may use half of
    /// them.
    pub max_health_watches: usize,
    /// Completes when the daemon starts to shut down. From then on the health service reports
    /// NOT_SERVING, and its watches end. See [`GrpcOptions::until`].
    pub draining: Draining,
}

// === impl GrpcOptions ===

impl GrpcOptions {
    /// The same options with this future as [`draining`](Self::draining).
    #[must_use]
    pub fn until(self, draining: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            draining: draining.boxed().shared(),
            ..self
        }
    }
}

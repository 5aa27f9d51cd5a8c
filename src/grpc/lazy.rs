//! A service that is made for its first request.

use std::{
    convert::Infallible,
    error::Error,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::{Status, body::Body, server::NamedService};
use tower::{Service, ServiceExt};

/// A service that `M` makes for its first request. Clones share it.
pub(super) struct Lazy<S, M> {
    make: M,
    /// `None` if it could not be made.
    service: Arc<OnceLock<Option<S>>>,
}

// === impl Lazy ===

impl<S, M, E> Lazy<S, M>
where
    S: Clone + NamedService,
    M: Fn() -> Result<S, E>,
    E: Error,
{
    pub(super) fn new(make: M) -> Self {
        Self {
            make,
            service: Arc::default(),
        }
    }

    fn get(&self) -> Option<S> {
        let service = self.service.get_or_init(|| {
            let made = (self.make)();
            made.inspect_err(|error| tracing::error!(%error, service = S::NAME, "unavailable"))
                .ok()
        });
        service.clone()
    }
}

impl<S, M: Clone> Clone for Lazy<S, M> {
    fn clone(&self) -> Self {
        Self {
            make: self.make.clone(),
            service: self.service.clone(),
        }
    }
}

impl<S: NamedService, M> NamedService for Lazy<S, M> {
    const NAME: &'static str = S::NAME;
}

impl<S, M, E> Service<Request<Body>> for Lazy<S, M>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + NamedService
        + Send
        + 'static,
    S::Future: Send,
    M: Fn() -> Result<S, E>,
    E: Error,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.get();
        Box::pin(async move {
            match service {
                Some(service) => service.oneshot(request).await,
                None => Ok(Status::unavailable("the log says why").into_http()),
            }
        })
    }
}

//! State of the methods, and how each of them is run.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, TryStreamExt};
use tonic::{Request, Response, Status};

use super::{
    metadata::{self, ContextFields},
    options::GrpcOptions,
    status,
};
use crate::{
    app::{App, RequestContext},
    model::Error,
};

/// Shared state of all methods. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) app: App,
    pub(super) options: Arc<GrpcOptions>,
}

/// Result of a method.
pub(super) type Reply<T> = Result<Response<T>, Status>;

/// Response stream of a method.
pub(super) type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

// === impl Api ===

impl Api {
    /// Runs a method that returns one response.
    pub(super) async fn unary<Q, A, F>(
        &self,
        request: Request<Q>,
        method: impl FnOnce(Self, Q, RequestContext) -> F,
    ) -> Reply<A>
    where
        Q: ContextFields,
        F: Future<Output = Result<A, Error>>,
    {
        let (metadata, extensions, message) = request.into_parts();
        let headers = metadata.as_ref();
        let context = metadata::context(headers, &extensions, self.options.request_timeout);
        let allowed = match Q::IS_WRITE {
            true => metadata::require_own_site(headers, &extensions),
            false => Ok(()),
        };
        let result = match allowed.and_then(|()| metadata::with_fields(context, &message)) {
            Ok(context) => method(self.clone(), message, context).await,
            Err(error) => Err(error),
        };
        result
            .map(Response::new)
            .map_err(|error| status::status(&error, metadata::request_id(headers)))
    }

    /// Runs a method that returns a stream of responses. The first error ends the stream.
    pub(super) async fn streaming<Q, A, S, F>(
        &self,
        request: Request<Q>,
        method: impl FnOnce(Self, Q, RequestContext) -> F,
    ) -> Reply<ResponseStream<A>>
    where
        Q: ContextFields,
        S: Stream<Item = Result<A, Error>> + Send + 'static,
        F: Future<Output = Result<S, Error>>,
    {
        let id = metadata::request_id(request.metadata().as_ref()).map(str::to_owned);
        let stream = self.unary(request, method).await?;
        Ok(stream.map(|stream| -> ResponseStream<A> {
            Box::pin(stream.map_err(move |error| status::status(&error, id.as_deref())))
        }))
    }
}

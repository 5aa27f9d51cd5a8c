//! What all routes of the front end have in common: bodies that are not taken are refused, error
//! responses get the id of the request, and responses are compressed.
//!
//! One layer for all of it, and not one of `axum::middleware`: axum clones and boxes all that is below
//! a layer for each request.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
    routing::Route,
};
use tower::Service;

use super::{
    compression, no_body,
    problem::{self, Problem, REQUEST_ID},
};

/// A route with what all have in common.
#[derive(Clone)]
pub(super) struct Complete(pub(super) Route);

impl Service<Request> for Complete {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self(route) = self.clone();
        Box::pin(serve(request, route))
    }
}

async fn serve(request: Request, mut route: Route) -> Result<Response, Infallible> {
    let is_gzip_accepted = compression::is_accepted(request.headers());
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut response = match no_body::check(request).await {
        Ok(request) => route.call(request).await?,
        Err(error) => Problem::from(error).into_response(),
    };
    problem::add_request_id(&mut response, id);
    compression::compress(&mut response, is_gzip_accepted);
    Ok(response)
}

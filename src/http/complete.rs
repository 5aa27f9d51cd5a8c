//! What all routes of the front end have in common: bodies that are not taken are refused, error
//! responses get the id of the request, and responses are compressed.

use std::convert::Infallible;

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
    routing::Route,
};
use http::Version;
use tower::Service;

use super::{
    compression, no_body,
    problem::{self, Problem, REQUEST_ID},
};

/// Serves a request to a route.
pub(super) async fn serve(request: Request, mut route: Route) -> Result<Response, Infallible> {
    // HTTP/1.0 needs the length of the body, which is known at its end.
    let is_gzip_accepted =
        request.version() > Version::HTTP_10 && compression::is_accepted(request.headers());
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut response = match no_body::check(request).await {
        Ok(request) => route.call(request).await?,
        Err(error) => Problem::from(error).into_response(),
    };
    problem::add_request_id(&mut response, id);
    compression::compress(&mut response, is_gzip_accepted);
    Ok(response)
}

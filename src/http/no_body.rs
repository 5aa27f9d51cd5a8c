//! Requests without a body. A body that a request does not take is refused rather than ignored: its
//! sender expects an effect.

use std::pin::pin;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::Method;
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};

use super::{problem::Problem, state::Api};
use crate::model::Error;

/// The body of a POST that takes none.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoBody;

/// Middleware that refuses bodies of methods that never take one here.
pub(super) async fn by_method(request: Request, next: Next) -> Response {
    if !matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::DELETE
    ) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match refuse(body).await {
        Ok(()) => next.run(Request::from_parts(parts, Body::empty())).await,
        Err(error) => Problem::from(error)
            .of_request(&parts.headers)
            .into_response(),
    }
}

async fn refuse(body: Body) -> Result<(), Error> {
    if body.is_end_stream() {
        return Ok(());
    }
    let is_empty =
        body.size_hint().lower() == 0 && pin!(Limited::new(body, 0).collect()).await.is_ok();
    is_empty
        .then_some(())
        .ok_or_else(|| Error::invalid("", "this request takes no body"))
}

impl FromRequest<Api> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        refuse(request.into_body()).await?;
        Ok(Self)
    }
}

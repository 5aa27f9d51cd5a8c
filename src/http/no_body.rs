//! Requests without a body. A body that a request does not take is refused rather than ignored: its
//! sender expects an effect.

use std::pin::pin;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
};
use http::Method;
use http_body::Body as _;
use http_body_util::{BodyExt, Limited};

use super::{problem::Problem, state::Api};
use crate::model::Error;

/// The body of a POST that takes none.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoBody;

/// Refuses the bodies of methods that never take one here.
pub(super) async fn check(mut request: Request) -> Result<Request, Error> {
    let takes_none = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::DELETE
    );
    if takes_none && !request.body().is_end_stream() {
        refuse(std::mem::take(request.body_mut())).await?;
    }
    Ok(request)
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

//! Builds the request context of an HTTP request.

use std::{convert::Infallible, time::Duration};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::{HeaderMap, Method, request::Parts};
use utoipa::{
    IntoParams,
    openapi::path::{Parameter, ParameterIn},
};

use super::{
    extract,
    problem::{Problem, REQUEST_ID},
    query::{FromQuery, NoParams, Params, query},
    sender,
    state::Api,
};
use crate::{
    app::{CompleteRequest, RequestContext, RequestId, Resumed},
    identity::{Peer, Protocol, Session},
    model::Reason,
    trace::RequestSpan,
};

/// The head of a request, as far as it describes the sender.
///
/// The deadline counts from when the body was complete: the body has a time limit of its own.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    peer: Option<Peer>,
    request_id: RequestId,
    span: RequestSpan,
    complete: Option<CompleteRequest>,
    session: Option<Session>,
    timeout: Duration,
    resumed: bool,
}

/// A write: its sender, `dry_run`, and the other query parameters.
#[derive(Debug)]
pub(super) struct Write<Q = NoParams> {
    caller: Caller,
    dry_run: bool,
    query: Q,
}

query! {
    /// Query parameters of every write.
    WriteQuery {
        /// If true, the request is validated against the current state but nothing is changed. The
        /// response is that of the real request: if it has a body with the resource, the body
        /// contains the resulting state, and `changed` is true if something would change. Checks
        /// that only the kernel makes (whether it has a scheduler, an interface or a route) are not
        /// made. Rules are only validated. Default: false.
        dry_run: bool,
    }
}

// === impl Caller ===

impl Caller {
    /// Reads the head of a request.
    pub(super) fn of(parts: &Parts, api: &Api) -> Self {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>();
        Self {
            peer: peer.map(|ConnectInfo(peer)| *peer),
            request_id: parts
                .extensions
                .get::<RequestId>()
                .cloned()
                .unwrap_or_else(|| from_header(&parts.headers)),
            span: parts.extensions.get().cloned().unwrap_or_default(),
            complete: parts.extensions.get().cloned(),
            session: parts.extensions.get().cloned(),
            timeout: api.options.request_timeout,
            resumed: parts.extensions.get::<Resumed>().is_some(),
        }
    }

    /// The context of the request.
    pub(super) fn context(self) -> RequestContext {
        RequestContext {
            peer: self.peer,
            protocol: Protocol::Http,
            span: self.span,
            resumed: self.resumed,
            ..RequestContext::of(self.complete, self.session, self.request_id, self.timeout)
        }
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Infallible> {
        Ok(Self::of(parts, api))
    }
}

/// The id in the header, for routers that are served without the daemon's middleware.
fn from_header(headers: &HeaderMap) -> RequestId {
    let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    RequestId::new(id.unwrap_or("-"))
}

// === impl Write ===

impl<Q> Write<Q> {
    /// The context of the request, and the query parameters.
    pub(super) fn start(self) -> (RequestContext, Q) {
        let context = self.caller.context().with_dry_run(self.dry_run);
        (context, self.query)
    }
}

impl<Q: FromQuery> FromRequestParts<Api> for Write<Q> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        sender::check(parts).map_err(|error| match (&parts.method, error.reason) {
            (&Method::PATCH, Reason::UnsupportedMediaType) => {
                extract::with_accept_patch(error.into())
            }
            _ => error.into(),
        })?;
        let mut params = Params::of(parts);
        let query = Q::from_query(&mut params);
        let WriteQuery { dry_run } = WriteQuery::from_query(&mut params);
        params.finish()?;
        Ok(Self {
            caller: Caller::of(parts, api),
            dry_run: dry_run.unwrap_or_default(),
            query,
        })
    }
}

impl<Q: FromQuery> IntoParams for Write<Q> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Q::describe()
            .into_iter()
            .chain(WriteQuery::describe())
            .collect()
    }
}

//! Builds the request context of an HTTP request.

use std::{convert::Infallible, time::Duration};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::{HeaderMap, request::Parts};

use super::{Api, problem::REQUEST_ID};
use crate::{
    app::{RequestContext, RequestId},
    identity::Peer,
};

/// What the head of a request says about its sender.
///
/// The deadline starts with [`Caller::context`]: after the body has been read, which has a time
/// limit of its own.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    peer: Option<Peer>,
    request_id: RequestId,
    timeout: Duration,
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
            timeout: api.options.request_timeout,
        }
    }

    /// The context of the request, whose deadline starts now.
    pub(super) fn context(self) -> RequestContext {
        RequestContext {
            peer: self.peer,
            ..RequestContext::new(self.request_id, self.timeout)
        }
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Infallible> {
        Ok(Self::of(parts, api))
    }
}

/// The id that the header carries, for routers that are served without the daemon's middleware.
fn from_header(headers: &HeaderMap) -> RequestId {
    let id = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    RequestId::new(id.unwrap_or("-"))
}

//! The request context: caller, deadline and options of a request.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::identity::{Peer, Principal};

/// Who sends a request, and with which options it runs. Each front end builds it in one place; it is
/// the first argument of every use case.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// On whose behalf the request runs.
    pub principal: Principal,
    /// The other end of the connection; `None` for the daemon's own requests.
    pub peer: Option<Peer>,
    /// Identifies the request in the response and in the log.
    pub request_id: RequestId,
    /// Deadline of the request. An operation that has not started by then does not start.
    pub deadline: Instant,
    /// Largest accepted age of a read's result (`Cache-Control: max-age`, RFC 9111); zero for a
    /// fresh read.
    pub max_age: Duration,
    /// Whether a write is only planned: it is checked against the kernel's current state and
    /// returns the state that it would produce, but the kernel is not changed.
    pub dry_run: bool,
}

/// The id of a request: 1 to 128 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    text: Arc<str>,
    generated: bool,
}

// === impl RequestContext ===

impl RequestContext {
    /// The context of an anonymous request that may take `timeout` from now on, without cached
    /// results and without dry run.
    pub fn new(request_id: RequestId, timeout: Duration) -> Self {
        Self {
            principal: Principal::Anonymous,
            peer: None,
            request_id,
            deadline: Instant::now() + timeout,
            max_age: Duration::ZERO,
            dry_run: false,
        }
    }

    /// The same context, accepting a read result up to `max_age` old.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        Self { max_age, ..self }
    }

    /// The same context, with writes planned only.
    #[must_use]
    pub fn with_dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }
}

// === impl RequestId ===

impl RequestId {
    /// An id with this text, which the caller has checked.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self {
            text: text.into(),
            generated: false,
        }
    }

    /// The id of a request whose client sent none.
    pub fn generated(text: impl Into<Arc<str>>) -> Self {
        Self {
            generated: true,
            ..Self::new(text)
        }
    }

    /// Whether the client sent no id.
    pub fn is_generated(&self) -> bool {
        self.generated
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

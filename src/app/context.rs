//! The request context: caller, deadline and options of a request.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    audit::Caller,
    budget::Budget,
    identity::{Peer, Principal, Protocol, Session},
    trace::RequestSpan,
    watch::Author,
};

/// Who sends a request, and with which options it runs. Each front end builds it in one place; it is
/// the first argument of every use case.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// On whose behalf the request runs.
    pub principal: Arc<Principal>,
    /// What the principal was recognised by; `None` for the daemon's own requests.
    pub session: Option<Session>,
    /// The other end of the connection; `None` for the daemon's own requests.
    pub peer: Option<Peer>,
    /// The protocol by which it came.
    pub protocol: Protocol,
    /// Identifies the request in the response and in the log.
    pub request_id: RequestId,
    /// When the request was complete.
    pub start: Instant,
    /// Deadline of the request. An operation that has not started by then does not start.
    pub deadline: Instant,
    /// Largest accepted age of a read's result (`Cache-Control: max-age`, RFC 9111); zero for a
    /// fresh read.
    pub max_age: Duration,
    /// Whether a write is only planned: it is checked against the kernel's current state and
    /// returns the state that it would produce, but the kernel is not changed.
    pub dry_run: bool,
    /// Whether it repeats a write whose outcome is unknown: what is as requested already counts as done.
    pub resumed: bool,
    /// The span of the request in the log.
    pub span: RequestSpan,
    /// The memory that the requests of its connection may use; `None` without a connection.
    pub budget: Option<Budget>,
}

/// A request that is complete, as an extension of it.
#[derive(Clone, Debug)]
pub struct CompleteRequest {
    /// When it was complete: its deadline counts from then.
    pub at: Instant,
    /// The memory that the requests of its connection may use.
    pub budget: Budget,
}

/// Marks a request that is [resumed](RequestContext::resumed), as an extension of it.
#[derive(Clone, Copy, Debug)]
pub struct Resumed;

/// The id of a request: 1 to 128 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    text: Arc<str>,
    generated: bool,
}

// === impl RequestContext ===

impl RequestContext {
    /// On whose behalf the request changes something, for watchers.
    pub(super) fn author(&self) -> Author {
        Author {
            principal: self.principal.clone(),
            request_id: self.request_id.shared(),
            protocol: self.protocol,
        }
    }

    /// The context of a request of this process itself, which may do everything and may take `timeout`
    /// from now on, without cached results and without dry run.
    pub fn new(request_id: RequestId, timeout: Duration) -> Self {
        Self::since(Instant::now(), request_id, timeout)
    }

    /// The context of a client's request. Its time counts from when it was complete, if that is known.
    /// Without a session, the principal is anonymous and may do nothing.
    pub fn of(
        request: Option<CompleteRequest>,
        session: Option<Session>,
        request_id: RequestId,
        timeout: Duration,
    ) -> Self {
        let (start, budget) = match request {
            None => (Instant::now(), None),
            Some(CompleteRequest { at, budget }) => (at, Some(budget)),
        };
        let principal = session.as_ref().map(|session| session.principal.clone());
        Self {
            principal: principal.unwrap_or_else(Principal::anonymous),
            session,
            budget,
            ..Self::since(start, request_id, timeout)
        }
    }

    fn since(start: Instant, request_id: RequestId, timeout: Duration) -> Self {
        Self {
            principal: Principal::system(),
            session: None,
            peer: None,
            protocol: Protocol::Internal,
            request_id,
            start,
            deadline: start + timeout,
            max_age: Duration::ZERO,
            dry_run: false,
            resumed: false,
            span: RequestSpan::default(),
            budget: None,
        }
    }

    /// Who sent the request, for the audit trail.
    pub fn caller(&self) -> Caller {
        Caller {
            principal: self.principal.clone(),
            peer: self.peer,
            request_id: Some(self.request_id.text.clone()),
            protocol: self.protocol,
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

    /// The text, shared.
    pub fn shared(&self) -> Arc<str> {
        self.text.clone()
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

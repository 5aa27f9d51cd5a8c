//! Who asks, and what it may do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    App, RequestContext,
    attempt::{event, event_of},
};
use crate::{
    audit::{Caller, Event},
    clock,
    identity::{BrowserSession, Principal, Session, Verb, unauthenticated},
    model::{Error, Reason, ServiceKey, Sha256},
};

/// Checks from time to time whether the credential of a streamed response is still valid.
#[derive(Debug)]
pub(super) struct SessionWatch {
    session: Option<Session>,
    checked: Instant,
}

/// Time after which the credential of a stream is checked again.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(2);

// === impl SessionWatch ===

impl SessionWatch {
    /// A watch over the credential of a request, which was valid when the request began.
    pub(super) fn of(context: &RequestContext) -> Self {
        Self {
            session: context.session.clone(),
            checked: clock::now(),
        }
    }

    /// An error if the stream must end.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        let now = clock::now();
        match &self.session {
            Some(session) if now.saturating_duration_since(self.checked) >= CHECK_INTERVAL => {
                self.checked = now;
                session.check()
            }
            _ => Ok(()),
        }
    }
}

/// Whether a principal may do something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// Whether it may.
    pub allowed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl App {
    /// The principal of a request.
    pub fn principal(&self, context: &RequestContext) -> Result<Arc<Principal>, Error> {
        match context.principal.grant {
            Some(_) => Ok(context.principal.clone()),
            None => Err(unauthenticated()),
        }
    }

    /// Whether the principal of a request may do something: on a service; without one, on all of them.
    pub fn permission(
        &self,
        context: &RequestContext,
        verb: Verb,
        service: Option<ServiceKey>,
    ) -> Result<Permission, Error> {
        let principal = self.principal(context)?;
        let reason = principal.may(verb, service, false).err();
        Ok(Permission {
            allowed: reason.is_none(),
            reason: reason.map(|error| error.detail),
        })
    }

    /// Opens a session of a browser for the bearer token of a request; `None` in a dry run.
    pub fn open_session(&self, context: &RequestContext) -> Result<Option<BrowserSession>, Error> {
        let opened = self.opened_session(context);
        let event = event_of(context, "open_session", &opened);
        let is_recorded = match &opened {
            Ok(_) => !context.dry_run,
            Err(error) => error.reason != Reason::InvalidArgument,
        };
        if is_recorded {
            self.audit_log().record(event);
        }
        opened
    }

    fn opened_session(&self, context: &RequestContext) -> Result<Option<BrowserSession>, Error> {
        self.principal(context)?;
        let session = context.session.as_ref().ok_or_else(unauthenticated)?;
        let authenticator = &session.authenticator;
        authenticator.open_session(session, context.dry_run)
    }

    /// Ends a session of a browser, if there is one with this cookie.
    pub fn end_session(&self, context: &RequestContext, cookie: &Sha256) {
        let session = context.session.as_ref().filter(|_| !context.dry_run);
        let Some(principal) = session.and_then(|own| own.authenticator.end_session(cookie)) else {
            return;
        };
        // Who has the cookie of a session is its principal, whatever the request has beside it.
        let caller = Caller {
            principal,
            ..context.caller()
        };
        self.audit_log().record(Event {
            caller,
            ..event(context, "end_session".into())
        });
    }
}

//! Who asks, and what it may do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{App, RequestContext};
use crate::{
    clock,
    identity::{Principal, Session, Verb, unauthenticated},
    model::{Error, ServiceKey},
};

/// Checks from time to time whether the credential of a streamed response is still valid.
#[derive(Debug)]
pub(super) struct SessionWatch {
    session: Option<Session>,
    checked: Instant,
}

/// Time after which the credential of a stream is checked again.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

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
}

//! A write as it is recorded in the audit trail.

use std::borrow::Cow;

use super::RequestContext;
use crate::{
    audit::{AuditLog, Changes, Event, Outcome},
    clock,
    executor::{Failure, Write},
    model::{Error, Op, ServerKey, ServiceKey},
};

/// What is known of a write before it runs.
pub(super) struct Attempt {
    name: &'static str,
    service: Option<ServiceKey>,
    server: Option<ServerKey>,
}

// === impl Attempt ===

impl Attempt {
    pub(super) fn of(write: &impl Write) -> Self {
        Self {
            name: write.name(),
            service: write.service(),
            server: write.server(),
        }
    }

    /// The service that the write is about, if it is about one.
    pub(super) fn service(&self) -> Option<ServiceKey> {
        self.service
    }

    /// Records a write that has ended; `unstored` says why not all that it has changed is stored. A dry run is
    /// recorded only if it is refused.
    pub(super) fn record<W: Write>(
        &self,
        audit: &AuditLog,
        context: &RequestContext,
        outcome: &Result<W::Outcome, Error>,
        unstored: Option<&Error>,
    ) {
        let reason = outcome.as_ref().err().map(|error| error.reason);
        let ended = Outcome::of(reason);
        if context.dry_run && !ended.is_refusal() {
            return;
        }
        let event = Event {
            service: self.service,
            server: self.server,
            outcome: ended,
            reason,
            ..event(context, self.name.into())
        };
        audit.record(match outcome {
            Err(_) => event,
            Ok(outcome) => {
                let changes = Changes::of(W::changes(outcome));
                let failure = W::failure(outcome);
                Event {
                    service: self
                        .service
                        .or_else(|| common(W::ops(outcome), Op::service)),
                    server: self.server.or_else(|| common(W::ops(outcome), Op::server)),
                    outcome: match executed(&changes, failure) {
                        Outcome::Success if unstored.is_some() => Outcome::Partial,
                        outcome => outcome,
                    },
                    reason: failure
                        .map(|failure| failure.error)
                        .or(unstored)
                        .map(|error| error.reason),
                    changes,
                    ..event
                }
            }
        });
    }

    /// Records a write whose outcome the daemon does not live to see.
    pub(super) fn record_unfinished(&self, audit: &AuditLog, context: &RequestContext) {
        if !context.dry_run {
            audit.record(Event {
                service: self.service,
                server: self.server,
                outcome: Outcome::Unknown,
                ..event(context, self.name.into())
            });
        }
    }
}

/// An event of a request that ends now, successfully.
pub(super) fn event(context: &RequestContext, operation: Cow<'static, str>) -> Event {
    // The time of the poll may be that of its begin.
    clock::has_blocked();
    Event {
        caller: context.caller(),
        operation,
        service: None,
        server: None,
        changes: Changes::None,
        outcome: Outcome::Success,
        reason: None,
        start: Some(context.start),
        end: clock::now(),
    }
}

/// An event of a request that ends now with this result.
pub(super) fn event_of<T>(
    context: &RequestContext,
    operation: &'static str,
    result: &Result<T, Error>,
) -> Event {
    let reason = result.as_ref().err().map(|error| error.reason);
    Event {
        outcome: Outcome::of(reason),
        reason,
        ..event(context, operation.into())
    }
}

/// How a change that was executed has ended.
fn executed(changes: &Changes, failure: Option<Failure<'_>>) -> Outcome {
    match (failure, changes) {
        (None, _) => Outcome::Success,
        (Some(_), Changes::One(..) | Changes::Several(_)) => Outcome::Partial,
        (Some(failure), _) if failure.is_unknown => Outcome::Unknown,
        (Some(_), _) => Outcome::Failure,
    }
}

/// What the operations are about, if all are about the same.
pub(super) fn common<'a, K: Copy + PartialEq>(
    ops: impl Iterator<Item = &'a Op>,
    key: impl Fn(&'a Op) -> Option<K>,
) -> Option<K> {
    let mut keys = ops.map(key);
    let first = keys.next()??;
    keys.all(|key| key == Some(first)).then_some(first)
}

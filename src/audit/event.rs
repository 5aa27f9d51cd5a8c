//! What is recorded, before it is text. Requests make events, so they are cheap to make.

use std::{borrow::Cow, sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};

use crate::{
    identity::{Peer, Principal, Protocol},
    model::{Op, Reason, ServerKey, ServiceKey},
};

/// Something to record.
#[derive(Clone, Debug)]
pub struct Event {
    /// Who did it.
    pub caller: Caller,
    /// What was requested, such as `update_server`. The operations of [`changes`](Self::changes)
    /// replace it.
    pub operation: Cow<'static, str>,
    /// The service that it is about, if it is about one.
    pub service: Option<ServiceKey>,
    /// The server that it is about, if it is about one.
    pub server: Option<ServerKey>,
    /// What was changed.
    pub changes: Changes,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed or was refused.
    pub reason: Option<Reason>,
    /// When the request was complete; `None` if that is unknown.
    pub start: Option<Instant>,
    /// When it ended.
    pub end: Instant,
}

/// Who sent a request, and how.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The principal.
    pub principal: Arc<Principal>,
    /// The other end of the connection.
    pub peer: Option<Peer>,
    /// The id of the request; `None` if there is none.
    pub request_id: Option<Arc<str>>,
    /// The protocol.
    pub protocol: Protocol,
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Success,
    /// Some commands of a restore were executed, and others were not.
    Partial,
    /// It failed. What was executed has been reverted, unless the log says otherwise.
    Failure,
    /// The principal may not do it. Nothing was changed.
    Denied,
    /// The request has no valid credential. Nothing was changed.
    Unauthenticated,
    /// It was begun, and the daemon does not know how it ended.
    #[serde(other)]
    Unknown,
}

/// What an event changed.
#[derive(Clone, Debug, Default)]
#[allow(
    clippy::large_enum_variant,
    reason = "most events have one operation; a box would be a further allocation for each"
)]
pub enum Changes {
    /// Nothing.
    #[default]
    None,
    /// One operation, and the one that restores what was before.
    One(Op, Option<Op>),
    /// Several operations.
    Several(Operations),
    /// The end of a restore, with the numbers of its commands.
    Restore {
        /// Commands of the text, or of the difference.
        commands: usize,
        /// Commands that were executed.
        done: usize,
        /// Commands that the kernel rejected.
        refused: usize,
    },
    /// Records that were lost.
    Lost(u64),
    /// Requests that are not recorded one by one.
    Requests(u64),
}

/// Several operations in the order of their execution.
#[derive(Clone, Debug)]
pub struct Operations {
    /// The first operations, each with the one that restores what was before.
    pub(super) first: Vec<(Op, Option<Op>)>,
    /// Whether there are further ones.
    pub(super) more: bool,
    /// Names of all operations, equal ones that follow each other counted.
    pub(super) names: Vec<(&'static str, usize)>,
}

/// Operations that are kept of an event. As JSON, fewer fill the space that a record has for them.
const MAX_KEPT: usize = 64;
/// Names of operations that are kept of an event.
const MAX_NAMES: usize = 32;
/// Stands for the names that are not kept.
const OTHERS: &str = "others";

// === impl Outcome ===

impl Outcome {
    /// The name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failure => "failure",
            Self::Denied => "denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Unknown => "unknown",
        }
    }

    /// How a request ended that succeeded, or that failed for this reason.
    pub fn of(reason: Option<Reason>) -> Self {
        match reason {
            None => Self::Success,
            Some(Reason::PermissionDenied) => Self::Denied,
            Some(Reason::Unauthenticated) => Self::Unauthenticated,
            Some(_) => Self::Failure,
        }
    }

    /// Whether the request was refused. Anybody can cause such events in any number.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Denied | Self::Unauthenticated)
    }
}

// === impl Changes ===

impl Changes {
    /// The operations, each with the one that restores what was before.
    pub fn of<'a>(operations: impl Iterator<Item = (&'a Op, Option<&'a Op>)>) -> Self {
        let mut operations = operations;
        let owned = |(op, undo): (&Op, Option<&Op>)| (op.clone(), undo.cloned());
        let Some(first) = operations.next() else {
            return Self::None;
        };
        let Some(second) = operations.next() else {
            let (op, undo) = owned(first);
            return Self::One(op, undo);
        };
        let mut kept = Operations {
            first: Vec::new(),
            more: false,
            names: Vec::new(),
        };
        for (op, undo) in [first, second].into_iter().chain(operations) {
            kept.name(op.name());
            match kept.first.len() < MAX_KEPT {
                true => kept.first.push(owned((op, undo))),
                false => kept.more = true,
            }
        }
        Self::Several(kept)
    }

    /// Memory in bytes beside the value itself.
    pub(super) fn size(&self) -> usize {
        /// A text of a setting, at most.
        const TEXT: usize = 256;
        let text = |op: &Op| match op {
            Op::SetSetting { .. } => TEXT,
            Op::CreateService(_, _, stored) | Op::SetStored(_, stored) => stored.bytes(),
            _ => 0,
        };
        match self {
            Self::None | Self::Restore { .. } | Self::Lost(_) | Self::Requests(_) => 0,
            Self::One(op, _) => 2 * text(op),
            Self::Several(Operations { first, names, .. }) => {
                let texts: usize = first.iter().map(|(op, _)| 2 * text(op)).sum();
                texts + size_of_val(first.as_slice()) + size_of_val(names.as_slice())
            }
        }
    }
}

// === impl Operations ===

impl Operations {
    fn name(&mut self, name: &'static str) {
        let is_full = self.names.len() >= MAX_NAMES;
        match self.names.last_mut() {
            Some((last, count)) if *last == name || *last == OTHERS => *count += 1,
            _ if is_full => self.names.push((OTHERS, 1)),
            _ => self.names.push((name, 1)),
        }
    }
}

//! What a watcher has received, and what follows.

use std::sync::Arc;

use super::{
    event::{Event, Object, Present},
    revision::{NO_EPOCH, Revision},
    state::State,
};

/// The position of a watcher. Nothing is kept for it: it takes events from the log that all share, and
/// the state from the table, object by object.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// What the watcher knows, as far as it knows it, is the state of this revision.
    at: Revision,
    /// How far it has received the state; `None` if it has all of it.
    walk: Option<Walk>,
    /// Whether it has received something.
    is_live: bool,
}

/// A walk through the objects in their order. The watcher knows those up to the last one, and gets the
/// events about these alone.
#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    last: Option<Object>,
}

/// What a watcher gets next.
#[derive(Debug)]
pub enum Step {
    /// A part of the state.
    State(Vec<Present>),
    /// The state is complete.
    Complete,
    /// Events in their order.
    Events(Vec<Arc<Event>>),
    /// The events after its revision are not known any more. The whole state follows.
    Resync(Resync),
    /// Nothing for now.
    Nothing,
}

/// Why a watcher gets the whole state again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    /// The revision is of another epoch: the daemon was started, the kernel module was loaded again, or
    /// the network namespace was replaced.
    EpochChanged,
    /// The changes since the revision are not known (any more).
    RevisionExpired,
    /// The watcher has read too slowly.
    TooSlow,
}

/// Events and objects that a watcher takes at once: about 30 KB as text.
const AT_ONCE: usize = 24;

// === impl Resync ===

impl Resync {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EpochChanged => "EPOCH_CHANGED",
            Self::RevisionExpired => "REVISION_EXPIRED",
            Self::TooSlow => "TOO_SLOW",
        }
    }
}

// === impl Cursor ===

impl Cursor {
    /// A watcher that knows the state of this revision.
    pub fn at(revision: Revision) -> Self {
        Self {
            at: revision,
            walk: None,
            is_live: false,
        }
    }

    /// A watcher that knows nothing, and gets the whole state.
    pub fn at_begin(revision: Revision) -> Self {
        Self {
            at: revision,
            walk: Some(Walk::default()),
            is_live: false,
        }
    }

    /// The revision up to which the watcher has received everything.
    pub fn revision(&self) -> Revision {
        self.at
    }

    /// Whether the watcher has received the whole state.
    pub fn is_complete(&self) -> bool {
        self.walk.is_none()
    }

    /// Takes what follows.
    pub(super) fn advance(&mut self, state: &State) -> Step {
        let Some(table) = state.table() else {
            return Step::Nothing;
        };
        let now = state.revision();
        if let Some(reason) = self.is_lost(state) {
            *self = Self::at_begin(now);
            return Step::Resync(reason);
        }
        self.is_live = true;
        if self.at != now {
            let next: Vec<_> = state.log().after(self.at.counter).take(AT_ONCE).collect();
            self.at.counter += next.len() as u64;
            let events = next.into_iter().filter(|event| match self.walk {
                None => true,
                Some(Walk { last }) => Some(event.object()) <= last,
            });
            return Step::Events(events.cloned().collect());
        }
        let Some(walk) = &mut self.walk else {
            return Step::Nothing;
        };
        let objects = table.after(walk.last, AT_ONCE, state.kept());
        match objects.last() {
            Some(last) => {
                walk.last = Some(last.resource.object());
                Step::State(objects)
            }
            None => {
                self.walk = None;
                Step::Complete
            }
        }
    }

    fn is_lost(&self, state: &State) -> Option<Resync> {
        let now = state.revision();
        let was_continuous = (state.log().first()..=now.counter).contains(&self.at.counter);
        if self.at.epoch == NO_EPOCH {
            Some(Resync::RevisionExpired)
        } else if self.at.epoch != now.epoch {
            Some(Resync::EpochChanged)
        } else if was_continuous {
            None
        } else if self.is_live && !state.is_forgotten(self.at) {
            Some(Resync::TooSlow)
        } else {
            Some(Resync::RevisionExpired)
        }
    }
}

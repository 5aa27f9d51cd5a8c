//! What a watcher has received, and what follows.

use std::sync::Arc;

use super::{
    event::{Event, Object, Present},
    record::{Record, RecordKey},
    revision::{NO_EPOCH, Revision},
    state::State,
    table::LastSeen,
};

/// The position of a watcher. Nothing is kept for it: it takes events from the log that all share, and
/// the state from the table, object by object.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug, Default)]
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

/// Events and objects that a watcher takes at once, as a number of servers: about 30 KB as text.
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
            let next = state.log().after(self.at.counter);
            let next = at_once(next, |event| event.weight());
            self.at.counter += next.len() as u64;
            let events = next.into_iter().filter(|event| match &self.walk {
                None => true,
                Some(Walk { last }) => Some(event.object()) <= *last,
            });
            return Step::Events(events.cloned().collect());
        }
        let Some(walk) = &mut self.walk else {
            return Step::Nothing;
        };
        let objects = walk.next(table, state);
        match objects.last() {
            Some(last) => {
                walk.last = Some(last.object());
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

// === impl Walk ===

impl Walk {
    /// The objects that follow: those of the table, and then the records.
    fn next(&self, table: &LastSeen, state: &State) -> Vec<Present> {
        let (entry, record) = match &self.last {
            Some(Object::Recorded(key)) => (None, Some(key)),
            Some(Object::Listed(entry)) => (Some(*entry), None),
            None => (None, None),
        };
        if record.is_none() {
            let listed = table.after(entry, AT_ONCE, state.kept());
            if !listed.is_empty() {
                return listed;
            }
        }
        let records = at_once(state.records().after(record), |(_, record)| record.weight());
        let present =
            |(key, record): (&RecordKey, &Record)| Present::Recorded(key.clone(), record.clone());
        records.into_iter().map(present).collect()
    }
}

/// The first ones, at least one, as long as all of them do not weigh too much.
fn at_once<T>(all: impl Iterator<Item = T>, weight: impl Fn(&T) -> usize) -> Vec<T> {
    let mut total = 0;
    all.take_while(|one| {
        let is_first = total == 0;
        total += weight(one);
        is_first || total <= AT_ONCE
    })
    .collect()
}

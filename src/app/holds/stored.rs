//! What is stored of the holds: whether that is possible, and what to do if it is not up to date.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::all::All;
use crate::{
    executor::{Held, HoldStore, Holds, Member},
    model::{Drain, Error, Hold, HoldId, Ramp},
    store::{Collection, Store, StoreError, WriteBatch},
};

/// The store, as the executor knows it.
#[derive(Debug)]
pub(super) struct InStore(pub Store);

/// What holds a server, by `SERVICE/SERVER`.
pub(super) const HELD: Collection<Held> = Collection::new("held-weights");

// === impl InStore ===

impl HoldStore for InStore {
    /// A change that changes nothing is as durable as any other.
    fn prove(&self) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        batch.delete(&HELD, "proof")?;
        Ok(self.0.write_blocking(batch)?)
    }
}

/// The error for a change of the holds that the kernel has executed and the store does not have.
pub(super) fn executed(error: &StoreError, client: Error) -> Error {
    let detail = format!(
        "{error}; the kernel was changed, but what has changed of drains, ramps and the weights that they hold is \
         not stored"
    );
    Error { detail, ..client }.with_hint(
        "see the log of the daemon, which stores it as soon as that is possible; read the current state before \
         retrying",
    )
}

/// Releases servers from drains and ramps that have ended or are not there: the daemon has ended before that was
/// stored.
pub(super) fn release_ended(holds: &Holds, held: &[(Member, Held)], all: &All) {
    let is_active = |id: &HoldId| {
        let drain = all.drains.get(id).is_some_and(Drain::is_active);
        drain || all.ramps.get(id).is_some_and(Ramp::is_active)
    };
    for (member, held) in held {
        let ended = |hold: &&Hold| !hold.is_lasting() && !is_active(&hold.id);
        for hold in held.holds.iter().filter(ended) {
            let (service, server) = member;
            tracing::warn!(
                %service, %server, hold = %hold.id,
                "a weight was held by a drain or ramp that has ended; the server gets its intended one"
            );
            holds.remove(*member, hold.id);
        }
    }
}

/// A fallback server that the daemon adds or has added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredFallback {
    /// When it was stored.
    pub since: Timestamp,
}

/// The fallback servers, by `SERVICE/SERVER`.
pub(super) const FALLBACK: Collection<StoredFallback> = Collection::new("fallback-servers");

/// The member of a key.
pub(super) fn parse_member(key: &str) -> Option<Member> {
    let (service, server) = key.split_once('/')?;
    Some((service.parse().ok()?, server.parse().ok()?))
}

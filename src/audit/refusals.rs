//! The limits on records of refused requests: of those without a valid credential, which anybody can send in any
//! number, and of those that a principal may not make.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::event::{Event, Outcome};
use crate::identity::{PeerKey, Principal};

/// Counts the refused requests, from one minute to the next.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// When the minute began.
    begin: Option<Instant>,
    /// Requests without a valid credential in it.
    peers: Counts<Option<PeerKey>>,
    /// Requests in it that their principal may not make.
    principals: Counts<Arc<Principal>>,
}

/// Requests that were counted only.
#[derive(Debug)]
pub(super) struct Omitted {
    /// Whose requests they are; `None` without a valid credential, and of principals that are not
    /// distinguished.
    pub(super) principal: Option<Arc<Principal>>,
    /// How each of them ended.
    pub(super) outcome: Outcome,
    /// How many there are.
    pub(super) count: u64,
}

/// Requests by their sender.
#[derive(Debug)]
struct Counts<K> {
    senders: Vec<(K, u64)>,
    /// Of all other senders.
    others: u64,
}

/// The time that the limits apply to.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Requests without a valid credential of a peer that are recorded one by one, per [`WINDOW`].
pub(super) const MAX_OF_PEER: u64 = 10;
/// Requests that a principal may not make and that are recorded one by one, per [`WINDOW`]. By default, one
/// principal needs weeks to fill all files of the trail with them.
pub(super) const MAX_OF_PRINCIPAL: u64 = 60;
/// Peers, and principals, that are distinguished within a [`WINDOW`]. All others share one limit.
pub(super) const MAX_SENDERS: usize = 64;

// === impl Refusals ===

impl Refusals {
    /// Whether an event is recorded on its own. If not, it is a refused request that is counted.
    pub(super) fn admit(&mut self, event: &Event) -> bool {
        let caller = &event.caller;
        let is_within = match event.outcome {
            Outcome::Unauthenticated => {
                self.peers.count(caller.peer.map(PeerKey::of)) <= MAX_OF_PEER
            }
            Outcome::Denied => self.principals.count(caller.principal.clone()) <= MAX_OF_PRINCIPAL,
            _ => return true,
        };
        self.begin.get_or_insert(event.end);
        is_within
    }

    /// The requests that were counted only, once they are known for the whole minute. They are not counted any
    /// more.
    pub(super) fn take_due(&mut self, at: Instant) -> Vec<Omitted> {
        let is_over = |begin| at.saturating_duration_since(begin) >= WINDOW;
        match self.begin.is_some_and(is_over) {
            true => self.take(),
            false => Vec::new(),
        }
    }

    /// The same at any time. A new minute begins with the next refused request.
    pub(super) fn take(&mut self) -> Vec<Omitted> {
        let Self {
            begin: _,
            peers,
            principals,
        } = std::mem::take(self);
        let beyond = |count: u64, limit| count.saturating_sub(limit);
        let counts = peers.senders.iter().map(|(_, count)| *count);
        let unauthenticated = Omitted {
            principal: None,
            outcome: Outcome::Unauthenticated,
            count: counts
                .chain([peers.others])
                .map(|count| beyond(count, MAX_OF_PEER))
                .sum(),
        };
        let known = principals.senders.into_iter();
        let known = known.map(|(principal, count)| (Some(principal), count));
        let denied = known.chain([(None, principals.others)]);
        let denied = denied.map(|(principal, count)| Omitted {
            principal,
            outcome: Outcome::Denied,
            count: beyond(count, MAX_OF_PRINCIPAL),
        });
        let all = [unauthenticated].into_iter().chain(denied);
        all.filter(|omitted| omitted.count > 0).collect()
    }
}

// === impl Counts ===

impl<K: PartialEq> Counts<K> {
    /// Counts a request; returns the number of those that share its limit.
    fn count(&mut self, sender: K) -> u64 {
        let known = self.senders.iter().position(|(known, _)| *known == sender);
        let index = known.or_else(|| {
            let index = self.senders.len();
            (index < MAX_SENDERS).then(|| self.senders.push((sender, 0)))?;
            Some(index)
        });
        let known = index.and_then(|index| self.senders.get_mut(index));
        let count = known.map_or(&mut self.others, |(_, count)| count);
        *count = count.saturating_add(1);
        *count
    }
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self {
            senders: Vec::new(),
            others: 0,
        }
    }
}

//! The limit on records of requests without a valid credential: anybody can send them in any number.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::identity::{Peer, PeerKey};

/// Counts the requests without a valid credential, from one minute to the next.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// When the minute began.
    begin: Option<Instant>,
    /// Requests of each peer in it.
    peers: HashMap<Option<PeerKey>, u32>,
    /// Requests of all other peers.
    others: u32,
    /// Requests that were counted only.
    omitted: u64,
}

/// The time that the limit applies to.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Requests of a peer that are recorded one by one, per [`WINDOW`].
pub(super) const MAX_RECORDS: u32 = 10;
/// Peers that are distinguished within a [`WINDOW`]. All others share one limit.
pub(super) const MAX_PEERS: usize = 64;

// === impl Refusals ===

impl Refusals {
    /// Whether a request is recorded on its own; otherwise it is counted.
    pub(super) fn admit(&mut self, peer: Option<Peer>, at: Instant) -> bool {
        if self.is_over(at) {
            self.peers.clear();
            self.others = 0;
            self.begin = Some(at);
        }
        let key = peer.map(PeerKey::of);
        let is_known = self.peers.len() < MAX_PEERS || self.peers.contains_key(&key);
        let count = match is_known {
            true => self.peers.entry(key).or_default(),
            false => &mut self.others,
        };
        *count = count.saturating_add(1);
        let is_recorded = *count <= MAX_RECORDS;
        self.omitted += u64::from(!is_recorded);
        is_recorded
    }

    /// The number of requests that were counted only, once it is known for the whole minute. They are not
    /// counted any more.
    pub(super) fn take_due(&mut self, at: Instant) -> Option<u64> {
        match self.is_over(at) {
            true => self.take(),
            false => None,
        }
    }

    /// The same at any time.
    pub(super) fn take(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.omitted)).filter(|omitted| *omitted > 0)
    }

    fn is_over(&self, at: Instant) -> bool {
        self.begin
            .is_none_or(|begin| at.saturating_duration_since(begin) >= WINDOW)
    }
}

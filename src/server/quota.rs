//! Quotas: token buckets for the reads, writes and bytes of each principal, and for the failed logins of each
//! peer, so that one client cannot use up what all share. `docs/limits.md` says what is counted.

mod account;
mod accounts;
mod body;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use governor::clock::Clock;

use self::{
    account::{Account, Rules, UsedUp},
    accounts::Accounts,
    body::Metered,
};
use super::config::QuotaLimits;
use crate::{
    clock,
    identity::{PeerKey, Principal},
    model::{Error, Reason},
};

/// Whether an operation changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Read,
    Write,
}

/// On whose account a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum QuotaKey {
    /// A principal that was recognised, by any credential.
    Principal(Arc<Principal>),
    /// A client that was not.
    Peer(PeerKey),
}

/// The clock of the task that is polled, which costs no system call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PollClock;

/// The quotas of all clients.
pub(super) struct Quotas<C: Clock = PollClock> {
    rules: Rules,
    clock: C,
    principals: Accounts<QuotaKey, C>,
    peers: Accounts<PeerKey, C>,
}

/// Counts the bytes of an admitted request.
pub(super) struct ByteMeter<C: Clock = PollClock>(Arc<Account<C>>);

// === impl Quotas ===

impl Quotas {
    /// The quotas of a configuration.
    pub(super) fn new(limits: &QuotaLimits) -> Self {
        Self::with_clock(limits, PollClock)
    }
}

impl<C: Clock + Clone> Quotas<C> {
    fn with_clock(limits: &QuotaLimits, clock: C) -> Self {
        let rules = Rules::new(limits);
        Self {
            principals: Accounts::new(&rules, &clock),
            peers: Accounts::new(&rules, &clock),
            rules,
            clock,
        }
    }

    /// Whether there are quotas of requests or bytes.
    pub(super) fn limit_requests(&self) -> bool {
        self.rules.limit_requests()
    }

    /// Admits a request, or refuses it with `RATE_LIMITED` and the time after which a retry can succeed.
    /// Returns what counts its bytes, if there is a quota of them.
    pub(super) fn admit(
        &self,
        key: &QuotaKey,
        operation: Operation,
    ) -> Result<Option<ByteMeter<C>>, Error> {
        if !self.rules.limit_requests() {
            return Ok(None);
        }
        let account = match key {
            QuotaKey::Principal(..) => self.principals.find(key, &self.rules, &self.clock),
            QuotaKey::Peer(peer) => self.peers.find(peer, &self.rules, &self.clock),
        };
        let taken = account.take(operation == Operation::Write);
        taken.map_err(|UsedUp { what, wait }| {
            let detail = format!("the quota of {} of {} is used up", what.name(), key.owner());
            let hint = format!("retry later, or raise {} of the daemon", what.key());
            refusal(detail, wait).with_hint(hint)
        })?;
        Ok(self.rules.limit_bytes().then_some(ByteMeter(account)))
    }

    /// Counts a failed login. An error replaces the answer to it: `RATE_LIMITED` if the peer has failed too
    /// often. A valid credential is accepted all the same, so nobody can lock out others behind
    /// the same address.
    pub(super) fn login_failed(&self, peer: PeerKey) -> Result<(), Error> {
        if !self.rules.limit_logins() {
            return Ok(());
        }
        let account = self.peers.find(&peer, &self.rules, &self.clock);
        account.take_login().map_err(|UsedUp { wait, .. }| {
            let detail = "too many failed logins from this peer";
            refusal(detail.to_owned(), wait)
                .with_hint("correct the credential; valid ones are accepted at any time")
        })
    }
}

fn refusal(detail: String, wait: Duration) -> Error {
    Error::new(Reason::RateLimited, detail).with_retry_after(wait)
}

// === impl QuotaKey ===

impl QuotaKey {
    /// Who has the quota, in errors.
    fn owner(&self) -> &'static str {
        match self {
            Self::Principal(..) => "this principal",
            Self::Peer(PeerKey::V4(_)) => "clients without credential of this address",
            Self::Peer(PeerKey::V6(_)) => "clients without credential of this /64 network",
            Self::Peer(PeerKey::User(_)) => "processes without credential of this user",
        }
    }
}

// === impl ByteMeter ===

impl ByteMeter {
    /// The body of the request or of its response, whose bytes are counted as they pass.
    pub(super) fn count(&self, body: Body) -> Body {
        Body::new(Metered::new(body, self.0.clone()))
    }
}

// === impl PollClock ===

impl Clock for PollClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        clock::now()
    }
}

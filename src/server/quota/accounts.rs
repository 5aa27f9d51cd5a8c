//! The accounts of all principals or peers, bounded in number.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use governor::clock::{Clock, Reference};

use super::account::{Account, Rules};

/// Most accounts of principals, and of peers: about 0.5 KiB each. Those beyond share one account.
pub(super) const MAX_ACCOUNTS: usize = 4096;

/// Shortest time between two searches for accounts that can be removed, in nanoseconds.
const SEARCH_INTERVAL: u64 = 1_000_000_000;

/// The accounts.
pub(super) struct Accounts<K, C: Clock>(Mutex<Known<K, C>>);

struct Known<K, C: Clock> {
    accounts: HashMap<K, Arc<Account<C>>>,
    /// The account of all others.
    shared: Arc<Account<C>>,
    searched: Option<C::Instant>,
}

impl<K: Clone + Eq + Hash, C: Clock + Clone> Accounts<K, C> {
    pub(super) fn new(rules: &Rules, clock: &C) -> Self {
        Self(Mutex::new(Known {
            accounts: HashMap::new(),
            shared: Arc::new(Account::new(rules, clock)),
            searched: None,
        }))
    }

    /// The account of a key. If there are too many, those that are like new ones are removed; if none is,
    /// it is the one that all others share.
    pub(super) fn find(&self, key: &K, rules: &Rules, clock: &C) -> Arc<Account<C>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = known.accounts.get(key) {
            return account.clone();
        }
        if known.accounts.len() >= MAX_ACCOUNTS {
            known.remove_recovered(rules, clock);
        }
        if known.accounts.len() >= MAX_ACCOUNTS {
            return known.shared.clone();
        }
        let account = Arc::new(Account::new(rules, clock));
        known.accounts.insert(key.clone(), account.clone());
        account
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().accounts.len()
    }
}

impl<K: Eq + Hash, C: Clock + Clone> Known<K, C> {
    fn remove_recovered(&mut self, rules: &Rules, clock: &C) {
        let now = clock.now();
        let is_recent = |last: C::Instant| now.duration_since(last).as_u64() < SEARCH_INTERVAL;
        if !self.searched.is_some_and(is_recent) {
            self.searched = Some(now);
            // One that a request in progress has is not removed: its bytes would be lost.
            self.accounts.retain(|_, account| {
                Arc::strong_count(account) > 1 || !account.has_recovered(rules)
            });
        }
    }
}

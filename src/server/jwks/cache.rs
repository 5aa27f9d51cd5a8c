//! Tokens that have been verified: a signature takes longer to verify than most requests take.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use crate::{identity::jwt::KeySet, model::Sha256};

/// Most tokens that are kept, about 300 bytes each.
const CAPACITY: usize = 1024;

/// Of a token. No token is kept.
pub(super) type TokenDigest = Sha256;

/// The principal of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtIdentity<G> {
    /// The name.
    pub name: Arc<str>,
    /// The grant of the first rule that matches; `None` if none does.
    pub grant: Option<G>,
    /// When the token ends.
    pub expires: SystemTime,
}

/// The tokens.
#[derive(Debug)]
pub(super) struct VerifiedTokens<G>(Mutex<HashMap<TokenDigest, Verified<G>>>);

/// A verified token.
#[derive(Clone, Debug)]
pub(super) struct Verified<G> {
    /// Index of its issuer.
    pub(super) issuer: usize,
    /// The keys that verified it. With others it is verified again.
    pub(super) keys: Arc<KeySet>,
    pub(super) identity: JwtIdentity<G>,
}

pub(super) fn digest_of(token: &str) -> TokenDigest {
    Sha256::of(token.as_bytes())
}

impl<G> Default for VerifiedTokens<G> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<G: Clone> VerifiedTokens<G> {
    /// A token that the current keys of its issuer have verified, and that has not ended.
    pub(super) fn find(
        &self,
        token: &TokenDigest,
        now: SystemTime,
        keys: impl FnOnce(usize) -> Option<Arc<KeySet>>,
    ) -> Option<JwtIdentity<G>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let verified = known.get(token)?;
        let keys = keys(verified.issuer)?;
        let is_valid = now < verified.identity.expires && Arc::ptr_eq(&keys, &verified.keys);
        is_valid.then(|| verified.identity.clone())
    }

    /// Keeps a token. If there are too many, those that have ended are removed, or else all.
    pub(super) fn insert(&self, token: TokenDigest, now: SystemTime, verified: Verified<G>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CAPACITY {
            known.retain(|_, verified| now < verified.identity.expires);
        }
        if known.len() >= CAPACITY {
            known.clear();
        }
        known.insert(token, verified);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn verified(keys: &Arc<KeySet>, expires: SystemTime) -> Verified<()> {
        let identity = JwtIdentity {
            name: "a".into(),
            grant: None,
            expires,
        };
        Verified {
            issuer: 0,
            keys: keys.clone(),
            identity,
        }
    }

    #[test]
    fn a_token_is_known_until_it_ends_or_the_keys_change() {
        let (tokens, keys) = (VerifiedTokens::default(), Arc::new(KeySet::default()));
        let now = SystemTime::now();
        let end = now + Duration::from_secs(1);
        let token = digest_of("a");
        tokens.insert(token, now, verified(&keys, end));
        let find = |now, keys: Option<&Arc<KeySet>>| tokens.find(&token, now, |_| keys.cloned());
        assert!(find(now, Some(&keys)).is_some());
        assert!(find(end, Some(&keys)).is_none());
        assert!(find(now, None).is_none());
        assert!(find(now, Some(&Arc::new(KeySet::default()))).is_none());
        assert!(
            tokens
                .find(&digest_of("b"), now, |_| Some(keys.clone()))
                .is_none()
        );
    }

    #[test]
    fn the_number_of_tokens_is_bounded() {
        let (tokens, keys) = (VerifiedTokens::default(), Arc::new(KeySet::default()));
        let now = SystemTime::now();
        for number in 0..3 * CAPACITY {
            let token = digest_of(&number.to_string());
            tokens.insert(token, now, verified(&keys, now + Duration::from_secs(1)));
            assert!(tokens.len() <= CAPACITY);
            assert!(tokens.find(&token, now, |_| Some(keys.clone())).is_some());
        }
    }
}

//! Authentication by JSON Web Tokens: the keys of the issuers, read in the background, and the tokens
//! that they verify.

mod cache;
mod fetch;
mod source;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::SystemTime};

use thiserror::Error;

pub use cache::JwtIdentity;
#[cfg(feature = "otel")]
pub(super) use fetch::tls_config;
pub use fetch::{FetchError, check};

use crate::identity::jwt::{
    Issuer, JwtError, JwtIssuer, KeyLocation, MAX_TOKEN_BYTES, unverified_issuer, verify,
};
use cache::{Verified, VerifiedTokens};
use source::{KeySource, Timing};

/// An issuer and its keys.
type Provider<G> = (Issuer<G>, Arc<KeySource>);

/// Verifies the tokens of some issuers. Dropping it ends the reads of keys.
#[derive(Debug)]
pub struct JwtAuthenticator<G> {
    issuers: Vec<Provider<G>>,
    verified: VerifiedTokens<G>,
}

/// Why a token is refused. The text has nothing of the token.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum JwtRefusal {
    /// The token is invalid.
    #[error(transparent)]
    Token(#[from] JwtError),
    /// The keys of the issuer have not been read yet, or are too old. A retry may succeed.
    #[error("the keys of the issuer are not available; the log of the daemon says why")]
    NoKeys,
}

// === impl JwtAuthenticator ===

impl<G: Clone> JwtAuthenticator<G> {
    /// Starts to read the keys of these issuers, if there is a runtime. Keys that `previous` has read are
    /// kept. Of several issuers with the same name, the first one is used.
    pub fn new(issuers: Vec<JwtIssuer<G>>, previous: Option<&Self>) -> Self {
        Self::with_timing(issuers, previous, Timing::of)
    }

    fn with_timing(
        issuers: Vec<JwtIssuer<G>>,
        previous: Option<&Self>,
        timing: impl Fn(&KeyLocation) -> Timing,
    ) -> Self {
        let known = previous.map_or(&[][..], |previous| previous.issuers.as_slice());
        let known = known.iter().map(|(_, source)| source.clone());
        let mut sources: Vec<Arc<KeySource>> = known.collect();
        let issuers = issuers.into_iter().map(|JwtIssuer { issuer, keys }| {
            let known = sources.iter().find(|source| *source.location() == keys);
            let source = known.cloned().unwrap_or_else(|| {
                let timing = timing(&keys);
                Arc::new(KeySource::start(keys, timing))
            });
            sources.push(source.clone());
            (issuer, source)
        });
        Self {
            issuers: issuers.collect(),
            verified: VerifiedTokens::default(),
        }
    }

    /// Whether there is no issuer.
    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// The principal of a token. A token whose key is unknown waits up to 2 seconds for the keys to be
    /// read again; others do not wait.
    pub async fn authenticate(&self, token: &str) -> Result<JwtIdentity<G>, JwtRefusal> {
        match self.authenticate_now(token) {
            Err(refusal) if refusal.may_pass() => {}
            outcome => return outcome,
        }
        let (_, (_, source)) = self.issuer_of(token)?;
        let last = source.last_read();
        match self.authenticate_now(token) {
            // They may have been read before `last`.
            Err(refusal) if refusal.may_pass() && source.has_newer_than(last).await => {
                self.authenticate_now(token)
            }
            outcome => outcome,
        }
    }

    /// The principal of a token, by the keys that are known.
    pub fn authenticate_now(&self, token: &str) -> Result<JwtIdentity<G>, JwtRefusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwtError::TooLong.into());
        }
        let now = SystemTime::now();
        let digest = cache::digest_of(token);
        let keys_of = |index: usize| {
            self.issuers
                .get(index)
                .and_then(|(_, source)| source.keys())
        };
        if let Some(identity) = self.verified.find(&digest, now, keys_of) {
            return Ok(identity);
        }
        let (index, (issuer, source)) = self.issuer_of(token)?;
        let keys = source.keys().ok_or(JwtRefusal::NoKeys)?;
        let token = verify(token, issuer, &keys, now)?;
        let identity = JwtIdentity {
            name: token.name.into(),
            grant: token.grant.cloned(),
            expires: token.expires,
        };
        let verified = Verified {
            issuer: index,
            keys,
            identity: identity.clone(),
        };
        self.verified.insert(digest, now, verified);
        Ok(identity)
    }

    /// The issuer that a token names, with its index.
    fn issuer_of(&self, token: &str) -> Result<(usize, &Provider<G>), JwtError> {
        let name = unverified_issuer(token)?;
        let mut all = self.issuers.iter().enumerate();
        let found = all.find(|(_, (issuer, _))| issuer.issuer == name);
        found.ok_or(JwtError::Issuer)
    }
}

// === impl JwtRefusal ===

impl JwtRefusal {
    /// Whether the token may be valid with other keys of its issuer.
    fn may_pass(self) -> bool {
        matches!(self, Self::NoKeys | Self::Token(JwtError::UnknownKey))
    }
}

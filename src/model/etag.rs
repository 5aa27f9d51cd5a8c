//! ETags: fingerprints of configurations.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    str::FromStr,
};

use foldhash::fast::FixedState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Error, Reason};

/// A fingerprint of a resource's configuration. Counters, rates and connections are not part of it:
/// two responses with the same ETag have the same configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Etag {
    /// What the fingerprint covers.
    pub scope: EtagScope,
    hash: u64,
}

/// What an [`Etag`] covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EtagScope {
    /// A virtual service without its real servers: `s-…`.
    Service,
    /// A virtual service with its real servers, in the kernel's order: `t-…`.
    ServiceWithServers,
    /// A real server, the timeouts, or another resource without parts: `r-…`.
    Resource,
}

/// The hash function of fingerprints. Results are stable within one build of the daemon; after an
/// upgrade, clients have to read again. A listing computes one for every real server, so speed
/// matters.
pub type Fingerprint = <FixedState as BuildHasher>::Hasher;

/// An empty fingerprint.
pub fn fingerprint() -> Fingerprint {
    FixedState::with_seed(0).build_hasher()
}

// === impl Etag ===

impl Etag {
    /// The error of a precondition in `field` with ETags that this server did not issue for a
    /// resource: they cannot match.
    pub fn not_issued(field: &str, tags: &[&str]) -> Error {
        let tags: Vec<_> = tags.iter().map(|tag| format!("{tag:?}")).collect();
        let detail = format!(
            "{field}: {} is not an ETag issued by this server for a resource",
            tags.join(", ")
        );
        Error::new(Reason::RevisionMismatch, detail)
            .with_violation(field, "no ETag in the request can match")
            .with_hint(
                "read the resource and send its ETag; the ETag of a list cannot be used for a write",
            )
    }

    /// The fingerprint of `value`.
    pub fn of(scope: EtagScope, value: &impl Hash) -> Self {
        Self::compute(scope, |hasher| value.hash(hasher))
    }

    /// The fingerprint of everything that `hash` writes to the hasher.
    pub fn compute(scope: EtagScope, hash: impl FnOnce(&mut Fingerprint)) -> Self {
        let mut hasher = fingerprint();
        hash(&mut hasher);
        Self {
            scope,
            hash: hasher.finish(),
        }
    }

    /// The text form, ASCII. Written without `fmt`, because a listing has one per real server.
    pub fn text(self) -> [u8; 18] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"r-0000000000000000";
        text[0] = match self.scope {
            EtagScope::Service => b's',
            EtagScope::ServiceWithServers => b't',
            EtagScope::Resource => b'r',
        };
        for (i, byte) in self.hash.to_be_bytes().into_iter().enumerate() {
            text[2 + 2 * i] = DIGITS[usize::from(byte >> 4)];
            text[3 + 2 * i] = DIGITS[usize::from(byte & 15)];
        }
        text
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl FromStr for Etag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || {
            Error::invalid(
                "etag",
                format!("{text:?} is not an ETag issued by this server"),
            )
        };
        let (scope, hash) = text.split_once('-').ok_or_else(bad)?;
        let scope = match scope {
            "s" => EtagScope::Service,
            "t" => EtagScope::ServiceWithServers,
            "r" => EtagScope::Resource,
            _ => return Err(bad()),
        };
        if hash.len() != 16 {
            return Err(bad());
        }
        Ok(Self {
            scope,
            hash: u64::from_str_radix(hash, 16).map_err(|_| bad())?,
        })
    }
}

impl Serialize for Etag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Etag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

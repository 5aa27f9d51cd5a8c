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
    /// A declared table: `d-…`.
    Table,
    /// The operations of an apply: `p-…`.
    Plan,
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
    #[inline]
    pub fn of(scope: EtagScope, value: &impl Hash) -> Self {
        Self::compute(scope, |hasher| value.hash(hasher))
    }

    /// The fingerprint of everything that `hash` writes to the hasher.
    #[inline]
    pub fn compute(scope: EtagScope, hash: impl FnOnce(&mut Fingerprint)) -> Self {
        let mut hasher = fingerprint();
        hash(&mut hasher);
        Self {
            scope,
            hash: hasher.finish(),
        }
    }

    /// The text form, ASCII. Written without `fmt`, because a listing has one per real server.
    #[inline]
    pub fn text(self) -> [u8; 18] {
        let mut text = *b"r-0000000000000000";
        text[0] = match self.scope {
            EtagScope::Service => b's',
            EtagScope::ServiceWithServers => b't',
            EtagScope::Resource => b'r',
            EtagScope::Table => b'd',
            EtagScope::Plan => b'p',
        };
        let [high, low] = [self.hash >> 32, self.hash & 0xffff_ffff].map(hexadecimal);
        text[2..10].copy_from_slice(&high);
        text[10..].copy_from_slice(&low);
        text
    }
}

/// The 8 hexadecimal digits of a 32-bit number, all at once.
#[inline]
fn hexadecimal(number: u64) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // One digit per byte.
    let mut digits = (number | number << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // 1 in each byte that is 10 or more.
    let letters = (digits + 6 * ONES) >> 4 & ONES;
    let to_letter = u64::from(b'a' - 10 - b'0');
    (digits + u64::from(b'0') * ONES + letters * to_letter).to_be_bytes()
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
            "d" => EtagScope::Table,
            "p" => EtagScope::Plan,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_all_digits() {
        for hash in [0, u64::MAX, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210] {
            let etag = Etag {
                scope: EtagScope::Resource,
                hash,
            };
            assert_eq!(etag.to_string(), format!("r-{hash:016x}"));
        }
    }
}

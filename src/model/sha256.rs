//! SHA-256 digests (FIPS 180-4): of certificates, of tokens, and of what is too long to compare.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};

/// A SHA-256. In text, 64 hexadecimal digits; a colon may follow each pair, as
/// `openssl x509 -fingerprint -sha256` prints it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Sha256([u8; Sha256::LENGTH]);

/// A text that is not a SHA-256. The message does not contain the text, which could be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256: expected 64 hexadecimal digits, with or without a colon between pairs")]
pub struct Sha256Error;

// === impl Sha256 ===

impl Sha256 {
    const LENGTH: usize = 32;

    /// The SHA-256 of these bytes.
    #[cfg(any(feature = "client", feature = "daemon"))]
    pub fn of(bytes: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        // A SHA-256 has this length.
        Self(digest.as_ref().try_into().unwrap_or_default())
    }

    /// The SHA-256 of several parts, each with its length, so that no others have the same.
    #[cfg(feature = "daemon")]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        Self(context.finish().as_ref().try_into().unwrap_or_default())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

/// The value of two hexadecimal digits.
fn byte(pair: &[u8]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    match *pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    }
}

impl FromStr for Sha256 {
    type Err = Sha256Error;

    fn from_str(text: &str) -> Result<Self, Sha256Error> {
        let pairs: Vec<&[u8]> = match text.contains(':') {
            true => text.as_bytes().split(|byte| *byte == b':').collect(),
            false => text.as_bytes().chunks(2).collect(),
        };
        let bytes: Option<Vec<u8>> = pairs.into_iter().map(byte).collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(Sha256Error)
    }
}

impl TryFrom<String> for Sha256 {
    type Error = Sha256Error;

    fn try_from(text: String) -> Result<Self, Sha256Error> {
        text.parse()
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(all(test, any(feature = "client", feature = "daemon")))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn a_digest_is_hexadecimal_with_or_without_colons() {
        // FIPS 180-4, the example "abc".
        let plain = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let pairs: Vec<_> = plain.as_bytes().chunks(2).collect();
        let colons = String::from_utf8(pairs.join(&b':')).unwrap();
        for text in [
            plain,
            &plain.to_uppercase(),
            &colons,
            &colons.to_uppercase(),
        ] {
            let digest: Sha256 = text.parse().unwrap();
            assert_eq!(digest, Sha256::of(b"abc"), "{text}");
            assert_eq!(digest.to_string(), plain);
        }
        let doubled = colons.replace(':', "::");
        for text in [
            "",
            "abc",
            &plain[1..],
            &format!("{plain}0"),
            &format!("{plain}00"),
            &format!("+{}", &plain[1..]),
            &format!("{colons}:"),
            &doubled,
            &plain.replace('b', "+"),
            &plain.replace("ba", "é"),
        ] {
            assert_eq!(text.parse::<Sha256>(), Err(Sha256Error), "{text:?}");
        }
    }
}

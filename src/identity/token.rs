//! Bearer tokens of the policy (RFC 6750).
//!
//! A token is `ipvsd_` and 64 hexadecimal digits: 256 random bits. Scanners for secrets recognise the
//! prefix. The policy has its SHA-256: a token with 256 random bits needs no slow hash.

use std::{fmt, str::FromStr};

use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::digest::sha256;

/// The SHA-256 of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct TokenHash([u8; 32]);

/// The text is not a SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256: 64 hexadecimal digits, as ipvsctl token hash prints them")]
pub struct InvalidHash;

/// What every token begins with.
pub const TOKEN_PREFIX: &str = "ipvsd_";

// === impl TokenHash ===

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }

    /// Whether these are its bytes.
    pub fn is(&self, bytes: &[u8; 32]) -> bool {
        self.0.ct_eq(bytes).into()
    }

    /// Compares in a time that does not depend on the hashes.
    pub fn matches(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl FromStr for TokenHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let mut hash = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(InvalidHash);
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| InvalidHash)?;
            let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = u8::from_str_radix(digits, 16)
                .ok()
                .filter(|_| is_hex)
                .ok_or(InvalidHash)?;
        }
        Ok(Self(hash))
    }
}

impl TryFrom<String> for TokenHash {
    type Error = InvalidHash;

    fn try_from(text: String) -> Result<Self, InvalidHash> {
        text.parse()
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha256_in_hexadecimal() {
        // FIPS 180-4, the example "abc".
        let hash = TokenHash::of("abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(hash));
        assert!(hash.matches(&text.parse().unwrap()));
        assert!(!hash.matches(&TokenHash::of("abcd")));
    }

    #[test]
    fn invalid_hashes_are_refused() {
        let text = TokenHash::of("abc").to_string();
        for wrong in [
            "",
            &text[1..],
            &format!("{text}0"),
            &format!("+{}", &text[1..]),
            &format!("é{}", &text[2..]),
        ] {
            assert_eq!(wrong.parse::<TokenHash>(), Err(InvalidHash), "{wrong}");
        }
    }
}

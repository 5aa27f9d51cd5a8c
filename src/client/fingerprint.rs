//! Fingerprints of certificates.

use std::{fmt, str::FromStr};

use ring::digest;

/// The SHA-256 of a certificate in DER. In text, 64 hexadecimal digits; a colon may follow each pair,
/// as `openssl x509 -fingerprint -sha256` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; Fingerprint::LENGTH]);

/// A text that is not a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a SHA-256 fingerprint: expected 64 hexadecimal digits, with or without a colon \
     between pairs"
)]
pub struct FingerprintError {
    /// The text.
    pub text: String,
}

// === impl Fingerprint ===

impl Fingerprint {
    const LENGTH: usize = 32;

    /// The fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        let mut bytes = [0; Self::LENGTH];
        let digest = digest::digest(&digest::SHA256, certificate);
        for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
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

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let pairs: Vec<&[u8]> = match text.contains(':') {
            true => text.as_bytes().split(|byte| *byte == b':').collect(),
            false => text.as_bytes().chunks(2).collect(),
        };
        let bytes: Option<Vec<u8>> = pairs.into_iter().map(byte).collect();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| FingerprintError {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn a_fingerprint_is_hexadecimal_with_or_without_colons() {
        // SHA-256 of "abc" (FIPS 180-2, appendix B.1).
        let plain = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let pairs: Vec<_> = plain.as_bytes().chunks(2).collect();
        let colons = String::from_utf8(pairs.join(&b':')).unwrap();
        for text in [
            plain,
            &plain.to_uppercase(),
            &colons,
            &colons.to_uppercase(),
        ] {
            let fingerprint: Fingerprint = text.parse().unwrap();
            assert_eq!(fingerprint, Fingerprint::of(b"abc"), "{text}");
            assert_eq!(fingerprint.to_string(), plain);
        }
        let doubled = colons.replace(':', "::");
        for text in [
            "",
            "abc",
            &plain[1..],
            &format!("{plain}00"),
            &format!("{colons}:"),
            &doubled,
            &plain.replace('b', "+"),
            &plain.replace("ba", "é"),
        ] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text:?}");
        }
    }
}

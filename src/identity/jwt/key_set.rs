//! The keys of an issuer: a JSON Web Key Set (RFC 7517).

use std::fmt;

use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::algorithm::Algorithm;

/// Longest key set in bytes. That of a large provider has 10 KiB.
pub const MAX_KEY_SET_BYTES: usize = 1 << 20;

/// Most keys of a set, usable or not. An issuer has a few: the current ones and those before.
pub const MAX_KEYS: usize = 256;

/// Shortest modulus of an RSA key in bits (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;

/// Longest modulus in bits. Longer ones take milliseconds to verify with.
const MAX_RSA_BITS: usize = 8192;

/// Bytes of a coordinate of P-256, and of an Ed25519 key.
const COORDINATE_BYTES: usize = 32;

/// Keys of a token without key id that are tried.
const MAX_TRIED: usize = 4;

/// The keys that verify the tokens of an issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<SkippedKey>,
}

/// A public key.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// A key of the set that cannot verify tokens, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Position in the set, from 0.
    pub index: usize,
    /// What it lacks.
    pub reason: &'static str,
}

/// A text is no key set, or none of its keys can be used.
#[derive(Debug, Error)]
pub enum KeySetError {
    /// The text is too long.
    #[error("longer than {MAX_KEY_SET_BYTES} bytes")]
    TooLong,
    /// The text is not JSON, or has no list of keys.
    #[error("not a JSON Web Key Set, {{\"keys\": [...]}}: {0}")]
    Syntax(#[from] serde_json::Error),
    /// There are too many keys.
    #[error("more than {MAX_KEYS} keys")]
    TooManyKeys,
    /// There is no usable key.
    #[error(
        "no key for RS256, ES256 or EdDSA{}",
        skipped.first().map(|key| format!(": {key}")).unwrap_or_default()
    )]
    NoKeys {
        /// The keys of the set.
        skipped: Vec<SkippedKey>,
    },
}

/// Why no key is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The set has no key with this id; without an id, none for the algorithm.
    Unknown,
    /// The key with this id is for another algorithm.
    OtherAlgorithm,
}

/// The members of a key set.
#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

// === impl KeySet ===

impl KeySet {
    /// Parses a key set. Keys that cannot verify tokens are skipped, as RFC 7517 recommends: those of
    /// other types, for other algorithms, for encryption, malformed or too short.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > MAX_KEY_SET_BYTES {
            return Err(KeySetError::TooLong);
        }
        let Document { keys: values } = serde_json::from_slice(json)?;
        if values.len() > MAX_KEYS {
            return Err(KeySetError::TooManyKeys);
        }
        let mut set = Self::default();
        for (index, value) in values.into_iter().enumerate() {
            match Key::new(value) {
                Ok(key) => set.keys.push(key),
                Err(reason) => set.skipped.push(SkippedKey { index, reason }),
            }
        }
        match set.keys.is_empty() {
            true => Err(KeySetError::NoKeys {
                skipped: set.skipped,
            }),
            false => Ok(set),
        }
    }

    /// The number of usable keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no usable key, as in the default.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys of the set that cannot verify tokens.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// The keys for a token, at most a few: those with its key id and of the type of its algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Vec<&Key>, NoKey> {
        let mut named = self.keys.iter().filter(|key| match id {
            Some(id) => key.id.as_deref() == Some(id),
            None => true,
        });
        let fits = |key: &&Key| key.algorithm == algorithm;
        let found: Vec<_> = named.clone().filter(fits).take(MAX_TRIED).collect();
        match (found.is_empty(), id) {
            (false, _) => Ok(found),
            (true, Some(_)) if named.next().is_some() => Err(NoKey::OtherAlgorithm),
            (true, _) => Err(NoKey::Unknown),
        }
    }
}

// === impl Key ===

impl Key {
    /// The key in a set, or why it cannot be used.
    fn new(value: Value) -> Result<Self, &'static str> {
        let malformed = "it is malformed";
        let jwk: Jwk = serde_json::from_value(value).map_err(|_| malformed)?;
        let common = &jwk.common;
        let is_for_signatures =
            matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let verifies = common.key_operations.as_ref();
        if !is_for_signatures || verifies.is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
            return Err("it is not for signatures");
        }
        let other = "its type or curve is none of RSA, P-256 and Ed25519";
        let (algorithm, key) = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                let key = DecodingKey::from_rsa_components(&rsa.n, &rsa.e);
                (Algorithm::Rs256, rsa_key(&key.map_err(|_| malformed)?)?)
            }
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
                let key = DecodingKey::from_ec_components(&ec.x, &ec.y);
                let key = key.map_err(|_| malformed)?;
                require_length(&key, 1 + 2 * COORDINATE_BYTES)?;
                (Algorithm::Es256, key)
            }
            AlgorithmParameters::OctetKeyPair(ed) if ed.curve == EllipticCurve::Ed25519 => {
                let key = DecodingKey::from_ed_components(&ed.x).map_err(|_| malformed)?;
                require_length(&key, COORDINATE_BYTES)?;
                (Algorithm::EdDsa, key)
            }
            _ => return Err(other),
        };
        let expected = KeyAlgorithm::from(algorithm.for_jsonwebtoken());
        if common.key_algorithm.is_some_and(|own| own != expected) {
            return Err("it is for another algorithm");
        }
        Ok(Self {
            id: jwk.common.key_id,
            algorithm,
            key,
        })
    }
}

/// Requires the length of a key that has one.
fn require_length(key: &DecodingKey, bytes: usize) -> Result<(), &'static str> {
    match key.try_get_as_bytes() {
        Ok(key) if key.len() == bytes => Ok(()),
        _ => Err("it does not have the length of its curve"),
    }
}

/// Checks the size of an RSA key, and removes leading zeros, which ring rejects and some issuers add.
fn rsa_key(key: &DecodingKey) -> Result<DecodingKey, &'static str> {
    let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() else {
        return Err("it is malformed");
    };
    let (n, e) = (without_leading_zeros(n), without_leading_zeros(e));
    let first_bits = n.first().map_or(0, |first| first.leading_zeros() as usize);
    let bits = n.len() * 8 - first_bits;
    match bits {
        ..MIN_RSA_BITS => Err("its RSA modulus has less than 2048 bits"),
        MIN_RSA_BITS..=MAX_RSA_BITS => Ok(DecodingKey::from_rsa_raw_components(n, e)),
        _ => Err("its RSA modulus has more than 8192 bits"),
    }
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, algorithm, .. } = self;
        write!(f, "{algorithm:?} {id:?}")
    }
}

// === impl SkippedKey ===

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys[{}] is skipped: {}", self.index, self.reason)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use serde_json::json;

    use super::{super::testing::base64url, *};

    fn parse(keys: &[Value]) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn rsa(modulus: &[u8]) -> Value {
        json!({"kty": "RSA", "n": base64url(modulus), "e": "AQAB", "kid": "r"})
    }

    fn ed() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(&[1; 32]), "kid": "d"})
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[test]
    fn keys_that_cannot_verify_tokens_are_skipped() {
        let ec = json!({"kty": "EC", "crv": "P-256", "x": base64url(&[1; 32]), "y": base64url(&[2; 32])});
        for (key, reason) in [
            (json!({"kty": "oct", "k": "c2VjcmV0"}), "none of RSA"),
            (
                json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
                "none of RSA",
            ),
            (with(ec.clone(), "crv", json!("P-384")), "none of RSA"),
            (with(ec.clone(), "crv", json!("secp256k1")), "none of RSA"),
            (with(ec.clone(), "x", json!("AQ")), "length"),
            (with(ec.clone(), "y", json!("=")), "malformed"),
            (with(ed(), "crv", json!("X25519")), "none of RSA"),
            (with(ed(), "x", json!("AQ")), "length"),
            (with(ed(), "use", json!("enc")), "signatures"),
            (with(ed(), "key_ops", json!(["encrypt"])), "signatures"),
            (with(ed(), "alg", json!("RS256")), "another algorithm"),
            (with(ed(), "alg", json!("Ed448")), "another algorithm"),
            (with(ed(), "kid", json!(5)), "malformed"),
            (
                with(rsa(&[0x80; 256]), "alg", json!("RS512")),
                "another algorithm",
            ),
            (with(rsa(&[0x80; 256]), "e", json!(" ")), "malformed"),
            (rsa(&[0xff; 128]), "less than 2048 bits"),
            (rsa(&[0x7f; 256]), "less than 2048 bits"),
            (
                rsa(&[&[0; 200][..], &[0xff; 128]].concat()),
                "less than 2048 bits",
            ),
            (rsa(&[0xff; 1025]), "more than 8192 bits"),
            (rsa(&[]), "less than 2048 bits"),
            (json!({}), "none of RSA"),
            (json!(5), "malformed"),
        ] {
            let set = parse(&[key.clone(), ed()]).unwrap();
            assert_eq!(set.len(), 1);
            let [skipped] = set.skipped() else {
                panic!("{key}")
            };
            assert!(skipped.reason.contains(reason), "{key} {skipped}");
            let error = parse(&[key]).unwrap_err().to_string();
            assert!(
                error.contains("no key for RS256") && error.contains(reason),
                "{error}"
            );
        }
        for key in [
            with(ed(), "key_ops", json!(["verify"])),
            with(ed(), "x5c", json!(["a"])),
            with(ed(), "extra", json!({"a": [1]})),
            rsa(&[0x80; 256]),
            rsa(&[&[0; 1][..], &[0x80; 256]].concat()),
            rsa(&[0xff; 1024]),
            ec,
        ] {
            assert_eq!(parse(&[key]).unwrap().len(), 1);
        }
    }

    #[test]
    fn a_key_set_is_bounded() {
        let keys: Vec<_> = (0..=MAX_KEYS).map(|_| ed()).collect();
        assert_eq!(parse(&keys[1..]).unwrap().len(), MAX_KEYS);
        assert!(matches!(parse(&keys), Err(KeySetError::TooManyKeys)));
        let mut text = json!({"keys": [ed()]}).to_string();
        text.push_str(&" ".repeat(MAX_KEY_SET_BYTES - text.len()));
        assert_eq!(KeySet::parse(text.as_bytes()).unwrap().len(), 1);
        text.push(' ');
        assert!(matches!(
            KeySet::parse(text.as_bytes()),
            Err(KeySetError::TooLong)
        ));
    }

    #[test]
    fn other_texts_are_no_key_set() {
        let deep = format!(r#"{{"keys":{}"#, "[".repeat(100_000));
        for text in [
            "",
            "{}",
            "[]",
            r#"{"keys":{}}"#,
            r#"{"keys":[]} x"#,
            "\u{0}",
            &deep,
        ] {
            let error = KeySet::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, KeySetError::Syntax(_)), "{error}");
        }
        assert!(matches!(parse(&[]), Err(KeySetError::NoKeys { .. })));
    }
}

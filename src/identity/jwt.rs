//! JSON Web Tokens (RFC 7519, RFC 8725): verification against the keys of their issuer. No I/O; the time is
//! an argument.
//!
//! A token names its algorithm, its key and its issuer itself, so each of them is only accepted as the
//! policy and the key set have it. Nothing of a token is used before its signature is verified, except to
//! select issuer and key.

mod algorithm;
mod claims;
mod issuer;
mod key_set;
mod location;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{
    Header, Validation, dangerous::insecure_decode_claims, decode, decode_header, errors::ErrorKind,
};
use serde::Deserialize;
use thiserror::Error;

pub use algorithm::Algorithm;
pub use issuer::{
    DEFAULT_LEEWAY_SECONDS, DEFAULT_NAME_CLAIM, Issuer, JwtIssuer, MAX_LEEWAY_SECONDS, RoleRule,
};
pub use key_set::{KeySet, KeySetError, MAX_KEY_SET_BYTES, MAX_KEYS, SkippedKey};
pub use location::{KeyLocation, KeyUrl, KeyUrlError};

use claims::{Claims, Malformed};
use key_set::{Key, NoKey};

use crate::model::is_hidden;

/// Longest token in bytes. Those of Keycloak with many roles have 4 KiB.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;

/// Longest name of a principal in bytes. Those of Kubernetes have up to 340: a namespace of 63 and a name
/// of 253.
const MAX_NAME_BYTES: usize = 512;

/// What a valid token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken<'i, G> {
    /// The name of the principal.
    pub name: String,
    /// The grant of the first rule of the issuer that matches; `None` if none does.
    pub grant: Option<&'i G>,
    /// From this time the token is refused: its expiry, and the leeway.
    pub expires: SystemTime,
}

/// Why a token is refused. The text says which check failed, and has nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JwtError {
    /// The token is too long.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// The token does not have the form of a JWT.
    #[error(
        "the token is not a signed JWT (header.claims.signature) with one of the algorithms RS256, \
         ES256 and EdDSA"
    )]
    Malformed,
    /// The algorithm is not accepted, or not that of the key.
    #[error("the algorithm of the token is not accepted for this issuer or key")]
    Algorithm,
    /// The header requires an extension (`crit`).
    #[error("the token requires extensions that are not supported (crit)")]
    Critical,
    /// The header has the type of another kind of token.
    #[error("the type of the token is neither JWT nor at+jwt (typ)")]
    Type,
    /// No key of the issuer has the key id. The keys may have changed.
    #[error("the issuer has no key with the key id of the token (kid)")]
    UnknownKey,
    /// The signature is not that of the issuer's key.
    #[error("the signature of the token is invalid")]
    Signature,
    /// A claim is absent.
    #[error("the token has no claim {0}")]
    Missing(&'static str),
    /// A claim has the wrong type or is out of range.
    #[error("the claim {0} of the token is malformed")]
    Claim(&'static str),
    /// The issuer is not one of the policy.
    #[error("the issuer of the token is not accepted (iss)")]
    Issuer,
    /// The token is for others.
    #[error("the token is not for this daemon (aud)")]
    Audience,
    /// The token has expired.
    #[error("the token has expired (exp)")]
    Expired,
    /// The token is not valid yet: `nbf` or `iat` is in the future.
    #[error("the token is not valid yet ({0})")]
    NotYetValid(&'static str),
    /// The claim with the name of the principal is absent or unsuitable.
    #[error(
        "the claim with the name of the principal is absent, empty, longer than {MAX_NAME_BYTES} bytes, \
         or has characters that are not shown"
    )]
    Name,
}

/// The issuer that a token names, before it is verified: which of several issuers to verify it with.
pub fn unverified_issuer(token: &str) -> Result<String, JwtError> {
    #[derive(Deserialize)]
    struct Named {
        iss: Option<String>,
    }

    check_form(token)?;
    let Named { iss } = insecure_decode_claims(token).map_err(|_| JwtError::Malformed)?;
    iss.ok_or(JwtError::Missing("iss"))
}

/// Verifies a token: form, header, signature, issuer, audience and times, in this order.
pub fn verify<'i, G>(
    token: &str,
    issuer: &'i Issuer<G>,
    keys: &KeySet,
    now: SystemTime,
) -> Result<VerifiedToken<'i, G>, JwtError> {
    check_form(token)?;
    let header = decode_header(token).map_err(|_| JwtError::Malformed)?;
    let algorithm = Algorithm::of(header.alg).filter(|own| issuer.algorithms.contains(own));
    let algorithm = algorithm.ok_or(JwtError::Algorithm)?;
    check_header(&header)?;
    let keys = keys.find(header.kid.as_deref(), algorithm);
    let keys = keys.map_err(|reason| match reason {
        NoKey::Unknown => JwtError::UnknownKey,
        NoKey::OtherAlgorithm => JwtError::Algorithm,
    })?;
    let claims = verified_claims(token, &keys, &validation(issuer, algorithm))?;
    check_parties(&claims, issuer)?;
    let expires = check_times(&claims, Duration::from_secs(issuer.leeway_seconds), now)?;
    let name = claims::find(&claims, &issuer.name_claim).and_then(|name| name.as_str());
    let name = name.filter(|name| is_name(name)).ok_or(JwtError::Name)?;
    Ok(VerifiedToken {
        name: name.to_owned(),
        grant: issuer.grant(&claims),
        expires,
    })
}

/// Checks length and characters before anything is decoded.
fn check_form(token: &str) -> Result<(), JwtError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(JwtError::TooLong);
    }
    let dots = token.bytes().filter(|byte| *byte == b'.').count();
    let is_encoded = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match dots == 2 && token.bytes().all(is_encoded) {
        true => Ok(()),
        false => Err(JwtError::Malformed),
    }
}

/// Checks the parts of the header that jsonwebtoken ignores.
fn check_header(header: &Header) -> Result<(), JwtError> {
    // RFC 7515, section 4.1.11. Even an empty list is an error of the issuer.
    if header.crit.is_some() {
        return Err(JwtError::Critical);
    }
    // RFC 8725, section 3.11: issuers sign other things with the same keys, such as logout tokens.
    let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
    let kind = kind
        .as_deref()
        .map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
    match kind {
        None | Some("jwt" | "at+jwt") => Ok(()),
        Some(_) => Err(JwtError::Type),
    }
}

/// What jsonwebtoken is to check: the signature, and that the claims are there. It compares times with its
/// own clock, accepts several issuers in one token, and rounds; so the rest is done here.
fn validation<G>(issuer: &Issuer<G>, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm.for_jsonwebtoken());
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.required_spec_claims.clear();
    validation.set_issuer(&[&issuer.issuer]);
    validation.set_audience(&issuer.audiences);
    validation
}

/// The claims of a token that one of the keys verifies.
fn verified_claims(
    token: &str,
    keys: &[&Key],
    validation: &Validation,
) -> Result<Claims, JwtError> {
    algorithm::use_ring();
    let mut refused = JwtError::Signature;
    for key in keys {
        match decode(token, &key.key, validation) {
            Ok(token) => return Ok(token.claims),
            Err(error) => match error.kind() {
                ErrorKind::InvalidSignature => {}
                ErrorKind::InvalidIssuer => return Err(JwtError::Issuer),
                ErrorKind::InvalidAudience => return Err(JwtError::Audience),
                ErrorKind::InvalidAlgorithm => refused = JwtError::Algorithm,
                _ => return Err(JwtError::Malformed),
            },
        }
    }
    Err(refused)
}

/// Checks who made the token, and for whom.
fn check_parties<G>(claims: &Claims, issuer: &Issuer<G>) -> Result<(), JwtError> {
    let own = claims.get("iss").ok_or(JwtError::Missing("iss"))?;
    let own = own.as_str().ok_or(JwtError::Claim("iss"))?;
    if own != issuer.issuer {
        return Err(JwtError::Issuer);
    }
    let audiences = claims.get("aud").ok_or(JwtError::Missing("aud"))?;
    let audiences = claims::strings(audiences).map_err(|Malformed| JwtError::Claim("aud"))?;
    let mut accepted = issuer.audiences.iter();
    match accepted.any(|accepted| audiences.contains(&accepted.as_str())) {
        true => Ok(()),
        false => Err(JwtError::Audience),
    }
}

/// Checks the times, and returns when the token ends. RFC 7519, section 4.1.4: it is not accepted on or
/// after its expiry.
fn check_times(claims: &Claims, leeway: Duration, now: SystemTime) -> Result<SystemTime, JwtError> {
    let time =
        |name: &'static str| claims::time(claims, name).map_err(|Malformed| JwtError::Claim(name));
    let expiry = time("exp")?.ok_or(JwtError::Missing("exp"))?;
    let expires = UNIX_EPOCH + Duration::from_secs(expiry.low) + leeway;
    if now >= expires {
        return Err(JwtError::Expired);
    }
    for name in ["nbf", "iat"] {
        let begin = time(name)?.map(|begin| UNIX_EPOCH + Duration::from_secs(begin.high));
        if begin.is_some_and(|begin| now + leeway < begin) {
            return Err(JwtError::NotYetValid(name));
        }
    }
    Ok(expires)
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.chars().any(is_hidden)
}

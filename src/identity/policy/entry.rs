//! What the entries of all kinds have in common.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;

use super::super::{
    principal::{CredentialKind, Grant, Principal},
    role::Role,
    scope::Scope,
};
use crate::model::is_hidden;

/// A principal of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The principal.
    pub principal: Arc<Principal>,
    /// When the credential ceases to be valid; `None` for never.
    pub expires: Option<Timestamp>,
}

/// The name of a principal: 1 to 253 bytes, without characters that are not shown.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(pub(super) String);

/// A time with its offset.
#[derive(Deserialize)]
#[serde(try_from = "toml::Value")]
pub(super) struct Expiry(pub(super) Timestamp);

/// Longest name of a principal in bytes: that of a DNS name.
const MAX_NAME: usize = 253;
/// Most entries of a kind.
const MAX_ENTRIES: usize = 10_000;

pub(super) fn grant(role: Role, scope: Option<Scope>, scope_reads: bool) -> Grant {
    Grant {
        role,
        scope: scope.unwrap_or_default(),
        scope_reads,
    }
}

pub(super) fn entry(
    name: String,
    kind: CredentialKind,
    grant: Grant,
    expires: Option<Expiry>,
) -> Entry {
    Entry {
        principal: Arc::new(Principal {
            name,
            kind,
            grant: Some(grant),
        }),
        expires: expires.map(|Expiry(time)| time),
    }
}

pub(super) fn check_number(index: usize) -> Result<(), String> {
    match index < MAX_ENTRIES {
        true => Ok(()),
        false => Err(format!("more than {MAX_ENTRIES} entries")),
    }
}

// === impl Name ===

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(is_hidden);
        match fits {
            true => Ok(Self(text)),
            false => Err(format!(
                "a name must have 1 to {MAX_NAME} bytes, and no characters that are not shown"
            )),
        }
    }
}

// === impl Expiry ===

impl TryFrom<toml::Value> for Expiry {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        let text = match &value {
            toml::Value::Datetime(time) => time.to_string(),
            toml::Value::String(text) => text.clone(),
            other => other.type_str().to_owned(),
        };
        let time = text.parse().map(Self);
        time.map_err(|_| {
            format!("{text} is not a time with its offset, such as 2027-01-01T00:00:00Z")
        })
    }
}

//! The policy: which credentials the daemon recognises, and what their principals may do.
//!
//! It is one TOML document, checked as a whole: an error names the line and the key. `docs/security.md`
//! describes it.

mod entry;
mod jwt_table;
mod unix_table;

use std::{
    collections::{HashMap, hash_map::Entry as MapEntry},
    ops::Range,
};

use serde::Deserialize;
use subtle::ConstantTimeEq;
use thiserror::Error;
use toml::Spanned;

pub use self::{
    entry::Entry,
    unix_table::{Accounts, DEFAULT_GROUP, DEFAULT_OVERFLOW_ID},
};
use self::{
    entry::{Expiry, Name, check_number, entry, grant},
    jwt_table::JwtTable,
    unix_table::{UnixMatch, UnixTable, administrator, default_unix},
};
use super::{
    certificate::CertificateIdentity,
    jwt::JwtIssuer,
    principal::{CredentialKind, Grant},
    role::Role,
    scope::Scope,
};
use crate::model::Sha256;

/// The credentials that the daemon recognises. Default: root, the user that runs the daemon, and the
/// members of the group `ipvsd` are administrators on unix sockets, and nobody else may do anything.
#[derive(Clone, Debug)]
pub struct Policy {
    tokens: HashMap<Sha256, Entry>,
    certificates: Vec<(CertificateMatch, Entry)>,
    unix: Vec<(UnixMatch, Entry)>,
    jwt: Vec<JwtIssuer<Grant>>,
}

/// An error of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {}{message}", if key.is_empty() { String::new() } else { format!("{key}: ") })]
pub struct PolicyError {
    /// Line number, from 1.
    pub line: usize,
    /// The key, such as `token[2].role`; empty if the text is not TOML.
    pub key: String,
    /// What is wrong, and what is expected.
    pub message: String,
}

/// What a certificate must have. Exactly one is set.
#[derive(Clone, Debug)]
enum CertificateMatch {
    Dns(String),
    Uri(String),
    Email(String),
    Subject(String),
    CommonName(String),
    Fingerprint(Sha256),
}

/// The document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    token: Vec<Spanned<TokenTable>>,
    #[serde(default)]
    certificate: Vec<Spanned<CertificateTable>>,
    unix: Option<Vec<Spanned<UnixTable>>>,
    #[serde(default)]
    jwt: Vec<Spanned<JwtTable>>,
}

/// `[[token]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenTable {
    name: Name,
    sha256: Sha256,
    role: Role,
    scope: Option<Scope>,
    #[serde(default)]
    scope_reads: bool,
    expires: Option<Expiry>,
}

/// `[[certificate]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateTable {
    name: Option<Name>,
    dns: Option<String>,
    uri: Option<String>,
    email: Option<String>,
    subject: Option<String>,
    common_name: Option<String>,
    fingerprint: Option<String>,
    role: Role,
    scope: Option<Scope>,
    #[serde(default)]
    scope_reads: bool,
    expires: Option<Expiry>,
}

// === impl Policy ===

impl Policy {
    /// The policy without a document.
    pub fn without_document(accounts: &dyn Accounts) -> Self {
        Self {
            tokens: HashMap::new(),
            certificates: Vec::new(),
            unix: default_unix(accounts),
            jwt: Vec::new(),
        }
    }

    /// Reads a document.
    pub fn parse(text: &str, accounts: &dyn Accounts) -> Result<Self, PolicyError> {
        let Document {
            token,
            certificate,
            unix,
            jwt,
        } = document(text)?;
        let at = |span: Range<usize>, key: String| {
            move |message: String| PolicyError {
                line: line_of(text, span.start),
                key,
                message,
            }
        };
        let mut policy = Self {
            tokens: HashMap::new(),
            certificates: Vec::new(),
            unix: Vec::new(),
            jwt: Vec::new(),
        };
        for (index, table) in token.into_iter().enumerate() {
            let error = at(table.span(), format!("token[{index}]"));
            policy.add_token(table.into_inner(), index).map_err(error)?;
        }
        for (index, table) in certificate.into_iter().enumerate() {
            let error = at(table.span(), format!("certificate[{index}]"));
            let entry = table.into_inner().entry(index).map_err(error)?;
            policy.certificates.push(entry);
        }
        for (index, table) in jwt.into_iter().enumerate() {
            let error = at(table.span(), format!("jwt[{index}]"));
            let issuer = table.into_inner().issuer(&policy.jwt).map_err(error)?;
            policy.jwt.push(issuer);
        }
        let Some(unix) = unix else {
            policy.unix = default_unix(accounts);
            return Ok(policy);
        };
        policy.unix.push(administrator(UnixMatch::User(0), "root"));
        for (index, table) in unix.into_iter().enumerate() {
            let error = at(table.span(), format!("unix[{index}]"));
            let entry = table.into_inner().entry(index, accounts).map_err(error)?;
            policy.unix.push(entry);
        }
        Ok(policy)
    }

    /// The entry of a bearer token.
    pub fn token(&self, hash: &Sha256) -> Option<&Entry> {
        // The map compares hashes of secrets, whose timing says nothing about a secret. The final
        // comparison does not depend on that.
        let (known, entry) = self.tokens.get_key_value(hash)?;
        let is_same: bool = known.as_bytes().ct_eq(hash.as_bytes()).into();
        is_same.then_some(entry)
    }

    /// The issuers of JSON Web Tokens.
    pub fn jwt_issuers(&self) -> &[JwtIssuer<Grant>] {
        &self.jwt
    }

    /// The entry of a client certificate: the first that matches.
    pub fn certificate(&self, certificate: &CertificateIdentity) -> Option<&Entry> {
        let mut all = self.certificates.iter();
        let found = all.find(|(wanted, _)| wanted.matches(certificate));
        found.map(|(_, entry)| entry)
    }

    /// The entry of a local process: the first that matches. `groups` has its supplementary groups.
    pub fn unix(&self, uid: u32, gid: u32, groups: &[u32]) -> Option<&Entry> {
        let mut all = self.unix.iter();
        let found = all.find(|(wanted, _)| match wanted {
            UnixMatch::User(user) => *user == uid,
            UnixMatch::Group(group) => *group == gid || groups.contains(group),
        });
        found.map(|(_, entry)| entry)
    }

    fn add_token(&mut self, table: TokenTable, index: usize) -> Result<(), String> {
        let TokenTable {
            name: Name(name),
            sha256,
            role,
            scope,
            scope_reads,
            expires,
        } = table;
        check_number(index)?;
        let grant = grant(role, scope, scope_reads);
        let entry = entry(name, CredentialKind::Token, grant, expires);
        match self.tokens.entry(sha256) {
            MapEntry::Vacant(place) => drop(place.insert(entry)),
            MapEntry::Occupied(other) => {
                let name = &other.get().principal.name;
                return Err(format!("sha256 is that of the token {name:?}, too"));
            }
        }
        Ok(())
    }
}

/// The document that a text is.
fn document(text: &str) -> Result<Document, PolicyError> {
    let error = |error: &toml::de::Error, key: String| PolicyError {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        key,
        message: error.message().to_owned(),
    };
    let document =
        toml::Deserializer::parse(text).map_err(|syntax| error(&syntax, String::new()))?;
    serde_path_to_error::deserialize(document).map_err(|wrong| {
        // The type of a value with its place has a field of its own.
        let path = wrong
            .path()
            .to_string()
            .replace("$__serde_spanned_private_value.", "");
        let key = if path == "." { String::new() } else { path };
        error(wrong.inner(), key)
    })
}

/// The line of a position in a text, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

// === impl CertificateTable ===

impl CertificateTable {
    fn entry(self, index: usize) -> Result<(CertificateMatch, Entry), String> {
        let Self {
            name,
            dns,
            uri,
            email,
            subject,
            common_name,
            fingerprint,
            role,
            scope,
            scope_reads,
            expires,
        } = self;
        check_number(index)?;
        let fingerprint = fingerprint.map(|text| {
            let parsed: Result<Sha256, _> = text.parse();
            parsed
                .map(|hash| (CertificateMatch::Fingerprint(hash), hash.to_string()))
                .map_err(|error| format!("fingerprint: {error}"))
        });
        let texts = [
            dns.map(|v| (CertificateMatch::Dns(v.to_ascii_lowercase()), v)),
            uri.map(|v| (CertificateMatch::Uri(v.clone()), v)),
            email.map(|v| (CertificateMatch::Email(v.clone()), v)),
            subject.map(|v| (CertificateMatch::Subject(v.clone()), v)),
            common_name.map(|v| (CertificateMatch::CommonName(v.clone()), v)),
            fingerprint.transpose()?,
        ];
        let mut present = texts.into_iter().flatten();
        let (Some((wanted, value)), None) = (present.next(), present.next()) else {
            return Err(
                "exactly one of dns, uri, email, subject, common_name and fingerprint is \
                        required"
                    .to_owned(),
            );
        };
        let name = match name {
            Some(Name(name)) => name,
            None => Name::try_from(value)?.0,
        };
        let grant = grant(role, scope, scope_reads);
        Ok((
            wanted,
            entry(name, CredentialKind::Certificate, grant, expires),
        ))
    }
}

impl CertificateMatch {
    fn matches(&self, certificate: &CertificateIdentity) -> bool {
        match self {
            Self::Dns(name) => certificate
                .dns
                .iter()
                .any(|dns| dns.eq_ignore_ascii_case(name)),
            Self::Uri(uri) => certificate.uris.contains(uri),
            Self::Email(email) => certificate.emails.contains(email),
            Self::Subject(subject) => certificate.subject == *subject,
            Self::CommonName(name) => certificate.common_name.as_ref() == Some(name),
            Self::Fingerprint(hash) => *hash == certificate.fingerprint,
        }
    }
}

#[cfg(test)]
mod tests;

//! `[[jwt]]` of the policy: identity providers, and what their tokens permit.

use std::path::PathBuf;

use serde::Deserialize;

use super::super::{
    jwt::{
        Algorithm, DEFAULT_LEEWAY_SECONDS, DEFAULT_NAME_CLAIM, Issuer, JwtIssuer, KeyLocation,
        KeyUrl, MAX_LEEWAY_SECONDS, RoleRule,
    },
    principal::Grant,
    role::Role,
    scope::Scope,
};

/// `[[jwt]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JwtTable {
    issuer: String,
    audience: Audience,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<KeyUrl>,
    ca: Option<PathBuf>,
    algorithms: Option<Vec<Algorithm>>,
    leeway_seconds: Option<u64>,
    name_claim: Option<String>,
    #[serde(default)]
    role: Vec<RoleTable>,
}

/// One name or several.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// `[[jwt.role]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleTable {
    claim: String,
    value: String,
    role: Role,
    scope: Option<Scope>,
    #[serde(default)]
    scope_reads: bool,
}

/// Most identity providers: each has a task that reads its keys.
const MAX_ISSUERS: usize = 64;
/// Most audiences, and most roles, of a provider.
const MAX_ITEMS: usize = 1000;

impl JwtTable {
    /// The issuer, of which `others` come before it.
    pub(super) fn issuer(self, others: &[JwtIssuer<Grant>]) -> Result<JwtIssuer<Grant>, String> {
        self.check_number(others)?;
        let audiences = match self.audience {
            Audience::One(audience) => vec![audience],
            Audience::Several(audiences) => audiences,
        };
        let algorithms = self.algorithms.unwrap_or_else(|| Algorithm::ALL.to_vec());
        let name_claim = self
            .name_claim
            .unwrap_or_else(|| DEFAULT_NAME_CLAIM.to_owned());
        let leeway_seconds = self.leeway_seconds.unwrap_or(DEFAULT_LEEWAY_SECONDS);
        if self.role.is_empty() || self.role.len() > MAX_ITEMS {
            let expected =
                "expected 1 to 1000 tables [[jwt.role]]: without, no token permits anything";
            return Err(format!("role: {expected}"));
        }
        let keys = keys(self.jwks_file, self.jwks_url, self.ca)?;
        let roles = self.role.into_iter().enumerate().map(RoleTable::rule);
        let issuer = Issuer {
            issuer: self.issuer,
            audiences,
            algorithms,
            leeway_seconds,
            name_claim,
            roles: roles.collect::<Result<_, _>>()?,
        };
        check(&issuer)?;
        Ok(JwtIssuer { issuer, keys })
    }

    /// Refuses an issuer that has an entry already, and too many of them.
    fn check_number(&self, others: &[JwtIssuer<Grant>]) -> Result<(), String> {
        if others.len() >= MAX_ISSUERS {
            return Err(format!("more than {MAX_ISSUERS} issuers"));
        }
        let mut others = others.iter();
        match others.any(|other| other.issuer.issuer == self.issuer) {
            true => Err("issuer: it has an entry already; add the audience and roles there".into()),
            false => Ok(()),
        }
    }
}

/// Checks the values that have a range.
fn check(issuer: &Issuer<Grant>) -> Result<(), String> {
    let audiences = &issuer.audiences;
    let has_audiences = (1..=MAX_ITEMS).contains(&audiences.len());
    for (is_valid, message) in [
        (
            !issuer.issuer.is_empty(),
            "issuer: it is the claim iss of the tokens, not empty",
        ),
        (
            has_audiences && !audiences.iter().any(String::is_empty),
            "audience: expected one or more texts, none of them empty, at most 1000",
        ),
        (
            !issuer.algorithms.is_empty(),
            "algorithms: expected some of RS256, ES256 and EdDSA",
        ),
        (
            !issuer.name_claim.is_empty(),
            "name_claim: expected the name of a claim",
        ),
        (
            issuer.leeway_seconds <= MAX_LEEWAY_SECONDS,
            "leeway_seconds: expected 0 to 300",
        ),
    ] {
        if !is_valid {
            return Err(message.to_owned());
        }
    }
    Ok(())
}

fn keys(
    file: Option<PathBuf>,
    url: Option<KeyUrl>,
    ca: Option<PathBuf>,
) -> Result<KeyLocation, String> {
    match (file, url) {
        (Some(_), None) if ca.is_some() => Err("ca: it is used with jwks_url only".to_owned()),
        (Some(file), None) => Ok(KeyLocation::File(file)),
        (None, Some(url)) => Ok(KeyLocation::Url { url, ca }),
        _ => Err("exactly one of jwks_file and jwks_url is required".to_owned()),
    }
}

impl RoleTable {
    fn rule((index, table): (usize, Self)) -> Result<RoleRule<Grant>, String> {
        if table.claim.is_empty() || table.value.is_empty() {
            return Err(format!("role[{index}]: claim and value must not be empty"));
        }
        Ok(RoleRule {
            claim: table.claim,
            value: table.value,
            grant: Grant {
                role: table.role,
                scope: table.scope.unwrap_or_default(),
                scope_reads: table.scope_reads,
            },
        })
    }
}

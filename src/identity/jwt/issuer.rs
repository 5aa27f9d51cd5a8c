//! What the policy says of an issuer of tokens.

use super::{
    algorithm::Algorithm,
    claims::{self, Claims},
    location::KeyLocation,
};

/// Default of [`Issuer::leeway_seconds`].
pub const DEFAULT_LEEWAY_SECONDS: u64 = 60;

/// Largest leeway in seconds: clocks that differ more are wrong.
pub const MAX_LEEWAY_SECONDS: u64 = 300;

/// Default of [`Issuer::name_claim`]: the subject.
pub const DEFAULT_NAME_CLAIM: &str = "sub";

/// An issuer whose tokens are accepted. `G` is what a rule grants: a role and a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer<G> {
    /// The claim `iss`, compared as text.
    pub issuer: String,
    /// The names of this daemon. The claim `aud` must contain one of them.
    pub audiences: Vec<String>,
    /// Algorithms that tokens may be signed with. Default: all.
    pub algorithms: Vec<Algorithm>,
    /// Difference of the clocks that is accepted, in seconds; 0 to [`MAX_LEEWAY_SECONDS`].
    pub leeway_seconds: u64,
    /// The claim, or path of one, that is the name of the principal.
    pub name_claim: String,
    /// What tokens grant. The first rule that matches applies.
    pub roles: Vec<RoleRule<G>>,
}

/// An issuer, and where its keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtIssuer<G> {
    /// What the policy says of its tokens.
    pub issuer: Issuer<G>,
    /// Where its keys are.
    pub keys: KeyLocation,
}

/// A rule: a token with this value in this claim has this grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRule<G> {
    /// Name or path of the claim, such as `realm_access.roles` or `kubernetes.io.serviceaccount.name`.
    pub claim: String,
    /// The claim must be this string, or an array that contains it.
    pub value: String,
    /// What the token grants.
    pub grant: G,
}

// === impl Issuer ===

impl<G> Issuer<G> {
    /// An issuer with the defaults, and without rules.
    pub fn new(issuer: impl Into<String>, audiences: Vec<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences,
            algorithms: Algorithm::ALL.to_vec(),
            leeway_seconds: DEFAULT_LEEWAY_SECONDS,
            name_claim: DEFAULT_NAME_CLAIM.to_owned(),
            roles: Vec::new(),
        }
    }

    /// The grant of the first rule that matches.
    pub(super) fn grant(&self, claims: &Claims) -> Option<&G> {
        let rule = self.roles.iter().find(|rule| {
            let claim = claims::find(claims, &rule.claim);
            claim.is_some_and(|claim| claims::has(claim, &rule.value))
        });
        rule.map(|rule| &rule.grant)
    }
}

//! Principals: on whose behalf a request runs, and what they may do.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock},
};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{role::Role, scope::Scope};

/// The identity on whose behalf a request runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Name: of the entry of the policy, or, where it gives none, of the credential.
    pub name: String,
    /// How the principal was recognised.
    pub kind: CredentialKind,
    /// What the principal may do; `None` for one that was not recognised, which may do nothing.
    pub grant: Option<Grant>,
}

/// What a principal may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// The services that the role is valid for.
    pub scope: Scope,
    /// Whether the scope applies to reads, too. Default: false.
    pub scope_reads: bool,
}

/// How a principal was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CredentialKind {
    /// A bearer token of the policy.
    Token,
    /// A TLS client certificate.
    Certificate,
    /// A JSON Web Token (RFC 7519) of an identity provider.
    Jwt,
    /// User and groups of the process at the other end of a unix socket (unix(7), `SO_PEERCRED`).
    Unix,
    /// Nothing: the request has no credential.
    Anonymous,
    /// The daemon itself.
    System,
}

// === impl Principal ===

impl Principal {
    /// A client that presented no credential, and may do nothing.
    pub fn anonymous() -> Arc<Self> {
        static ANONYMOUS: LazyLock<Arc<Principal>> = LazyLock::new(|| {
            Arc::new(Principal {
                name: "anonymous".to_owned(),
                kind: CredentialKind::Anonymous,
                grant: None,
            })
        });
        ANONYMOUS.clone()
    }

    /// A client that presented no credential, where none is required (`--dev`, `--insecure`).
    pub fn anonymous_admin() -> Arc<Self> {
        static ANONYMOUS: LazyLock<Arc<Principal>> = LazyLock::new(|| {
            Arc::new(Principal {
                grant: Some(Grant::of(Role::Admin)),
                ..(*Principal::anonymous()).clone()
            })
        });
        ANONYMOUS.clone()
    }

    /// The daemon itself, or a program that uses the library without the server. It may do everything.
    pub fn system() -> Arc<Self> {
        static SYSTEM: LazyLock<Arc<Principal>> = LazyLock::new(|| {
            Arc::new(Principal {
                name: "system".to_owned(),
                kind: CredentialKind::System,
                grant: Some(Grant::of(Role::Admin)),
            })
        });
        SYSTEM.clone()
    }

    /// The daemon itself, for health checks.
    pub fn health() -> Arc<Self> {
        static HEALTH: LazyLock<Arc<Principal>> = LazyLock::new(|| {
            Arc::new(Principal {
                name: "system:health".to_owned(),
                ..(*Principal::system()).clone()
            })
        });
        HEALTH.clone()
    }

    /// Whether it is the daemon itself.
    pub fn is_system(&self) -> bool {
        self.kind == CredentialKind::System
    }

    /// The role; `None` for a principal that may do nothing.
    pub fn role(&self) -> Option<Role> {
        self.grant.as_ref().map(|grant| grant.role)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// By name and kind: what page tokens are bound to.
impl Hash for Principal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.kind.hash(state);
    }
}

/// `{"name", "kind", "role", "scope", "scope_reads"}`. Absent: `role` of a principal that may do
/// nothing, `scope` of one that may act on everything, `scope_reads` if it is false.
impl Serialize for Principal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Principal", 5)?;
        object.serialize_field("name", &self.name)?;
        object.serialize_field("kind", self.kind.as_str())?;
        if let Some(grant) = &self.grant {
            object.serialize_field("role", &grant.role)?;
            if let Some(rules) = grant.scope.rules() {
                object.serialize_field("scope", rules)?;
            }
            if grant.scope_reads {
                object.serialize_field("scope_reads", &true)?;
            }
        }
        object.end()
    }
}

// === impl Grant ===

impl Grant {
    /// A role for everything.
    pub fn of(role: Role) -> Self {
        Self {
            role,
            scope: Scope::default(),
            scope_reads: false,
        }
    }
}

// === impl CredentialKind ===

impl CredentialKind {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Certificate => "certificate",
            Self::Jwt => "jwt",
            Self::Unix => "unix",
            Self::Anonymous => "anonymous",
            Self::System => "system",
        }
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

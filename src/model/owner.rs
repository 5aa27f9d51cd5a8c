//! Owners of declared tables.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Error, key::serde_as_text};

/// The owner of a declared table: 1 to 63 characters `a-z`, `0-9`, `.`, `_` and `-`, the first of them a
/// letter or a digit. Names that begin with `fleet.` are reserved, and so is `_unmanaged`, which stands for
/// nobody.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(Arc<str>);

/// Longest name in bytes.
const MAX: usize = 63;
/// Prefix of the names of tables that come from elsewhere.
const RESERVED: &str = "fleet.";
/// What reads show for services that no table declares.
const UNMANAGED: &str = "_unmanaged";

// === impl Owner ===

impl Owner {
    /// Nobody: stands for the services that no table declares. Reads accept it, writes do not.
    pub fn unmanaged() -> Self {
        Self(UNMANAGED.into())
    }

    /// The owner of services that are read: a name, or `_unmanaged`.
    pub fn of_read(text: &str) -> Result<Self, Error> {
        match text {
            UNMANAGED => Ok(Self::unmanaged()),
            text => text.parse(),
        }
    }

    /// Whether it stands for nobody.
    pub fn is_unmanaged(&self) -> bool {
        &*self.0 == UNMANAGED
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Owner {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == UNMANAGED {
            let message = "\"_unmanaged\" stands for the services that no table declares, and is read-only: use \
                           the name of an owner";
            return Err(Error::invalid("owner", message));
        }
        let is_simple = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = text.as_bytes();
        let is_valid = bytes.first().is_some_and(|c| is_simple(*c))
            && bytes.len() <= MAX
            && bytes.iter().all(|c| is_simple(*c) || b"._-".contains(c));
        if !is_valid {
            return Err(Error::invalid(
                "owner",
                format!(
                    "{text:?} is not the name of an owner: 1 to {MAX} characters a-z, 0-9, \".\", \
                     \"_\" and \"-\", the first a letter or a digit"
                ),
            ));
        }
        if text.starts_with(RESERVED) {
            return Err(Error::invalid(
                "owner",
                format!(
                    "{text:?} is reserved: choose a name that does not begin with {RESERVED:?}"
                ),
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(Owner);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_63_simple_characters() {
        for name in ["k8s", "0", "a.b_c-d", &"x".repeat(63)] {
            assert_eq!(name.parse::<Owner>().unwrap().as_str(), name);
        }
        for name in [
            "",
            "_x",
            ".x",
            "-x",
            "K8s",
            "a/b",
            "ä",
            "a b",
            &"x".repeat(64),
            "fleet.a",
            "_unmanaged",
        ] {
            assert_eq!(
                name.parse::<Owner>().unwrap_err().violations[0].field,
                "owner"
            );
        }
    }

    #[test]
    fn reads_accept_the_name_of_nobody() {
        assert!(Owner::of_read("_unmanaged").unwrap().is_unmanaged());
        assert!(!Owner::of_read("k8s").unwrap().is_unmanaged());
        assert!(Owner::of_read("_x").is_err());
    }
}

//! What the daemon keeps about services, and the kernel does not have.

use std::sync::{Arc, LazyLock};

use super::Owner;

/// What is kept about a service. A service without any of it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kept {
    /// The owner of the table that declares it, or [`Owner::unmanaged`]. `None`: not known, because the daemon
    /// serves without its store.
    pub owner: Option<Owner>,
}

/// What is kept about a service; `None`: no table declares it, and nothing else is kept.
pub type KeptFields = Option<Arc<Kept>>;

/// Selects services by what is kept about them. All fields that are present must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeptFilter {
    /// Owner of the table that declares the service, or [`Owner::unmanaged`].
    pub owner: Option<Owner>,
}

// === impl Kept ===

impl Kept {
    /// The owner of a service about which this is kept; `None` if it is not known.
    pub fn owner(kept: &KeptFields) -> Option<&Owner> {
        static UNMANAGED: LazyLock<Owner> = LazyLock::new(Owner::unmanaged);
        match kept {
            None => Some(&UNMANAGED),
            Some(kept) => kept.owner.as_ref(),
        }
    }
}

// === impl KeptFilter ===

impl KeptFilter {
    /// Whether every service matches.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a service matches about which this is kept.
    pub fn matches(&self, kept: &KeptFields) -> bool {
        let owner = self.owner.as_ref();
        owner.is_none() || owner == Kept::owner(kept)
    }
}

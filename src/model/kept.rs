//! What the daemon keeps about services, and the kernel does not have.

use std::sync::{Arc, LazyLock};

use super::{LabelSelector, Labels, Owner, StoredFields};

/// What is kept about a service. A service without any of it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kept {
    /// The owner of the table that declares it, or [`Owner::unmanaged`]. `None`: not known, because the daemon
    /// serves without its store.
    pub owner: Option<Owner>,
    /// The fields of the service that the daemon stores.
    pub stored: StoredFields,
}

/// What is kept about a service; `None`: no table declares it, and nothing else is kept.
pub type KeptFields = Option<Arc<Kept>>;

/// Selects services by what is kept about them. All fields that are present must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeptFilter {
    /// Owner of the table that declares the service, or [`Owner::unmanaged`].
    pub owner: Option<Owner>,
    /// The labels of the service.
    pub labels: LabelSelector,
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

    /// The labels of a service about which this is kept.
    pub fn labels(kept: &KeptFields) -> &Labels {
        &Self::stored(kept).labels
    }

    /// The stored fields of a service about which this is kept.
    pub fn stored(kept: &KeptFields) -> &StoredFields {
        kept.as_ref()
            .map_or(StoredFields::NONE, |kept| &kept.stored)
    }

    /// The same with other stored fields.
    #[must_use]
    pub fn storing(kept: &KeptFields, stored: StoredFields) -> KeptFields {
        Self {
            owner: Self::owner(kept).cloned(),
            stored,
        }
        .into_fields()
    }

    /// The same with another owner.
    #[must_use]
    pub fn owned(kept: &KeptFields, owner: Owner) -> KeptFields {
        Self {
            owner: Some(owner),
            stored: Self::stored(kept).clone(),
        }
        .into_fields()
    }

    fn into_fields(self) -> KeptFields {
        let is_nothing =
            self.stored.is_empty() && self.owner.as_ref().is_some_and(Owner::is_unmanaged);
        (!is_nothing).then(|| Arc::new(self))
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
        (owner.is_none() || owner == Kept::owner(kept)) && self.labels.matches(Kept::labels(kept))
    }
}

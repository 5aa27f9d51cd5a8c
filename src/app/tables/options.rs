//! How a table is applied.

use crate::{
    app::Guard,
    model::{Adopt, Deletions, Etag, OnFailure, Removal},
};

/// How to apply a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// What to do when an operation fails.
    pub on_failure: OnFailure,
    /// How much it may delete.
    pub max_deletes: Deletions,
    /// Which services it may take over.
    pub adopt: Adopt,
    /// The digest of the plan that is expected; `None` for any.
    pub expect_plan: Option<Etag>,
    /// What becomes of servers that are not declared any more. `None`: as the table says.
    pub removal: Option<Removal>,
    /// The precondition on the declared table.
    pub guard: Guard,
}

/// How to delete a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteTableOptions {
    /// The number of services that it declares. Required without an ETag.
    pub confirm: Option<u64>,
    /// Whether a table that does not exist is no error.
    pub allow_missing: bool,
    /// What becomes of its servers. `None`: as the table says.
    pub removal: Option<Removal>,
    /// The precondition on the declared table.
    pub guard: Guard,
}

// === impl ApplyOptions ===

impl ApplyOptions {
    /// What the daemon itself accepts when it compares or restores a declared table.
    pub(super) fn of_declared() -> Self {
        Self {
            max_deletes: Deletions::Percent(100),
            adopt: Adopt::Unmanaged,
            ..Self::default()
        }
    }
}

//! How a table is applied.

use crate::{
    app::Guard,
    model::{Deletions, Etag},
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
    /// The precondition on the declared table.
    pub guard: Guard,
}

/// What to do when an operation of an apply fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Undo the others.
    #[default]
    Rollback,
    /// Execute no further ones.
    Stop,
    /// Execute the others.
    Continue,
}

/// Which services an apply may take over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adopt {
    /// None.
    #[default]
    None,
    /// Those that belong to no table.
    Unmanaged,
    /// Those of other owners, too. Requires the role `admin`.
    Any,
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

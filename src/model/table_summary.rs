//! Declared tables without what they declare, as lists and watchers see them.

use serde::{Deserialize, Serialize};

use super::{Director, Etag, Owner, ServiceKey, TableSettings, word::words};

/// A declared table without its services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSummary {
    /// Whose it is.
    pub owner: Owner,
    /// Number of the declaration, from 1.
    pub generation: u64,
    /// Number of its services.
    pub service_count: usize,
    /// Number of the servers of all its services.
    pub server_count: usize,
    /// How it is kept.
    pub settings: TableSettings,
    /// The timeouts and sync daemons that it declares.
    pub director: Director,
    /// Of the declaration.
    pub etag: Etag,
    /// How the kernel's table compares.
    pub status: TableStatus,
    /// The last apply that began to change the kernel's table; `None` before it.
    pub last_apply: Option<LastApply>,
    /// Declared services that another table has taken over.
    pub lost: Vec<ServiceKey>,
}

words! {
    /// How a declared table and the kernel's compare.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    TableStatus {
        /// The kernel has what is declared.
        InSync = "in_sync",
        /// The kernel has something else.
        Drifted = "drifted",
        /// It is being applied.
        Applying = "applying",
        /// The last apply failed, and the kernel does not have what is declared.
        Failed = "failed",
    }
}

/// The last apply of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastApply {
    /// Id of the apply.
    pub apply_id: String,
    /// When it ended (RFC 3339).
    pub end_time: String,
    /// How it ended.
    pub outcome: ApplyOutcome,
}

words! {
    /// How an apply ended.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    ApplyOutcome {
        /// There was nothing to do.
        Unchanged = "unchanged",
        /// All operations were executed.
        Applied = "applied",
        /// A dry run: these operations would be executed.
        Planned = "planned",
        /// An operation failed, and the others were undone.
        RolledBack = "rolled_back",
        /// An operation failed, and not all of the others could be undone, or not everything restored.
        RollbackIncomplete = "rollback_incomplete",
        /// Some operations failed, and the others were executed.
        Partial = "partial",
        /// It has not ended yet.
        Running = "running",
    }
}

//! How a declared table is kept.

use serde::{Deserialize, Serialize};

use super::word::words;

words! {
    /// What the daemon does about drift of a declared table.
    #[derive(Default, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Reconcile {
        /// Nothing.
        #[default]
        Off = "off",
        /// Logs it.
        Report = "report",
        /// Makes the kernel have what is declared. Other writes to the services of the table are refused.
        Repair = "repair",
    }
}

words! {
    /// What becomes of the servers that a table does not declare any more.
    #[derive(Default, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    Removal {
        /// They are deleted.
        #[default]
        Now = "now",
        /// They get no new connections, and are deleted when they have none.
        Drain = "drain",
    }
}

/// What is declared of a table beside its services. An apply and PATCH set it; what they do not name stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct TableSettings {
    /// What the daemon does about drift.
    pub reconcile: Reconcile,
    /// Whether servers that exist keep their weight.
    pub keep_weights: bool,
    /// What becomes of servers that are not declared any more.
    pub removal: Removal,
    /// Seconds until servers that drain are deleted with the connections that they have; `None`: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_deadline_seconds: Option<u32>,
}

//! Declared tables: an owner declares which services it has, and the kernel's table is made so.

mod apply;
mod list;
mod options;
mod pending;
mod plan;
mod recovery;
mod registry;
mod run;
mod touched;

pub use list::{ListTables, TableReport, TableStatus};
pub use options::ApplyOptions;
pub use recovery::{Interrupted, RestoreOnStart};
pub use registry::{DeclaredTable, LastApply, TableState};

pub(in crate::app) use registry::Registry;

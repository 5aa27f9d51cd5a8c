//! Declared tables: an owner declares which services it has, and the kernel's table is made so.

mod apply;
mod declared;
mod director;
mod last_operations;
mod list;
mod memory;
mod operation_list;
mod options;
mod pending;
mod plan;
mod protection;
mod reconcile;
mod recovery;
mod registry;
mod repairs;
mod run;
mod snapshot;
mod stored;
mod touched;
mod update;

pub use declared::{DeclaredTable, TableState};
pub use list::{ListTables, TableReport};
pub use operation_list::{ListOperations, ListedOperation, OperationPage};
pub use options::{ApplyOptions, DeleteTableOptions};
pub use recovery::{Interrupted, RestoreOnStart};
pub use repairs::{Conflict, Object as ConflictObject};

pub(in crate::app) use protection::{Protected, refuse_protected};
pub(in crate::app) use registry::Registry;

//! Drains and ramps: they hold the weights of servers ([docs/drain.md](../../../docs/drain.md)).
//!
//! The executor knows the holds and applies them to all that it reads and writes (`executor/holds.rs`). Here are
//! the requests, what is stored, and the task that looks after the servers.

mod all;
mod blockers;
mod enforce;
mod fallback;
mod list;
mod listed;
mod registry;
mod removal;
mod requests;
mod stored;
mod task;

pub use list::ListHolds;
pub(super) use registry::{HoldRegistry, Removing};
pub(super) use removal::TableDrains;

//! Health checks: servers that fail get no new connections ([docs/health.md](../../../docs/health.md)).
//!
//! What follows from the outcomes of checks is in `health`, and the checks themselves are in `probe`. Here are what is
//! known of all servers, its records in the store, the tasks that check and that change the kernel, and the requests.
//! A server that fails is held like one that is drained (`app/holds`): it keeps its intended weight.

mod apply;
mod checked_server;
mod checked_service;
mod list;
mod outcomes;
mod registry;
mod requests;
mod results;
mod seen;
mod stored;
mod task;

pub use list::ListHealth;
pub(super) use registry::HealthRegistry;
pub use task::MAX_RUNNING_CHECKS;

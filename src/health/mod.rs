//! Health of real servers: what follows from the outcomes of checks. No I/O and no clock of its own.
//!
//! [`ServerHealth`] counts the outcomes of one server, [`decide`] says which servers of a service get no new
//! connections, [`StormGuard`] finds failures that are rather those of the director, and [`Schedule`] says when a
//! server is checked.

mod decision;
mod outcome;
mod schedule;
mod server;
mod storm;

pub use decision::{Decision, Member, decide};
pub use outcome::{Failure, Outcome};
pub use schedule::Schedule;
pub use server::{ServerHealth, Verdict};
pub use storm::{Silence, StormGuard};

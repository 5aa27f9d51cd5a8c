//! An in-memory simulator of IPVS that exchanges netlink bytes like the real kernel. Used by tests
//! and benchmarks, and by `ipvsd --kernel fake` for developing clients without root.
//!
//! The simulator performs the kernel's checks in the kernel's order with the kernel's errnos, and
//! accepts what the kernel accepts. Differential tests compare it with a real kernel. Known
//! differences:
//!
//! * One simulator is one network namespace. Capabilities are a single switch.
//! * There is no traffic: tests set counters and connections ([`FakeKernel::set_counters`] etc.).
//! * There are no routes: of the IPv4 addresses of real servers, only 0.0.0.0, multicast,
//!   255.255.255.255 and [configured](FakeKernel::add_broadcast) broadcast addresses are rejected;
//!   no link-local IPv6 address belongs to the host.
//! * A removed real server that is added again has its old counters as long as its service exists.
//!   The kernel discards them after about two minutes.
//! * A sync daemon is a record of its parameters; its sockets never fail.
//! * Services are dumped in the order of the kernel's hash table, but without the namespace pointer
//!   in the hash, so the order is the same in each run.
//! * There are no extended acknowledgements; IPVS sends hardly any.
//!
//! `kernel`, `state` and `fault` refer to each other, because a fault runs a callback on the kernel
//! that it belongs to.

mod abi;
mod commands;
mod connections;
mod counters;
mod destination;
mod dump;
mod execute;
mod fault;
mod files;
mod kernel;
mod replies;
mod service;
mod socket;
mod state;
mod sync_daemon;
mod sysctl;
mod table;
#[cfg(test)]
mod tests;
mod wire;

pub use connections::LineIter;
pub use counters::Counters;
pub use destination::{Connections, Destination};
pub use fault::{Fault, Faults, Hook, On, Rewrite};
pub use kernel::FakeKernel;
pub use service::{Service, ServiceId};

pub use crate::codec::uapi::command;

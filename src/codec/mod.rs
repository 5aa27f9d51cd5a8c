//! Encoding of the model as netlink messages and `/proc` text, and back. No I/O; no input causes a
//! panic.
//!
//! Messages have the layout of `include/uapi/linux/ip_vs.h` ([`uapi`]). They are read and written in
//! place instead of with neli's types, which copy every attribute: a table of 100,000 real servers
//! has 40 MB of messages. neli provides the socket and the constants of netlink itself.

mod attributes;
mod counters;
mod errno;
mod proc;
mod reply;
mod request;
mod server;
mod server_layout;
mod service;
mod sync_daemon;
pub mod uapi;
pub mod wire;

#[cfg(test)]
mod tests;

pub use errno::rejected;
pub use proc::{connection, counted_totals, is_member, sockets_to, totals};
pub use reply::{family_id, info, timeouts};
pub use request::{Get, dump_servers, dump_services, dump_sync_daemons, get, op, resolve_family};
pub use server::server;
pub use service::service;
pub use sync_daemon::sync_daemon;

//! Netlink bytes and `/proc` text to and from the model; no IO, and no panic on any bytes.
//!
//! The layout of IPVS's messages is that of `include/uapi/linux/ip_vs.h`. They are built and read in
//! place here rather than with neli's types, which copy every attribute: a table of 100,000 real
//! servers is 40 MB of them. neli has the rest: the socket, and the numbers of netlink itself.

mod decode;
mod encode;
mod errno;
mod proc;
pub mod wire;

#[cfg(test)]
mod tests;

pub use decode::{family_id, info, server, service, sync_daemon, timeouts};
pub use encode::{dump_servers, dump_services, dump_sync_daemons, get, op, resolve_family};
pub use errno::rejected;
pub use proc::{connection, totals};

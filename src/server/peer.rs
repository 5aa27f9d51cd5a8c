//! Who is at the other end of a connection.

use std::fmt;
use std::net::SocketAddr;

/// The client, as the kernel knows it. In every request's extensions as
/// [`ConnectInfo<Peer>`](axum::extract::ConnectInfo), for HTTP and gRPC alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client; proves nothing but a route back.
    Tcp(SocketAddr),
    /// A process on this machine (SO_PEERCRED, as of its `connect`).
    Unix {
        /// Its effective user.
        uid: u32,
        /// Its effective group.
        gid: u32,
        /// Its process id; absent when it lives in a pid namespace that ours does not see.
        pid: Option<i32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix {
                uid,
                gid,
                pid: Some(pid),
            } => {
                write!(f, "unix:uid={uid},gid={gid},pid={pid}")
            }
            Peer::Unix {
                uid,
                gid,
                pid: None,
            } => write!(f, "unix:uid={uid},gid={gid}"),
        }
    }
}

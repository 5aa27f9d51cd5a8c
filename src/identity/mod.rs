//! Who sends a request: the principal that the daemon recognised, the peer at the other end of the
//! connection, and the site whose page made a browser send it. No I/O.

mod host;
mod site;

use std::{fmt, net::SocketAddr};

pub use host::{Authority, Host, InvalidAuthority};
pub use site::require_own_site;

/// The identity on whose behalf a request runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A client that presented no credential.
    #[default]
    Anonymous,
    /// The daemon itself. The name says which part of it, such as `readiness`.
    System(&'static str),
}

/// The other end of a connection, as the kernel reports it. HTTP and gRPC requests carry it as the
/// extension `ConnectInfo<Peer>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client. The source address is not authenticated.
    Tcp(SocketAddr),
    /// A local process (`SO_PEERCRED`, taken when it connected; unix(7)).
    Unix {
        /// Effective user id.
        uid: u32,
        /// Effective group id.
        gid: u32,
        /// Process id; absent if the process is in a PID namespace that this one cannot see.
        pid: Option<i32>,
    },
}

// === impl Principal ===

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::System(name) => write!(f, "system:{name}"),
        }
    }
}

// === impl Peer ===

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { uid, gid, pid } => {
                write!(f, "unix:uid={uid},gid={gid}")?;
                match pid {
                    Some(pid) => write!(f, ",pid={pid}"),
                    None => Ok(()),
                }
            }
        }
    }
}

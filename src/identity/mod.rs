//! Who sends a request, and what it may do: the principal, its role and its scope, the policy that
//! assigns them to credentials, and the decision; the peer at the other end of the connection, and
//! the site whose page made a browser send the request. No I/O.

mod certificate;
mod credential;
mod decision;
mod host;
pub mod jwt;
mod policy;
mod principal;
mod protocol;
mod role;
mod scope;
mod session_cookie;
mod site;
mod verb;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

pub use certificate::{CertificateIdentity, MAX_CERTIFICATE_NAME, MAX_CERTIFICATE_NAMES, OverTls};
pub use credential::{Authenticate, Credential, Session, TOKEN_PREFIX};
pub use decision::unauthenticated;
pub use host::{Authority, Host, InvalidAuthority};
pub use policy::{Accounts, DEFAULT_GROUP, DEFAULT_OVERFLOW_ID, Entry, Policy, PolicyError};
pub use principal::{CredentialKind, Grant, Principal};
pub use protocol::Protocol;
pub use role::{InvalidRole, Role};
pub use scope::{Rule, Scope};
pub use session_cookie::{BrowserSession, SessionCookie, SessionSecret, session_cookie};
pub use site::require_own_site;
pub use verb::{Extent, InvalidVerb, Verb};

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

/// What distinguishes peers: the address, as far as its owner cannot choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerKey {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The first 64 bits of an IPv6 address: a subnet, within which a host takes any address.
    V6(u64),
    /// The user of a local process.
    User(u32),
}

// === impl PeerKey ===

impl PeerKey {
    /// The key of a peer. An address of IPv4 in one of IPv6 is that of IPv4.
    pub fn of(peer: Peer) -> Self {
        match peer {
            Peer::Unix { uid, .. } => Self::User(uid),
            Peer::Tcp(address) => match address.ip().to_canonical() {
                IpAddr::V4(address) => Self::V4(address),
                IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
            },
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

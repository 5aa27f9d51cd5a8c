//! Listen addresses in text form: `127.0.0.1:4787`, `[::1]:4787`, `tls:0.0.0.0:4788`, `unix:/path`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

/// The default TCP port.
pub const DEFAULT_PORT: u16 = 4787;

/// The default unix socket.
pub const DEFAULT_SOCKET: &str = "/run/ipvsd/ipvsd.sock";

/// Maximum length of a unix socket path in bytes: `sun_path` without its terminating null byte
/// (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// An address to listen on. Default: `127.0.0.1:4787`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP. Port 0 selects a free port.
    Tcp(SocketAddr),
    /// TLS over TCP. Port 0 selects a free port.
    Tls(SocketAddr),
    /// A unix stream socket at an absolute path of at most 107 bytes.
    Unix(PathBuf),
}

/// The text is neither `ADDRESS:PORT`, `tls:ADDRESS:PORT` nor `unix:/absolute/path`.
#[derive(Clone, Copy, Debug, Error)]
#[error("not ADDRESS:PORT, [ADDRESS]:PORT, one of them after tls:, or unix:/absolute/path")]
pub struct AddressError;

impl ListenAddress {
    /// Whether only processes on this machine can connect.
    pub fn is_local(&self) -> bool {
        // to_canonical: ::ffff:127.0.0.1 is a loopback address too.
        self.tcp()
            .is_none_or(|address| address.ip().to_canonical().is_loopback())
    }

    /// Whether requests and responses are encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self, ListenAddress::Tls(_))
    }

    /// Address and port, unless it is a unix socket.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            ListenAddress::Tcp(address) | ListenAddress::Tls(address) => Some(*address),
            ListenAddress::Unix(_) => None,
        }
    }

    /// Whether the kernel refuses to listen on both: they have the same port, and the same address
    /// or one that includes the other. `[::]` includes IPv4 (ipv6(7)).
    pub(super) fn excludes(&self, other: &Self) -> bool {
        let (Some(one), Some(two)) = (self.tcp(), other.tcp()) else {
            return self == other;
        };
        if one.port() != two.port() || one.port() == 0 {
            return false;
        }
        let includes = |one: IpAddr, two: IpAddr| match one {
            IpAddr::V4(address) => address.is_unspecified() && two.is_ipv4(),
            IpAddr::V6(address) => address.is_unspecified(),
        };
        let (one, two) = (one.ip().to_canonical(), two.ip().to_canonical());
        one == two || includes(one, two) || includes(two, one)
    }
}

impl ListenAddress {
    /// The default unix socket.
    pub fn default_socket() -> Self {
        Self::Unix(DEFAULT_SOCKET.into())
    }
}

impl Default for ListenAddress {
    fn default() -> Self {
        ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)))
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix("unix:") {
            Some(path) => {
                let fits = path.len() <= MAX_SOCKET_PATH && !path.contains('\0');
                let names_a_file = Path::new(path).is_absolute() && !path.ends_with('/');
                let path = Some(path)
                    .filter(|_| fits && names_a_file)
                    .ok_or(AddressError)?;
                Ok(ListenAddress::Unix(path.into()))
            }
            None => match text.strip_prefix("tls:") {
                Some(address) => address.parse().map(ListenAddress::Tls),
                None => text.parse().map(ListenAddress::Tcp),
            }
            .map_err(|_| AddressError),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Tls(address) => write!(f, "tls:{address}"),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

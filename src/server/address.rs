//! Where to listen, in the operator's words: `127.0.0.1:4787`, `[::1]:4787`, `unix:/path`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// The port of the daemon when nobody names one.
pub const DEFAULT_PORT: u16 = 4787;

/// The longest path of a unix socket in bytes: `sun_path` without its closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

/// One address to listen on. Default: `127.0.0.1:4787`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP. Port 0 takes any free one.
    Tcp(SocketAddr),
    /// A unix stream socket at an absolute path of at most 107 bytes.
    Unix(PathBuf),
}

/// The text is neither `ADDRESS:PORT` nor `unix:/absolute/path`.
#[derive(Clone, Copy, Debug, Error)]
#[error("not ADDRESS:PORT, [ADDRESS]:PORT or unix:/absolute/path")]
pub struct NotAnAddress;

impl ListenAddress {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            // ::ffff:127.0.0.1 is loopback as well.
            ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
            ListenAddress::Unix(_) => true,
        }
    }
}

impl Default for ListenAddress {
    fn default() -> Self {
        ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)))
    }
}

impl FromStr for ListenAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        match text.strip_prefix("unix:") {
            Some(path) => {
                let fits = path.len() <= LONGEST_SOCKET_PATH && !path.contains('\0');
                let names_a_file = Path::new(path).is_absolute() && !path.ends_with('/');
                let path = Some(path)
                    .filter(|_| fits && names_a_file)
                    .ok_or(NotAnAddress)?;
                Ok(ListenAddress::Unix(path.into()))
            }
            None => text
                .parse()
                .map(ListenAddress::Tcp)
                .map_err(|_| NotAnAddress),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

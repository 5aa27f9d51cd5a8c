//! The interface of a kernel: what the executor needs, without knowledge of IPVS.

use std::{
    fmt::{self, Debug},
    io::{self, BufRead, BufReader, Read},
    time::Duration,
};

use super::buffers::RecvBuffers;

/// A network namespace of a kernel.
///
/// A thread calls [`enter`](Kernel::enter) before it opens or writes anything.
pub trait Kernel: Debug + Send + Sync + 'static {
    /// The name or path of the managed network namespace; `None` for that of the daemon, which never
    /// changes.
    fn namespace(&self) -> Option<&str>;

    /// The identity of the namespace that has the name at this moment.
    fn identity(&self) -> io::Result<NamespaceId>;

    /// Moves the calling thread into the managed network namespace and returns its identity. Such a
    /// thread runs nothing else.
    fn enter(&self) -> io::Result<NamespaceId>;

    /// Moves the calling thread back into the namespace of the daemon. A namespace exists as long as
    /// a thread is in it or a socket belongs to it.
    fn leave(&self) -> io::Result<()>;

    /// Opens a generic netlink socket in the namespace.
    fn connect(&self) -> io::Result<Box<dyn Transport>>;

    /// Opens a file below `/proc` for reading, such as `net/ip_vs_conn` or
    /// `sys/net/ipv4/vs/drop_entry`. `net/` is that of the calling thread's namespace.
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>>;

    /// The index of the network interface with this name in the calling thread's namespace.
    fn interface_index(&self, name: &str) -> io::Result<Option<u32>>;

    /// The lines of a file below `/proc`, until one is not UTF-8.
    fn lines(&self, path: &str) -> io::Result<Box<dyn Iterator<Item = String>>> {
        let lines = BufReader::new(self.open(path)?).lines();
        Ok(Box::new(lines.map_while(Result::ok)))
    }

    /// Writes a file below `/proc` in one call, such as `sys/net/ipv4/vs/drop_entry`.
    fn write(&self, path: &str, text: &str) -> io::Result<()>;
}

/// The identity of a network namespace: the device and the inode of its file (namespaces(7)). No
/// two namespaces that exist at the same time have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NamespaceId {
    /// Device of the file.
    pub device: u64,
    /// Inode of the file, the number in `net:[4026531840]`.
    pub inode: u64,
}

/// A generic netlink socket. The kernel executes a request inside `send` and fills a dump inside
/// `receive`. A reply is therefore available as soon as `send` returns, or it never arrives.
pub trait Transport: Send {
    /// Sends a datagram of one or more netlink messages, each padded to 4 bytes.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Receives the available datagrams: at least one, at most as many as `buffers` holds.
    ///
    /// # Errors
    /// * [`io::ErrorKind::TimedOut`] if no datagram arrives within `wait`.
    /// * `ENOBUFS` if the receive buffer of the socket overflowed and replies were dropped.
    /// * [`io::ErrorKind::InvalidData`] if a datagram was longer than its buffer.
    fn receive(&mut self, buffers: &mut RecvBuffers, wait: Duration) -> io::Result<()>;
}

// === impl NamespaceId ===

impl fmt::Display for NamespaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, inode } = self;
        write!(f, "net:[{inode}] on device {device}")
    }
}

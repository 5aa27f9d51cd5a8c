//! The interface of a kernel: what the executor needs, without knowledge of IPVS.

use std::{
    fmt::Debug,
    io::{self, Read},
    time::Duration,
};

use super::buffers::RecvBuffers;

/// A network namespace of a kernel.
///
/// A thread calls [`enter`](Kernel::enter) before it calls any other method.
pub trait Kernel: Debug + Send + Sync + 'static {
    /// Moves the calling thread into the managed network namespace. Called once, at the start of
    /// each thread that uses the kernel. Such a thread runs nothing else.
    fn enter(&self) -> io::Result<()>;

    /// Opens a generic netlink socket in the namespace.
    fn connect(&self) -> io::Result<Box<dyn Transport>>;

    /// Opens a file below `/proc` for reading, such as `net/ip_vs_conn` or
    /// `sys/net/ipv4/vs/drop_entry`. `net/` is that of the calling thread's namespace.
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>>;

    /// Writes a file below `/proc` in one call, such as `sys/net/ipv4/vs/drop_entry`.
    fn write(&self, path: &str, text: &str) -> io::Result<()>;
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

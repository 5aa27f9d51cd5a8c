//! The seam between ipvsd and a kernel: what the executor needs of one, and nothing of IPVS.
//!
//! Two kernels stand behind it: the real one ([`NetlinkKernel`](super::NetlinkKernel)) and the
//! in-memory [`FakeKernel`](super::FakeKernel). Both speak netlink bytes, so that everything above
//! this line is the same code in every test and in production.

use std::{
    fmt::Debug,
    io::{self, Read},
    time::Duration,
};

/// One network namespace of a kernel.
///
/// All methods but [`enter`](Kernel::enter) are called on a thread that has called `enter` before.
pub trait Kernel: Debug + Send + Sync + 'static {
    /// Moves the calling thread into the managed network namespace. Called once, at the start of
    /// each thread that talks to this kernel; such a thread is never shared with anything else.
    fn enter(&self) -> io::Result<()>;

    /// Opens a generic-netlink socket in the namespace.
    fn connect(&self) -> io::Result<Box<dyn Transport>>;

    /// Opens a file below `/proc` for reading, such as `net/ip_vs_conn` or
    /// `sys/net/ipv4/vs/drop_entry`. `net/…` is that of the calling thread's namespace.
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>>;

    /// Writes a whole file below `/proc` in one call, such as `sys/net/ipv4/vs/drop_entry`.
    fn write(&self, path: &str, text: &str) -> io::Result<()>;
}

/// One generic-netlink socket. A request is executed inside `send`; a dump is filled inside
/// `receive`; so an answer is there as soon as it is asked for, or it never comes.
pub trait Transport: Send {
    /// Sends one datagram of one or more netlink messages (each padded to 4 bytes).
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Receives one datagram and returns its length. [`io::ErrorKind::TimedOut`] when none came
    /// within `wait`; `ENOBUFS` when the socket had to drop answers; an error of kind
    /// [`io::ErrorKind::InvalidData`] when the datagram was longer than `buffer`.
    fn receive(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize>;
}

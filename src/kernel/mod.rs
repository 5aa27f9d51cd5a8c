//! The seam between ipvsd and a kernel: what the executor needs of one, and nothing of IPVS.
//!
//! Two kernels stand behind it: the real one ([`NetlinkKernel`](super::NetlinkKernel)) and the
//! in-memory [`FakeKernel`](super::FakeKernel). Both speak netlink bytes, so that everything above
//! this line is the same code in every test and in production.

pub mod fake;
mod netlink;

pub use fake::FakeKernel;
pub use netlink::NetlinkKernel;

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

    /// Receives the datagrams that are there: one at least, as many as `inbox` has room for.
    /// [`io::ErrorKind::TimedOut`] when none came within `wait`; `ENOBUFS` when the socket had to
    /// drop answers; an error of kind [`io::ErrorKind::InvalidData`] when a datagram was longer
    /// than its place.
    fn receive(&mut self, inbox: &mut Inbox, wait: Duration) -> io::Result<()>;
}

/// Places for datagrams, filled together and again and again: a system call for each datagram would
/// be most of what a listing costs, since the kernel ends each dump with one more.
#[derive(Debug)]
pub struct Inbox {
    bytes: Box<[u8]>,
    longest: usize,
    lengths: Vec<usize>,
}

// === impl Inbox ===

impl Inbox {
    /// `places` for datagrams of up to `longest` bytes, one at least of each. What is never filled
    /// costs no memory.
    pub fn new(places: usize, longest: usize) -> Self {
        let (places, longest) = (places.max(1), longest.max(1));
        Self {
            bytes: vec![0; places * longest].into_boxed_slice(),
            longest,
            lengths: Vec::with_capacity(places),
        }
    }

    /// The places, to be filled from the first on. What was in them is gone.
    pub fn places(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.lengths.clear();
        self.bytes.chunks_exact_mut(self.longest)
    }

    /// Tells how long the datagrams are that came; one that did not fit is an error.
    pub fn filled(&mut self, lengths: impl IntoIterator<Item = usize>) -> io::Result<()> {
        self.lengths.extend(lengths);
        match self.lengths.iter().find(|length| **length > self.longest) {
            None => Ok(()),
            Some(length) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a datagram of {length} bytes, more than {}", self.longest),
            )),
        }
    }

    /// The datagrams that came last.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let places = self.bytes.chunks_exact(self.longest);
        places
            .zip(&self.lengths)
            .map(|(place, length)| place.get(..*length).unwrap_or_default())
    }
}

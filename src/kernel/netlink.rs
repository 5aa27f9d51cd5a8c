//! The real kernel: a generic-netlink socket and `/proc`, in a network namespace.

use std::{
    fs::File,
    io::{self, IoSliceMut, Read, Write},
    os::fd::{AsRawFd, BorrowedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use neli::{
    consts::socket::{Msg, NlFamily},
    socket::NlSocket,
    utils::Groups,
};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns},
    sys::socket::{MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt},
};

use super::{Inbox, Kernel, Transport};

/// The running kernel, in the daemon's own network namespace or in another.
#[derive(Clone, Debug)]
pub struct NetlinkKernel {
    namespace: Option<PathBuf>,
}

/// Answers wait here until they are read. The kernel's default, 208 KiB, holds the errors of a
/// packed send that fails as a whole; this holds several such.
const RECEIVE_BUFFER: usize = 1 << 20;

struct Socket(NlSocket);

// === impl NetlinkKernel ===

impl NetlinkKernel {
    /// The kernel in the network namespace `name` (as `ip netns` names it, or a path); `None` for
    /// the daemon's own.
    pub fn new(name: Option<&str>) -> Self {
        Self {
            namespace: name.map(|name| Path::new("/run/netns").join(name)),
        }
    }
}

impl Kernel for NetlinkKernel {
    fn enter(&self) -> io::Result<()> {
        let Some(path) = &self.namespace else {
            return Ok(());
        };
        Ok(setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?)
    }

    fn connect(&self) -> io::Result<Box<dyn Transport>> {
        let socket = Socket(NlSocket::connect(NlFamily::Generic, None, Groups::empty())?);
        // Beyond the limit for all needs CAP_NET_ADMIN, which managing IPVS needs anyway.
        if setsockopt(&socket.fd(), sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&socket.fd(), sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        Ok(Box::new(socket))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(proc_path(path))?))
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        // The kernel takes a value whole, in one write.
        File::options()
            .write(true)
            .open(proc_path(path))?
            .write_all(text.as_bytes())
    }
}

/// `/proc/net` is that of the process's first thread; a thread in another namespace has its own.
fn proc_path(path: &str) -> PathBuf {
    let base = if path.starts_with("net/") {
        "/proc/thread-self"
    } else {
        "/proc"
    };
    Path::new(base).join(path)
}

// === impl Socket ===

impl Socket {
    #[expect(
        unsafe_code,
        reason = "neli's socket lends its descriptor as a bare number only"
    )]
    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the socket, which the result borrows.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

impl Socket {
    /// The lengths of the datagrams that are there.
    fn receive_now(&self, inbox: &mut Inbox) -> nix::Result<Vec<usize>> {
        let mut places: Vec<_> = inbox
            .places()
            .map(|place| [IoSliceMut::new(place)])
            .collect();
        let mut headers = MultiHeaders::<()>::preallocate(places.len(), None);
        // With MSG_TRUNC the length is that of the datagram, whatever of it fits.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let received = recvmmsg(self.0.as_raw_fd(), &mut headers, &mut places, flags, None)?;
        Ok(received.map(|datagram| datagram.bytes).collect())
    }
}

impl Transport for Socket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let sent = self.0.send(datagram, Msg::empty())?;
        if sent == datagram.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    fn receive(&mut self, inbox: &mut Inbox, wait: Duration) -> io::Result<()> {
        loop {
            match self.receive_now(inbox) {
                Ok(lengths) => return inbox.filled(lengths),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
                    match poll(&mut [PollFd::new(self.fd(), PollFlags::POLLIN)], timeout) {
                        Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

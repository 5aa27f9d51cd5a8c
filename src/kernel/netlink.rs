//! The real kernel: generic netlink and `/proc` in a network namespace.

use std::{
    fs::{self, File, Metadata},
    io::{self, IoSliceMut, Read, Write},
    os::{
        fd::{AsRawFd, BorrowedFd},
        linux::fs::MetadataExt,
    },
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
    net::if_::if_nametoindex,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns},
    sys::socket::{MsgFlags, MultiHeaders, recvmmsg, setsockopt, sockopt},
};

use super::{
    buffers::RecvBuffers,
    transport::{Kernel, NamespaceId, Transport},
};

/// The running kernel, in the network namespace of the daemon or in another one.
#[derive(Clone, Debug)]
pub struct NetlinkKernel {
    namespace: Option<Namespace>,
}

#[derive(Clone, Debug)]
struct Namespace {
    name: String,
    path: PathBuf,
}

/// Size of the socket's receive buffer in bytes. The kernel's default of 208 KiB holds the error
/// replies of one batch in which every request fails; this holds several batches.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The namespace of the main thread, which never leaves it.
const OWN_NAMESPACE: &str = "/proc/self/ns/net";

struct Socket(NlSocket);

// === impl NetlinkKernel ===

impl NetlinkKernel {
    /// The kernel in the network namespace `name` (a name of `ip netns`, or a path); `None` for that
    /// of the daemon.
    pub fn new(name: Option<&str>) -> Self {
        Self {
            namespace: name.map(|name| Namespace {
                name: name.to_owned(),
                path: Path::new("/run/netns").join(name),
            }),
        }
    }
}

impl Kernel for NetlinkKernel {
    fn namespace(&self) -> Option<&str> {
        let namespace = self.namespace.as_ref()?;
        Some(&namespace.name)
    }

    fn identity(&self) -> io::Result<NamespaceId> {
        match &self.namespace {
            Some(namespace) => Ok(id(&fs::metadata(&namespace.path)?)),
            None => Ok(NamespaceId::default()),
        }
    }

    fn enter(&self) -> io::Result<NamespaceId> {
        let Some(namespace) = &self.namespace else {
            return Ok(NamespaceId::default());
        };
        let file = File::open(&namespace.path)?;
        setns(&file, CloneFlags::CLONE_NEWNET)?;
        // Of the open file: the name may have another namespace by now.
        Ok(id(&file.metadata()?))
    }

    fn leave(&self) -> io::Result<()> {
        match &self.namespace {
            Some(_) => Ok(setns(File::open(OWN_NAMESPACE)?, CloneFlags::CLONE_NEWNET)?),
            None => Ok(()),
        }
    }

    fn connect(&self) -> io::Result<Box<dyn Transport>> {
        let socket = Socket(NlSocket::connect(NlFamily::Generic, None, Groups::empty())?);
        // A size above net.core.rmem_max requires CAP_NET_ADMIN, which IPVS requires anyway.
        if setsockopt(&socket.fd(), sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&socket.fd(), sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        Ok(Box::new(socket))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(proc_path(path))?))
    }

    fn interface_index(&self, name: &str) -> io::Result<Option<u32>> {
        match if_nametoindex(name) {
            Ok(index) => Ok(Some(index)),
            Err(Errno::ENODEV) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        // The kernel parses each write separately.
        File::options()
            .write(true)
            .open(proc_path(path))?
            .write_all(text.as_bytes())
    }
}

fn id(file: &Metadata) -> NamespaceId {
    NamespaceId {
        device: file.st_dev(),
        inode: file.st_ino(),
    }
}

/// `/proc/net` is that of the main thread. A thread in another namespace needs `thread-self`.
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
        reason = "neli's socket exposes its descriptor only as a number"
    )]
    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket keeps the descriptor open, and the result borrows the socket.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }

    /// Receives the available datagrams without waiting, and returns their lengths.
    fn receive_now(&self, buffers: &mut RecvBuffers) -> nix::Result<Vec<usize>> {
        let mut slices: Vec<_> = buffers
            .buffers()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let mut headers = MultiHeaders::<()>::preallocate(slices.len(), None);
        // With MSG_TRUNC, the kernel returns the full length of a truncated datagram.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let received = recvmmsg(self.0.as_raw_fd(), &mut headers, &mut slices, flags, None)?;
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

    fn receive(&mut self, buffers: &mut RecvBuffers, wait: Duration) -> io::Result<()> {
        loop {
            match self.receive_now(buffers) {
                Ok(lengths) => return buffers.set_lengths(lengths),
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

//! Requests to the kernel, and why a read fails.

use std::io;

use crate::{
    codec::Get,
    model::{Errno, Op, ServiceKey},
};

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel rejected it.
    #[error("the kernel rejected the request with {0}")]
    Rejected(Errno),
    /// The socket is in an unknown state and must be closed.
    #[error("the netlink socket failed: {0}")]
    Broken(#[from] io::Error),
    /// The table changed during the dump (`NLM_F_DUMP_INTR`).
    #[error("the table changed during the dump")]
    Interrupted,
}

/// What to dump.
#[derive(Clone, Copy, Debug)]
pub enum Dump {
    /// All services.
    Services,
    /// The servers of a service.
    Servers(ServiceKey),
    /// The sync daemons.
    SyncDaemons,
}

/// A request of a send.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// An operation. The kernel reports a failure; the last of a send is acknowledged, too.
    Op(&'a Op),
    /// A read whose reply is one message.
    Get(Get),
    /// A dump. The kernel runs one per socket at a time, so a send has at most one.
    Dump(Dump),
}

/// The longest datagram that the kernel sends in a dump. A longer one would be truncated.
pub const MAX_DATAGRAM: usize = 32 << 10;

// === impl ReadError ===

impl ReadError {
    /// The failure of a dump that ended with this errno (0 for success), during which the table
    /// changed or not.
    pub fn of_dump(status: i32, interrupted: bool) -> Result<(), Self> {
        match (status, interrupted) {
            (0, false) => Ok(()),
            (0, true) => Err(Self::Interrupted),
            (errno, _) => Err(Self::Rejected(Errno(errno))),
        }
    }
}

// === impl Dump ===

impl Dump {
    /// Whether an operation adds or removes entries of this dump, so that the datagrams after it
    /// may duplicate or hide entries.
    pub fn is_invalidated_by(self, op: &Op) -> bool {
        match (self, op) {
            (Self::SyncDaemons, _) => false,
            (_, Op::Clear) => true,
            (Self::Services, op) => matches!(op, Op::CreateService(..) | Op::DeleteService(_)),
            (
                Self::Servers(of),
                Op::CreateServer(to, ..)
                | Op::DeleteServer(to, _)
                | Op::CreateService(to, ..)
                | Op::DeleteService(to),
            ) => of == *to,
            (Self::Servers(_), _) => false,
        }
    }
}

/// The index of the last operation, which requests an acknowledgement.
pub fn last_op(requests: &[Request<'_>]) -> Option<usize> {
    requests.iter().rposition(|r| matches!(r, Request::Op(_)))
}

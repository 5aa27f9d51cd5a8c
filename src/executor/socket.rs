//! A netlink socket to IPVS: sends requests and matches replies by their sequence numbers.

use std::{io, ops::ControlFlow, time::Duration};

use crate::{
    codec::{
        self, Get,
        wire::{self, Head, Kind, Message},
    },
    kernel::{Kernel, RecvBuffers, Transport},
    model::{Errno, Op, ServiceKey},
};

/// A socket and the id of the IPVS netlink family.
pub struct IpvsSocket {
    transport: Box<dyn Transport>,
    family: u16,
    seq: u32,
    /// The datagram to send.
    out: Vec<u8>,
    received: RecvBuffers,
}

/// The outcome of an operation, as far as the replies show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel executed it.
    Done,
    /// The kernel rejected it and changed nothing.
    Rejected(Errno),
    /// It was sent, but the reply is lost. Reading the current state shows the outcome.
    Unknown,
    /// It was not sent.
    NotSent,
}

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

/// What to read right before an operation.
#[derive(Clone, Copy, Debug)]
pub enum ReadBefore {
    /// A service.
    Service(ServiceKey),
    /// The servers of a service. The kernel fills the first datagram of the dump before the
    /// operation, the others after it.
    Servers(ServiceKey),
}

/// The size of a dump.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    /// Datagrams with entries. The kernel fills one at one moment.
    pub datagrams: usize,
    /// Bytes of the entries.
    bytes: usize,
    /// Bytes of the longest entry.
    longest: usize,
}

/// Operations per send. More gain nothing, and 64 error replies, each with its request echoed, fit
/// the smallest receive buffer that kernels give.
const BATCH: usize = 64;
/// Requests per send whose replies are data. The replies, about 400 bytes each, wait in the
/// receive buffer.
const GET_BATCH: usize = 32;
/// Datagrams per system call: a dump of 100 servers has three. A higher number delays changes that
/// arrive during a long dump.
const DATAGRAMS: usize = 4;
/// The longest datagram that the kernel sends in a dump. A longer one would be truncated.
const MAX_DATAGRAM: usize = 32 << 10;
/// The kernel fills a datagram of a dump at least this far while it has entries. It takes
/// `sizeof(struct skb_shared_info)` from the 32 KiB: 320 bytes, or 768 with the largest
/// `CONFIG_MAX_SKB_FRAGS`.
const MIN_FILL: usize = MAX_DATAGRAM - 1024;
/// The kernel executes requests inside `send`, so their replies are there when it returns. A reply
/// that does not come soon is lost. One case: the kernel never acknowledges the stop of a sync
/// daemon whose thread has not started to run.
const REPLY_TIMEOUT: Duration = Duration::from_millis(250);

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
                | Op::CreateService(to, _)
                | Op::DeleteService(to),
            ) => of == *to,
            (Self::Servers(_), _) => false,
        }
    }
}

// === impl Extent ===

impl Extent {
    fn add(&mut self, is_new_datagram: bool, len: usize) {
        self.datagrams += usize::from(is_new_datagram);
        self.bytes += len;
        self.longest = self.longest.max(len);
    }

    /// Whether the dump is a snapshot: it filled one datagram and had space for another entry, so
    /// the kernel had no more at that moment. (A kernel that is short of memory fills smaller
    /// datagrams; their end is not detected.)
    pub fn is_snapshot(&self) -> bool {
        self.datagrams == 1 && self.bytes + self.longest <= MIN_FILL
    }
}

// === impl IpvsSocket ===

impl IpvsSocket {
    /// Opens a socket and resolves the family, which makes the kernel load the module `ip_vs`.
    pub fn connect(kernel: &dyn Kernel) -> Result<Self, ReadError> {
        let transport = kernel.connect()?;
        let mut socket = Self {
            transport,
            family: 0,
            seq: 0,
            out: Vec::new(),
            received: RecvBuffers::new(DATAGRAMS, MAX_DATAGRAM),
        };
        socket.family = socket.resolve()?;
        Ok(socket)
    }

    /// Whether the family still has the id that this socket uses. A module that is unloaded and
    /// loaded again gets a new id, and the kernel rejects the old one with ENOENT.
    pub fn is_current(&mut self) -> Result<bool, ReadError> {
        Ok(self.resolve()? == self.family)
    }

    /// Executes netlink operations in order. The kernel continues after a failure. The second value
    /// is the error of the socket, if it failed.
    pub fn execute(&mut self, ops: &[Op]) -> (Vec<Outcome>, Option<io::Error>) {
        let mut outcomes = vec![Outcome::NotSent; ops.len()];
        let broken = ops
            .chunks(BATCH)
            .zip(outcomes.chunks_mut(BATCH))
            .find_map(|(batch, outcomes)| self.execute_batch(batch, outcomes).err());
        (outcomes, broken)
    }

    /// One send for all. Only the last requests an acknowledgement; the kernel reports every
    /// failure anyway, in order.
    fn execute_batch(&mut self, ops: &[Op], outcomes: &mut [Outcome]) -> io::Result<()> {
        let first = self.reserve(ops.len());
        self.out.clear();
        for (i, op) in ops.iter().enumerate() {
            let head = self.head(first, i, i + 1 == ops.len());
            codec::op(&mut self.out, head, op);
        }
        self.transport.send(&self.out)?;
        outcomes.fill(Outcome::Unknown);
        let received = self.receive(|_, message| {
            let Kind::Outcome(errno) = message.kind else {
                return ControlFlow::Continue(());
            };
            let Some(outcome) = outcomes.get_mut(message.seq.wrapping_sub(first) as usize) else {
                return ControlFlow::Continue(());
            };
            *outcome = if errno == 0 {
                Outcome::Done
            } else {
                Outcome::Rejected(Errno(errno))
            };
            if message.seq == last(first, ops.len()) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        // The kernel reports every failure, so an operation without a reply has succeeded: all of
        // them once the last is acknowledged, all but the last if it times out. If replies were
        // dropped (ENOBUFS), a missing reply means nothing.
        let known = match &received {
            Ok(()) => outcomes.len(),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => outcomes.len() - 1,
            Err(_) => 0,
        };
        for outcome in outcomes.iter_mut().take(known) {
            if *outcome == Outcome::Unknown {
                *outcome = Outcome::Done;
            }
        }
        received
    }

    /// Executes an operation, and reads in the same send right before it, so that next to nothing can
    /// come between. `each` receives the attributes of what is read. The last value is the error of
    /// the socket, if it failed.
    pub fn execute_after(
        &mut self,
        read: ReadBefore,
        op: &Op,
        mut each: impl FnMut(&[u8]),
    ) -> (Outcome, Option<io::Error>) {
        let first = self.reserve(2);
        self.out.clear();
        let head = self.head(first, 0, false);
        match read {
            ReadBefore::Service(key) => codec::get(&mut self.out, head, Get::Service(key)),
            ReadBefore::Servers(key) => codec::dump_servers(&mut self.out, head, key),
        }
        let head = self.head(first, 1, true);
        codec::op(&mut self.out, head, op);
        if let Err(error) = self.transport.send(&self.out) {
            return (Outcome::NotSent, Some(error));
        }
        let (mut is_read, mut outcome) = (false, Outcome::Unknown);
        let received = self.receive(|_, message| {
            match (message.seq.wrapping_sub(first), message.kind) {
                (0, Kind::Attributes(bytes)) => {
                    each(bytes);
                    is_read |= matches!(read, ReadBefore::Service(_));
                }
                (0, Kind::Outcome(_) | Kind::Done(_)) => is_read = true,
                (1, Kind::Outcome(0)) => outcome = Outcome::Done,
                (1, Kind::Outcome(errno)) => outcome = Outcome::Rejected(Errno(errno)),
                _ => {}
            }
            match is_read && outcome != Outcome::Unknown {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        (outcome, received.err())
    }

    /// Sends requests whose reply is one message each, many per send. `reply` receives the index of
    /// the request and its attributes or errno, in order.
    pub fn get(
        &mut self,
        requests: &[Get],
        mut reply: impl FnMut(usize, Result<&[u8], Errno>),
    ) -> Result<(), ReadError> {
        for (i, batch) in requests.chunks(GET_BATCH).enumerate() {
            let first = self.reserve(batch.len());
            self.out.clear();
            for (j, request) in batch.iter().enumerate() {
                let head = self.head(first, j, false);
                codec::get(&mut self.out, head, *request);
            }
            self.transport.send(&self.out)?;
            self.receive(|_, message| {
                let index = message.seq.wrapping_sub(first) as usize;
                if index >= batch.len() {
                    return ControlFlow::Continue(());
                }
                match message.kind {
                    Kind::Attributes(bytes) => reply(i * GET_BATCH + index, Ok(bytes)),
                    Kind::Outcome(errno) | Kind::Done(errno) => {
                        reply(i * GET_BATCH + index, Err(Errno(errno)));
                    }
                }
                if message.seq == last(first, batch.len()) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        }
        Ok(())
    }

    /// Dumps. `each` receives the attributes of each message; `between` runs before each further
    /// receive.
    pub fn dump(
        &mut self,
        dump: Dump,
        mut each: impl FnMut(&[u8]),
        between: impl FnMut(),
    ) -> Result<Extent, ReadError> {
        let seq = self.reserve(1);
        self.out.clear();
        let head = self.head(seq, 0, false);
        match dump {
            Dump::Services => codec::dump_services(&mut self.out, head),
            Dump::Servers(key) => codec::dump_servers(&mut self.out, head, key),
            Dump::SyncDaemons => codec::dump_sync_daemons(&mut self.out, head),
        }
        self.transport.send(&self.out)?;
        let (mut interrupted, mut errno) = (false, 0);
        let (mut extent, mut current) = (Extent::default(), None);
        let take = |datagram, message: Message<'_>| {
            if message.seq != seq {
                return ControlFlow::Continue(());
            }
            interrupted |= message.interrupted;
            match message.kind {
                Kind::Attributes(bytes) => {
                    // The kernel ends a dump with a datagram of its own, which does not count.
                    let is_new = current.replace(datagram) != Some(datagram);
                    extent.add(is_new, wire::message_len(bytes.len()));
                    each(bytes);
                }
                Kind::Outcome(status) | Kind::Done(status) => {
                    errno = status;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        };
        self.receive_between(take, between)?;
        match (errno, interrupted) {
            (0, false) => Ok(extent),
            (0, true) => Err(ReadError::Interrupted),
            (errno, _) => Err(ReadError::Rejected(Errno(errno))),
        }
    }

    fn resolve(&mut self) -> Result<u16, ReadError> {
        let seq = self.reserve(1);
        self.out.clear();
        codec::resolve_family(&mut self.out, seq);
        self.transport.send(&self.out)?;
        let mut found = Err(Errno::ENOENT);
        self.receive(|_, message| {
            match message.kind {
                _ if message.seq != seq => return ControlFlow::Continue(()),
                Kind::Attributes(bytes) => found = codec::family_id(bytes).ok_or(Errno::ENOENT),
                Kind::Outcome(errno) | Kind::Done(errno) => found = Err(Errno(errno)),
            }
            ControlFlow::Break(())
        })?;
        found.map_err(ReadError::Rejected)
    }

    /// Receives messages until `take` breaks. It gets the index of the datagram of each message.
    fn receive(
        &mut self,
        take: impl FnMut(usize, Message<'_>) -> ControlFlow<()>,
    ) -> io::Result<()> {
        self.receive_between(take, || ())
    }

    /// Receives like `receive` and runs `between` before each further receive.
    fn receive_between(
        &mut self,
        mut take: impl FnMut(usize, Message<'_>) -> ControlFlow<()>,
        mut between: impl FnMut(),
    ) -> io::Result<()> {
        let mut number = 0;
        loop {
            self.transport.receive(&mut self.received, REPLY_TIMEOUT)?;
            for datagram in self.received.datagrams() {
                for message in wire::messages(datagram) {
                    // Later messages reply to no pending request.
                    if take(number, message).is_break() {
                        return Ok(());
                    }
                }
                number += 1;
            }
            between();
        }
    }

    /// The first of `count` new sequence numbers.
    fn reserve(&mut self, count: usize) -> u32 {
        let first = self.seq.wrapping_add(1);
        self.seq = self
            .seq
            .wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
        first
    }

    fn head(&self, first: u32, place: usize, ack: bool) -> Head {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        Head {
            family: self.family,
            seq: first.wrapping_add(place),
            ack,
        }
    }
}

fn last(first: u32, count: usize) -> u32 {
    first
        .wrapping_add(u32::try_from(count).unwrap_or(u32::MAX))
        .wrapping_sub(1)
}

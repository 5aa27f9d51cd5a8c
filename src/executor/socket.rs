//! A netlink socket to IPVS: sends requests and matches replies by their sequence numbers.

use std::{io, ops::ControlFlow, sync::Arc, time::Duration};

use super::{
    offload::offload,
    request::{Dump, MAX_DATAGRAM, ReadError, Request, last_op},
    service_state::{Extent, ServiceRead, ServiceState},
};
use crate::{
    codec::{
        self, Get,
        wire::{self, Head, Kind, Message},
    },
    kernel::{Kernel, RecvBuffers, Transport},
    metrics::{CommandResult, KernelMetrics},
    model::{Errno, Op},
};

/// A socket and the id of the IPVS netlink family.
pub struct IpvsSocket {
    transport: Box<dyn Transport>,
    family: u16,
    seq: u32,
    /// The datagram to send.
    out: Vec<u8>,
    received: RecvBuffers,
    metrics: Arc<KernelMetrics>,
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

/// Operations per send. More gain little, and as many error replies, each with its request echoed in
/// 1280 bytes of the kernel's memory, fit the smallest receive buffer that kernels give (208 KiB).
const BATCH: usize = 128;
/// Operations before a read in the same send. Their error replies and the first datagram of the read
/// fit the receive buffer.
pub const READ_AFTER: usize = 16;
/// Requests per send whose replies are data. The replies, about 400 bytes each, wait in the
/// receive buffer.
const GET_BATCH: usize = 32;
/// Datagrams per system call: a dump of 100 servers has three, and a change before it another one.
pub const DATAGRAMS: usize = 4;
/// The kernel executes requests inside `send`, so their replies are there when it returns. A reply
/// that does not come soon is lost. One case: the kernel never acknowledges the stop of a sync
/// daemon whose thread has not started to run.
const REPLY_TIMEOUT: Duration = Duration::from_millis(250);

// === impl Outcome ===

impl Outcome {
    /// Whether it is known what became of the operation, which was sent.
    pub fn is_sure(self) -> bool {
        matches!(self, Self::Done | Self::Rejected(_))
    }

    /// The outcome that a reply with this errno reports.
    fn of(errno: i32) -> Self {
        match errno {
            0 => Self::Done,
            errno => Self::Rejected(Errno(errno)),
        }
    }
}

impl From<Outcome> for CommandResult {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Rejected(errno) => Self::Rejected(errno),
            Outcome::Unknown => Self::Lost,
            Outcome::NotSent => Self::NotSent,
        }
    }
}

// === impl IpvsSocket ===

impl IpvsSocket {
    /// Opens a socket and resolves the family, which makes the kernel load the module `ip_vs`.
    pub fn connect(kernel: &dyn Kernel, metrics: &Arc<KernelMetrics>) -> Result<Self, ReadError> {
        let transport = kernel.connect()?;
        let mut socket = Self {
            transport,
            family: 0,
            seq: 0,
            out: Vec::new(),
            received: RecvBuffers::new(DATAGRAMS, MAX_DATAGRAM),
            metrics: metrics.clone(),
        };
        socket.family = socket.resolve()?;
        Ok(socket)
    }

    /// Whether the family still has the id that this socket uses. A module that is unloaded and
    /// loaded again gets a new id, and the kernel rejects the old one with ENOENT.
    pub fn is_current(&mut self) -> Result<bool, ReadError> {
        Ok(self.resolve()? == self.family)
    }

    /// What the executor counts.
    pub fn metrics(&self) -> &KernelMetrics {
        &self.metrics
    }

    /// The id of the netlink family.
    pub fn family(&self) -> u16 {
        self.family
    }

    /// Executes netlink operations in order. The kernel continues after a failure. The second value
    /// is the error of the socket, if it failed.
    pub fn execute(&mut self, ops: &[Op]) -> (Vec<Outcome>, Option<io::Error>) {
        let mut outcomes = vec![Outcome::NotSent; ops.len()];
        let broken = ops
            .chunks(BATCH)
            .zip(outcomes.chunks_mut(BATCH))
            .find_map(|(batch, outcomes)| self.execute_batch(batch, None, outcomes).err());
        (outcomes, broken)
    }

    /// Executes operations, at most [`READ_AFTER`], and reads a service right after them, in the same
    /// send. What was read counts only if all of them have succeeded.
    pub fn execute_and_read(
        &mut self,
        ops: &[Op],
        read: ServiceRead,
    ) -> (Vec<Outcome>, ServiceState, Option<io::Error>) {
        let mut outcomes = vec![Outcome::NotSent; ops.len()];
        let mut state = ServiceState::new(read);
        let broken = self.execute_batch(ops, Some((read, &mut state)), &mut outcomes);
        (outcomes, state, broken.err())
    }

    /// Reads a service in one send.
    pub fn read_service(&mut self, read: ServiceRead) -> io::Result<ServiceState> {
        let mut state = ServiceState::new(read);
        self.execute_batch(&[], Some((read, &mut state)), &mut [])?;
        Ok(state)
    }

    /// One send for all. Of the operations only the last requests an acknowledgement; the kernel
    /// reports every failure anyway, in order.
    fn execute_batch(
        &mut self,
        ops: &[Op],
        read: Option<(ServiceRead, &mut ServiceState)>,
        outcomes: &mut [Outcome],
    ) -> io::Result<()> {
        let mut requests: Vec<_> = ops.iter().map(Request::Op).collect();
        let mut state = None;
        if let Some((read, target)) = read {
            requests.extend(read.requests());
            state = Some(target);
        }
        let mut answered_after = false;
        let first = self.send(&requests, outcomes)?;
        let received = self.receive_all(first, &requests, |index, datagram, message| {
            match (outcomes.get_mut(index), message.kind) {
                (Some(outcome), Kind::Outcome(errno)) => *outcome = Outcome::of(errno),
                (Some(_), _) => {}
                (None, _) => {
                    answered_after = true;
                    if let Some(state) = &mut state {
                        state.take(requests[index], datagram, message);
                    }
                }
            }
        });
        if let Some(state) = state {
            state.is_complete = received.is_ok();
        }
        // The kernel reports every failure, so an operation without a reply has succeeded: all of
        // them once the last is acknowledged or a later request is answered, all but the last if it
        // times out. If replies were dropped (ENOBUFS), a missing reply means nothing.
        let known = match &received {
            Ok(()) => outcomes.len(),
            Err(error) if error.kind() == io::ErrorKind::TimedOut && answered_after => {
                outcomes.len()
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                outcomes.len().saturating_sub(1)
            }
            Err(_) => 0,
        };
        for outcome in outcomes.iter_mut().take(known) {
            if *outcome == Outcome::Unknown {
                *outcome = Outcome::Done;
            }
        }
        received
    }

    /// Executes an operation, and reads a service right before it in the same send, so that next to
    /// nothing can come between. Of the servers, only those of the first datagram are read before the
    /// operation. The last value is the error of the socket, if it failed.
    pub fn execute_after_read(
        &mut self,
        read: ServiceRead,
        op: &Op,
    ) -> (ServiceState, Outcome, Option<io::Error>) {
        let mut requests: Vec<_> = read.requests().collect();
        let last = requests.len();
        requests.push(Request::Op(op));
        let (mut state, mut outcome) = (ServiceState::new(read), Outcome::NotSent);
        let sent = self.send(&requests, std::slice::from_mut(&mut outcome));
        let received = sent.and_then(|first| {
            self.receive_all(first, &requests, |index, datagram, message| {
                match message.kind {
                    Kind::Outcome(errno) if index == last => outcome = Outcome::of(errno),
                    _ => state.take(requests[index], datagram, message),
                }
            })
        });
        (state, outcome, received.err())
    }

    /// Sends requests in one datagram. Returns the first sequence number. The outcomes of operations
    /// are unknown from then on.
    fn send(&mut self, requests: &[Request<'_>], outcomes: &mut [Outcome]) -> io::Result<u32> {
        let first = self.reserve(requests.len());
        let last_op = last_op(requests);
        self.out.clear();
        for (i, request) in requests.iter().enumerate() {
            let head = self.head(first, i, Some(i) == last_op);
            match *request {
                Request::Op(op) => codec::op(&mut self.out, head, op),
                Request::Get(get) => codec::get(&mut self.out, head, get),
                Request::Dump(Dump::Services) => codec::dump_services(&mut self.out, head),
                Request::Dump(Dump::Servers(key)) => {
                    codec::dump_servers(&mut self.out, head, key);
                }
                Request::Dump(Dump::SyncDaemons) => {
                    codec::dump_sync_daemons(&mut self.out, head);
                }
            }
        }
        self.transport.send(&self.out)?;
        outcomes.fill(Outcome::Unknown);
        Ok(first)
    }

    /// Receives the replies to the requests of one send. `each` gets the index of the request and of
    /// the datagram of each message.
    fn receive_all(
        &mut self,
        first: u32,
        requests: &[Request<'_>],
        mut each: impl FnMut(usize, usize, Message<'_>),
    ) -> io::Result<()> {
        let last_op = last_op(requests);
        let reads = requests.iter().filter(|r| !matches!(r, Request::Op(_)));
        let mut missing = reads.count() + usize::from(last_op.is_some());
        self.receive(|datagram, message| {
            let index = message.seq.wrapping_sub(first) as usize;
            let Some(request) = requests.get(index) else {
                return ControlFlow::Continue(());
            };
            let ends = match (request, message.kind) {
                (Request::Op(_), Kind::Outcome(_)) => Some(index) == last_op,
                (Request::Op(_), _) | (Request::Dump(_), Kind::Attributes(_)) => false,
                (Request::Get(_) | Request::Dump(_), _) => true,
            };
            each(index, datagram, message);
            missing = missing.saturating_sub(usize::from(ends));
            match missing {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })
    }

    /// Sends requests whose reply is one message each, many per send. `reply` receives the index of
    /// the request and its attributes or errno, in order.
    pub fn get(
        &mut self,
        requests: &[Get],
        mut reply: impl FnMut(usize, Result<&[u8], Errno>),
    ) -> Result<(), ReadError> {
        for (i, batch) in requests.chunks(GET_BATCH).enumerate() {
            let requests: Vec<_> = batch.iter().map(|get| Request::Get(*get)).collect();
            let first = self.send(&requests, &mut [])?;
            self.receive_all(first, &requests, |index, _, message| {
                let index = i * GET_BATCH + index;
                match message.kind {
                    Kind::Attributes(bytes) => reply(index, Ok(bytes)),
                    Kind::Outcome(errno) | Kind::Done(errno) => reply(index, Err(Errno(errno))),
                }
            })?;
        }
        Ok(())
    }

    /// Dumps. `each` receives the attributes of each message.
    pub fn dump(&mut self, dump: Dump, mut each: impl FnMut(&[u8])) -> Result<Extent, ReadError> {
        let request = [Request::Dump(dump)];
        let first = self.send(&request, &mut [])?;
        let (mut interrupted, mut status) = (false, 0);
        let mut extent = Extent::default();
        self.receive_all(first, &request, |_, datagram, message| {
            interrupted |= message.interrupted;
            match message.kind {
                Kind::Attributes(bytes) => {
                    extent.add(datagram, bytes);
                    each(bytes);
                }
                Kind::Outcome(errno) | Kind::Done(errno) => status = errno,
            }
        })?;
        ReadError::of_dump(status, interrupted)?;
        Ok(extent)
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
    ///
    /// Replies that are there are received at once. More of them, as those of a long dump, and replies
    /// that have to be waited for are received [offloaded](offload).
    fn receive(
        &mut self,
        mut take: impl FnMut(usize, Message<'_>) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let mut number = 0;
        let ended = match self.receive_some(&mut number, &mut take, Duration::ZERO) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
            ended => ended,
        };
        if ended? {
            return Ok(());
        }
        offload(|| {
            while !self.receive_some(&mut number, &mut take, REPLY_TIMEOUT)? {}
            Ok(())
        })
    }

    /// Receives the datagrams of one system call. Returns whether `take` has ended the receive.
    fn receive_some(
        &mut self,
        number: &mut usize,
        take: &mut impl FnMut(usize, Message<'_>) -> ControlFlow<()>,
        wait: Duration,
    ) -> io::Result<bool> {
        self.transport.receive(&mut self.received, wait)?;
        for datagram in self.received.datagrams() {
            for message in wire::messages(datagram) {
                // Later messages reply to no pending request.
                if take(*number, message).is_break() {
                    return Ok(true);
                }
            }
            *number += 1;
        }
        Ok(false)
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

//! One connection to IPVS: requests out, answers in, each matched by its sequence number.

use std::{io, ops::ControlFlow, time::Duration};

use crate::kernel::{Kernel, RecvBuffers, Transport};
use crate::{
    codec::{
        self,
        wire::{self, Head, Kind, Message},
    },
    model::{Errno, Op, Query},
};

/// A socket and the number of the IPVS family.
pub struct Link {
    transport: Box<dyn Transport>,
    family: u16,
    seq: u32,
    out: Vec<u8>,
    inbox: RecvBuffers,
}

/// How an operation ended, as far as the link can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// The kernel refused it and changed nothing.
    Refused(Errno),
    /// It was sent, but the answer is lost: only a look can tell.
    Unknown,
    /// It was not sent.
    NotSent,
}

/// Why nothing came of a question.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The kernel refused it.
    #[error("the kernel refused with {0}")]
    Refused(Errno),
    /// The socket is in no known state any more and must be given up.
    #[error("the connection to the kernel failed: {0}")]
    Broken(#[from] io::Error),
    /// The kernel says that its answer was interrupted by a change; ask again.
    #[error("the table changed while it was read")]
    Interrupted,
}

/// A dump that the kernel is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Dump {
    /// All services.
    Services,
    /// The servers of a service.
    Servers(crate::model::ServiceKey),
    /// The sync daemons.
    SyncDaemons,
}

/// How many operations go out in one send. More gains nothing, and the errors of 64 that all fail,
/// each with its request echoed, fit the smallest receive buffer that kernels give.
const PACK: usize = 64;
/// How many questions go out in one send; their answers, about 400 bytes each, wait in the buffer.
const PACK_QUESTIONS: usize = 32;
/// How many datagrams are taken at a time: a dump of 100 servers has three. The more, the longer
/// waits who comes in the middle of a long one.
const DATAGRAMS: usize = 4;
/// The longest datagram that the kernel makes; a longer one would be cut without a word.
const LONGEST: usize = 32 << 10;
/// Requests are executed inside `send`, so their answers are there when it returns. One that is not
/// there soon is lost: the kernel never acknowledges the stop of a sync daemon that had not begun
/// to run, for one.
const PATIENCE: Duration = Duration::from_millis(250);

// === impl Dump ===

impl Dump {
    /// Whether an operation adds or takes away what this is of: the rest of it comes from other
    /// places then.
    pub fn is_moved_by(self, op: &Op) -> bool {
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

// === impl Link ===

impl Link {
    /// Opens a socket and resolves the family, at which the kernel loads the module if it has one.
    pub fn connect(kernel: &dyn Kernel) -> Result<Self, AskError> {
        let transport = kernel.connect()?;
        let mut link = Self {
            transport,
            family: 0,
            seq: 0,
            out: Vec::new(),
            inbox: RecvBuffers::new(DATAGRAMS, LONGEST),
        };
        link.family = link.resolve()?;
        Ok(link)
    }

    /// Whether the family still has the number that this link knows. When the module is unloaded
    /// and loaded again it gets another, and the kernel answers the old one with ENOENT.
    pub fn is_current(&mut self) -> Result<bool, AskError> {
        Ok(self.resolve()? == self.family)
    }

    /// Carries out operations in order. The kernel goes on after one that fails. The second value
    /// tells why the link broke, if it did.
    pub fn execute(&mut self, ops: &[Op]) -> (Vec<Outcome>, Option<io::Error>) {
        let mut outcomes = vec![Outcome::NotSent; ops.len()];
        let broken = ops
            .chunks(PACK)
            .zip(outcomes.chunks_mut(PACK))
            .find_map(|(pack, outcomes)| self.execute_pack(pack, outcomes).err());
        (outcomes, broken)
    }

    /// One send for all, with success acknowledged for the last only; failure always is, in order.
    fn execute_pack(&mut self, ops: &[Op], outcomes: &mut [Outcome]) -> io::Result<()> {
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
                Outcome::Refused(Errno(errno))
            };
            if message.seq == last(first, ops.len()) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        // A refusal is always answered, so no answer means success: for all where the last has
        // answered, and for all but the last where it is silent. Where answers were dropped
        // (ENOBUFS, which the socket tells), nothing means anything.
        let told = match &received {
            Ok(()) => outcomes.len(),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => outcomes.len() - 1,
            Err(_) => 0,
        };
        for outcome in outcomes.iter_mut().take(told) {
            if *outcome == Outcome::Unknown {
                *outcome = Outcome::Done;
            }
        }
        received
    }

    /// Asks questions that have one message each for an answer, many a send. `answer` gets the
    /// place of the question and the attributes or the refusal, in order.
    pub fn ask(
        &mut self,
        queries: &[Query],
        mut answer: impl FnMut(usize, Result<&[u8], Errno>),
    ) -> Result<(), AskError> {
        for (i, pack) in queries.chunks(PACK_QUESTIONS).enumerate() {
            let first = self.reserve(pack.len());
            self.out.clear();
            for (j, query) in pack.iter().enumerate() {
                let head = self.head(first, j, false);
                codec::get(&mut self.out, head, *query);
            }
            self.transport.send(&self.out)?;
            self.receive(|_, message| {
                let place = message.seq.wrapping_sub(first) as usize;
                if place >= pack.len() {
                    return ControlFlow::Continue(());
                }
                match message.kind {
                    Kind::Attributes(bytes) => answer(i * PACK_QUESTIONS + place, Ok(bytes)),
                    Kind::Outcome(errno) | Kind::Done(errno) => {
                        answer(i * PACK_QUESTIONS + place, Err(Errno(errno)));
                    }
                }
                if message.seq == last(first, pack.len()) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        }
        Ok(())
    }

    /// Asks for a dump and hands each message's attributes to `each`; while more is to come, it
    /// runs `between`. Returns how many datagrams it took: what came in one is a snapshot, what came
    /// in several is not.
    pub fn dump(
        &mut self,
        dump: Dump,
        mut each: impl FnMut(&[u8]),
        between: impl FnMut(),
    ) -> Result<usize, AskError> {
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
        let (mut datagrams, mut current) = (0, None);
        let take = |datagram, message: Message<'_>| {
            if message.seq != seq {
                return ControlFlow::Continue(());
            }
            interrupted |= message.interrupted;
            match message.kind {
                Kind::Attributes(bytes) => {
                    // The end comes in a datagram of its own, which does not count.
                    datagrams += usize::from(current.replace(datagram) != Some(datagram));
                    each(bytes);
                }
                Kind::Outcome(told) | Kind::Done(told) => {
                    errno = told;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        };
        self.receive_between(take, between)?;
        match (errno, interrupted) {
            (0, false) => Ok(datagrams),
            (0, true) => Err(AskError::Interrupted),
            (errno, _) => Err(AskError::Refused(Errno(errno))),
        }
    }

    fn resolve(&mut self) -> Result<u16, AskError> {
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
        found.map_err(AskError::Refused)
    }

    /// Receives messages until `take` has what it waits for; it is told in which datagram each came.
    fn receive(
        &mut self,
        take: impl FnMut(usize, Message<'_>) -> ControlFlow<()>,
    ) -> io::Result<()> {
        self.receive_between(take, || ())
    }

    /// The same, running `between` whenever it has taken what was there.
    fn receive_between(
        &mut self,
        mut take: impl FnMut(usize, Message<'_>) -> ControlFlow<()>,
        mut between: impl FnMut(),
    ) -> io::Result<()> {
        let mut number = 0;
        loop {
            self.transport.receive(&mut self.inbox, PATIENCE)?;
            for datagram in self.inbox.datagrams() {
                for message in wire::messages(datagram) {
                    // What else is there answers nothing that is still asked.
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

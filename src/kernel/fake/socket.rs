//! A generic-netlink socket of the fake kernel: requests are executed inside `send`, dumps filled
//! where the kernel fills them, answers queued as far as the receive buffer goes.

use std::{
    collections::VecDeque,
    io,
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    FakeKernel,
    abi::{
        CTRL, CTRL_FAMILY, CTRL_FAMILY_ID, CTRL_FAMILY_NAME, CTRL_GETFAMILY, SVC, TOP, command,
        forms, top,
    },
    dump::Dump,
    fault::{AnswerEffects, DumpEffects, On, take_effects, take_send_error},
    replies::{self, Envelope},
    requests::service_id,
    state::{CountKey, State},
    wire::{
        Attributes, Errno, Message, NLM_F_ACK, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_ECHO, NLM_F_MULTI,
        NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_HEADER, NLMSG_MIN_TYPE, Writer,
    },
};
use crate::kernel::{RecvBuffers, Transport};

/// The longest datagram that a default send buffer takes.
const SEND_LIMIT: usize = 212_992 - 32;

/// One socket. Each has answers of its own.
#[derive(Debug)]
pub(super) struct FakeSocket {
    kernel: FakeKernel,
    /// The socket's address, which answers carry.
    port: u32,
    queue: VecDeque<Answer>,
    /// What the queue costs of the receive buffer.
    queued: usize,
    /// Whether the next `receive` tells of dropped answers.
    overrun: bool,
    /// Whether answers are dropped until the queue has been emptied.
    congested: bool,
    /// The largest buffer that a `receive` has brought: the size of dump datagrams.
    largest_buffer: usize,
    dump: Option<Dump>,
}

#[derive(Debug)]
struct Answer {
    bytes: Vec<u8>,
    ready: Option<Instant>,
}

impl Answer {
    /// What it takes of a receive buffer: the kernel's allocation, a power of two with room for
    /// its trailer, and the `struct sk_buff`.
    fn cost(&self) -> usize {
        (self.bytes.len() + 320).next_power_of_two().max(512) + 256
    }
}

impl FakeSocket {
    pub(super) fn new(kernel: FakeKernel, port: u32) -> Self {
        Self {
            kernel,
            port,
            queue: VecDeque::new(),
            queued: 0,
            overrun: false,
            congested: false,
            largest_buffer: 0,
            dump: None,
        }
    }

    fn handle(&mut self, message: &Message<'_>) {
        let mut answers = Vec::new();
        if message.flags & NLM_F_REQUEST == 0 || message.kind < NLMSG_MIN_TYPE {
            // Not for the kernel to execute, but acknowledged all the same.
            self.answer(
                message,
                Ok(Executed::Answered),
                &mut answers,
                &AnswerEffects::default(),
            );
            return;
        }

        let request = self.classify(message);
        let effects = {
            let mut state = self.kernel.state();
            match request {
                Some(On::Lookup) => state.count(CountKey::Lookup),
                Some(On::Command(number)) => state.count(CountKey::Command(number)),
                _ => {}
            }
            request
                .map(|request| take_effects(&mut state.rules, request, message.is_dump()))
                .unwrap_or_default()
        };
        if let Some(time) = effects.slow_command {
            sleep(time);
        }
        effects
            .before
            .iter()
            .for_each(|hook| hook.run(&self.kernel));
        let result = match effects.errno {
            Some(errno) => Err(errno),
            None => self.execute(message, &mut answers),
        };
        if let Ok(Executed::DumpStarted(number)) = result {
            self.start_dump(number, message, effects.dump, effects.answers);
            return;
        }
        self.answer(message, result, &mut answers, &effects.answers);
    }

    /// What the request is for faults and counts. The family's number is not asked for, so that
    /// requests to a family that has vanished count too.
    fn classify(&self, message: &Message<'_>) -> Option<On> {
        let (number, _) = message.genl()?;
        Some(if message.kind == CTRL_FAMILY {
            On::Lookup
        } else {
            On::Command(number)
        })
    }

    /// Executes one request. Messages that answer it are put into `answers`.
    fn execute(
        &self,
        message: &Message<'_>,
        answers: &mut Vec<Vec<u8>>,
    ) -> Result<Executed, Errno> {
        let mut state = self.kernel.state();
        let mut writer = Writer::new(state.config.padded);
        let executed = if message.kind == CTRL_FAMILY {
            self.look_up(&state, message, &mut writer)?
        } else if Some(message.kind) == state.family {
            self.execute_ipvs(&mut state, message, &mut writer)?
        } else {
            return Err(libc::ENOENT);
        };
        if !writer.is_empty() {
            answers.push(writer.into_bytes());
        }
        Ok(executed)
    }

    fn look_up(
        &self,
        state: &State,
        message: &Message<'_>,
        writer: &mut Writer,
    ) -> Result<Executed, Errno> {
        let (number, _) = message.genl().ok_or(libc::EINVAL)?;
        // The real controller also lists all families; nobody here asks for that.
        if number != CTRL_GETFAMILY || message.is_dump() {
            return Err(libc::EOPNOTSUPP);
        }
        let attrs = Attributes::parse(message.attributes(), CTRL)?;
        let found = match (attrs.text(CTRL_FAMILY_NAME), attrs.u16(CTRL_FAMILY_ID)) {
            (Some(name), _) => state.family_named(&name),
            (None, Some(id)) => state.family.filter(|family| *family == id),
            (None, None) => return Err(libc::EINVAL),
        };
        replies::family(
            writer,
            self.envelope(message, 0),
            found.ok_or(libc::ENOENT)?,
        );
        Ok(Executed::Answered)
    }

    fn execute_ipvs(
        &self,
        state: &mut State,
        message: &Message<'_>,
        writer: &mut Writer,
    ) -> Result<Executed, Errno> {
        let (number, reserved) = message.genl().ok_or(libc::EINVAL)?;
        let usual = NLM_F_DUMP | NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO;
        if number > command::FLUSH && (reserved != 0 || message.flags & !usual != 0) {
            return Err(libc::EINVAL);
        }
        let (single, dump) = forms(number).ok_or(libc::EOPNOTSUPP)?;
        if !state.permitted {
            return Err(libc::EPERM);
        }
        if message.is_dump() {
            return match (dump, self.dump.is_some()) {
                (false, _) => Err(libc::EOPNOTSUPP),
                (true, true) => Err(libc::EBUSY),
                (true, false) => {
                    state.count(CountKey::Dump(number));
                    Ok(Executed::DumpStarted(number))
                }
            };
        }
        if !single {
            return Err(libc::EOPNOTSUPP);
        }

        let attrs = Attributes::parse(message.attributes(), TOP)?;
        let envelope = self.envelope(message, 0);
        match number {
            command::GET_INFO => replies::info(writer, envelope, state),
            command::GET_CONFIG => replies::config(writer, envelope, &state.timeouts),
            command::GET_SERVICE => {
                let id = service_id(&attrs.nest(top::SERVICE, SVC)?, &state.config)?;
                let service = state.table.get(&id).ok_or(libc::ESRCH)?;
                replies::service(writer, envelope, service, state.config.hz);
            }
            _ => state.set(number, &attrs)?,
        }
        Ok(Executed::Answered)
    }

    fn envelope(&self, message: &Message<'_>, flags: u16) -> Envelope {
        Envelope {
            family: message.kind,
            flags,
            sequence: message.sequence,
            port: self.port,
        }
    }

    /// Queues the answers to a request, and the acknowledgement that it asked for or deserves.
    fn answer(
        &mut self,
        message: &Message<'_>,
        result: Result<Executed, Errno>,
        answers: &mut Vec<Vec<u8>>,
        effects: &AnswerEffects,
    ) {
        match result {
            Err(errno) => answers.push(self.acknowledgement(message, errno)),
            Ok(_) if message.flags & NLM_F_ACK != 0 => {
                answers.push(self.acknowledgement(message, 0));
            }
            Ok(_) => {}
        }
        for bytes in answers.drain(..) {
            self.enqueue(bytes, effects, false);
        }
        if effects.overrun {
            self.overrun = true;
        }
    }

    /// The acknowledgement: of a success with the request's header, of a failure with all of it.
    fn acknowledgement(&self, message: &Message<'_>, errno: Errno) -> Vec<u8> {
        let mut writer = Writer::default();
        let flags = if errno == 0 { NLM_F_CAPPED } else { 0 };
        let open = writer.message(NLMSG_ERROR, flags, message.sequence, self.port);
        writer.raw(&errno.wrapping_neg().to_ne_bytes());
        let echo = if errno == 0 {
            &message.bytes[..NLMSG_HEADER]
        } else {
            message.bytes
        };
        writer.raw(echo);
        writer.close_message(open);
        writer.into_bytes()
    }

    fn enqueue(&mut self, mut bytes: Vec<u8>, effects: &AnswerEffects, of_dump: bool) {
        if effects.lost || effects.overrun {
            return;
        }
        effects
            .manglers
            .iter()
            .for_each(|mangler| mangler.run(&mut bytes));
        // The kernel makes sure of room before it fills a dump, so none of it is dropped.
        let limit = self.kernel.state().config.receive_buffer;
        if !of_dump && (self.congested || self.queued > limit) {
            self.overrun |= !self.congested;
            self.congested = true;
            return;
        }
        let answer = Answer {
            bytes,
            ready: effects
                .delay
                .and_then(|delay| Instant::now().checked_add(delay)),
        };
        self.queued += answer.cost();
        self.queue.push_back(answer);
    }

    fn start_dump(
        &mut self,
        command: u8,
        message: &Message<'_>,
        effects: DumpEffects,
        answers: AnswerEffects,
    ) {
        if answers.lost || answers.overrun {
            self.overrun |= answers.overrun;
            return;
        }
        self.dump = Some(Dump {
            command,
            attributes: message.attributes().to_vec(),
            envelope: self.envelope(message, NLM_F_MULTI),
            position: 0,
            datagrams: 0,
            effects,
            answers,
        });
        self.fill();
    }

    /// Fills the next datagram of the dump that is running, or ends it. The kernel does so once in
    /// `send`, and then at the end of each `receive`: always one datagram ahead of the reader.
    fn fill(&mut self) {
        let Some(mut dump) = self.dump.take() else {
            return;
        };
        if dump.datagrams == 1 {
            dump.effects
                .interrupted
                .iter()
                .for_each(|hook| hook.run(&self.kernel));
        }
        dump.datagrams += 1;
        let mut bytes = dump.fill(&self.kernel.state(), self.largest_buffer);
        let ended = bytes.is_empty();
        if ended {
            let Envelope {
                flags,
                sequence,
                port,
                ..
            } = dump.envelope;
            let mut writer = Writer::default();
            let open = writer.message(NLMSG_DONE, flags, sequence, port);
            writer.raw(&[0; 4]);
            writer.close_message(open);
            bytes = writer.into_bytes();
        }
        self.enqueue(bytes, &dump.answers, true);
        if !ended {
            self.dump = Some(dump);
        }
    }
}

/// How an execution ended that did not fail.
enum Executed {
    Answered,
    /// The request's own answer follows in parts, without an acknowledgement.
    DumpStarted(u8),
}

impl Transport for FakeSocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if datagram.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ENODATA));
        }
        if datagram.len() > SEND_LIMIT {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        let mut rest = datagram;
        let first = Message::take(&mut rest).and_then(|first| self.classify(&first));
        {
            let mut state = self.kernel.state();
            state.count(CountKey::Send);
            if let Some(errno) = first.and_then(|on| take_send_error(&mut state.rules, on)) {
                return Err(io::Error::from_raw_os_error(errno));
            }
        }

        let mut rest = datagram;
        while let Some(message) = Message::take(&mut rest) {
            self.handle(&message);
        }
        Ok(())
    }

    fn receive(&mut self, inbox: &mut RecvBuffers, wait: Duration) -> io::Result<()> {
        let mut lengths = Vec::new();
        for place in inbox.buffers() {
            // As recvmmsg does it: nothing is waited for after the first, and a failure is left for
            // the next time.
            if lengths.is_empty() || self.is_ready() {
                lengths.push(self.receive_one(place, wait)?);
            }
        }
        inbox.set_lengths(lengths)
    }
}

impl FakeSocket {
    fn is_ready(&self) -> bool {
        let is_there = |answer: &Answer| answer.ready.is_none_or(|ready| ready <= Instant::now());
        !self.overrun && self.queue.front().is_some_and(is_there)
    }

    /// Receives a datagram, as much of it as fits, and returns its whole length.
    fn receive_one(&mut self, place: &mut [u8], wait: Duration) -> io::Result<usize> {
        if std::mem::take(&mut self.overrun) {
            return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
        }
        let Some(answer) = self.queue.front() else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        if let Some(ready) = answer.ready {
            let missing = ready.saturating_duration_since(Instant::now());
            sleep(missing.min(wait));
            if missing > wait {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        let Some(answer) = self.queue.pop_front() else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        self.queued = self.queued.saturating_sub(answer.cost());
        self.congested &= !self.queue.is_empty();
        self.largest_buffer = self.largest_buffer.max(place.len());
        let limit = self.kernel.state().config.receive_buffer;
        if self.dump.is_some() && self.queued <= limit / 2 {
            self.fill();
        }

        for (byte, other) in place.iter_mut().zip(&answer.bytes) {
            *byte = *other;
        }
        Ok(answer.bytes.len())
    }
}

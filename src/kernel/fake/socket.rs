//! The generic netlink socket of the simulator. As in the kernel, requests are executed inside
//! `send`, dumps are filled inside `send` and `receive`, and replies are queued up to the size of
//! the receive buffer.

use std::{
    collections::VecDeque,
    io::{self, Read},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    abi::CTRL_FAMILY,
    dump::Dump,
    execute::Executed,
    fault::{DumpEffects, On, ReplyEffects, take_effects, take_send_error},
    files,
    kernel::FakeKernel,
    replies::Envelope,
    state::CountKey,
    wire::{
        Errno, Message, NLM_F_ACK, NLM_F_CAPPED, NLM_F_MULTI, NLM_F_REQUEST, NLMSG_DONE,
        NLMSG_ERROR, NLMSG_HEADER, NLMSG_MIN_TYPE, Writer,
    },
};
use crate::kernel::{
    buffers::RecvBuffers,
    transport::{Kernel, NamespaceId, Transport},
};

/// The longest datagram that fits into the default send buffer.
const SEND_LIMIT: usize = 212_992 - 32;

/// A socket.
#[derive(Debug)]
pub(super) struct FakeSocket {
    kernel: FakeKernel,
    /// The netlink port of the socket, which replies contain.
    port: u32,
    queue: VecDeque<Reply>,
    /// Bytes of the receive buffer in use.
    queued: usize,
    /// Whether the next `receive` fails with ENOBUFS.
    overrun: bool,
    /// Whether replies are dropped until the queue is empty.
    congested: bool,
    /// The size of the largest buffer passed to `receive`, which limits dump datagrams.
    largest_buffer: usize,
    dump: Option<Dump>,
}

/// A queued datagram.
#[derive(Debug)]
struct Reply {
    bytes: Vec<u8>,
    ready: Option<Instant>,
}

impl Kernel for FakeKernel {
    fn namespace(&self) -> Option<&str> {
        None
    }

    fn identity(&self) -> io::Result<NamespaceId> {
        Ok(NamespaceId::default())
    }

    fn enter(&self) -> io::Result<NamespaceId> {
        Ok(NamespaceId::default())
    }

    fn leave(&self) -> io::Result<()> {
        Ok(())
    }

    fn connect(&self) -> io::Result<Box<dyn Transport>> {
        let port = {
            let mut state = self.state();
            state.next_port = state.next_port.wrapping_add(1).max(1);
            state.next_port
        };
        Ok(Box::new(FakeSocket::new(self.clone(), port)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        let mut state = self.state();
        state.count(CountKey::Open(path.to_owned()));
        files::open(&state, path)
    }

    fn interface_index(&self, name: &str) -> io::Result<Option<u32>> {
        let state = self.state();
        let interface = state.config.interfaces.get(name);
        Ok(interface.map(|interface| interface.index))
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        files::write(&mut self.state(), path, text)
    }
}

impl Transport for FakeSocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if datagram.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ENODATA));
        }
        if datagram.len() > SEND_LIMIT {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        {
            let mut state = self.kernel.state();
            state.count(CountKey::Send);
            let mut rest = datagram;
            while let Some(message) = Message::take(&mut rest) {
                let on = classify(&message);
                if let Some(errno) = on.and_then(|on| take_send_error(&mut state.rules, on)) {
                    return Err(io::Error::from_raw_os_error(errno));
                }
            }
        }

        let mut rest = datagram;
        while let Some(message) = Message::take(&mut rest) {
            self.handle(&message);
        }
        Ok(())
    }

    fn receive(&mut self, buffers: &mut RecvBuffers, wait: Duration) -> io::Result<()> {
        let mut lengths = Vec::new();
        for buffer in buffers.buffers() {
            // Like recvmmsg: waits for the first datagram only, and reports an error at the next
            // call if it has received any.
            if lengths.is_empty() || self.is_ready() {
                lengths.push(self.receive_one(buffer, wait)?);
            }
        }
        buffers.set_lengths(lengths)
    }
}

// Requests.
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
        if message.flags & NLM_F_REQUEST == 0 || message.kind < NLMSG_MIN_TYPE {
            // Control messages are not executed, but acknowledged.
            self.acknowledge(message, Ok(()), &ReplyEffects::default());
            return;
        }
        let request = classify(message);
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
        for hook in &effects.before {
            hook.run(&self.kernel);
        }
        let result = match effects.errno {
            Some(errno) => Err(errno),
            None => self.execute(message, &effects.replies),
        };
        match result {
            Ok(Executed::DumpStarted(number)) => {
                self.start_dump(number, message, effects.dump, effects.replies);
            }
            Ok(Executed::Completed) => self.acknowledge(message, Ok(()), &effects.replies),
            Err(errno) => self.acknowledge(message, Err(errno), &effects.replies),
        }
    }

    /// Executes a request and queues its reply.
    fn execute(
        &mut self,
        message: &Message<'_>,
        effects: &ReplyEffects,
    ) -> Result<Executed, Errno> {
        let envelope = self.envelope(message, 0);
        let dumping = self.dump.is_some();
        let (executed, writer) = {
            let mut state = self.kernel.state();
            let mut writer = Writer::new(state.config.padded);
            let executed = state.execute(message, envelope, dumping, &mut writer)?;
            (executed, writer)
        };
        if !writer.is_empty() {
            self.enqueue(writer.into_bytes(), effects, false);
        }
        Ok(executed)
    }

    fn envelope(&self, message: &Message<'_>, flags: u16) -> Envelope {
        Envelope {
            family: message.kind,
            flags,
            sequence: message.sequence,
            port: self.port,
        }
    }

    /// Queues the acknowledgement: of an error always, of success if the request has NLM_F_ACK.
    fn acknowledge(
        &mut self,
        message: &Message<'_>,
        result: Result<(), Errno>,
        effects: &ReplyEffects,
    ) {
        if result.is_err() || message.flags & NLM_F_ACK != 0 {
            let bytes = self.acknowledgement(message, result.err().unwrap_or(0));
            self.enqueue(bytes, effects, false);
        }
        if effects.overrun {
            self.overrun = true;
        }
    }

    /// An acknowledgement: of success with the header of the request, of an error with all of it.
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

    fn start_dump(
        &mut self,
        command: u8,
        message: &Message<'_>,
        effects: DumpEffects,
        replies: ReplyEffects,
    ) {
        if replies.lost || replies.overrun {
            self.overrun |= replies.overrun;
            return;
        }
        self.dump = Some(Dump {
            command,
            attributes: message.attributes().to_vec(),
            envelope: self.envelope(message, NLM_F_MULTI),
            position: 0,
            datagrams: 0,
            effects,
            replies,
        });
        self.fill();
    }

    /// Queues the next datagram of the dump in progress, or its end. The kernel does so once in
    /// `send` and then at the end of each `receive`, always one datagram ahead of the reader.
    fn fill(&mut self) {
        let Some(mut dump) = self.dump.take() else {
            return;
        };
        if dump.datagrams == 1 {
            for hook in &dump.effects.interrupted {
                hook.run(&self.kernel);
            }
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
        self.enqueue(bytes, &dump.replies, true);
        if !ended {
            self.dump = Some(dump);
        }
    }
}

// The queue of replies.
impl FakeSocket {
    fn enqueue(&mut self, mut bytes: Vec<u8>, effects: &ReplyEffects, of_dump: bool) {
        if effects.lost || effects.overrun {
            return;
        }
        for rewrite in &effects.rewrites {
            rewrite.run(&mut bytes);
        }
        // The kernel fills a dump only if there is space, so it never drops a datagram of a dump.
        let limit = self.kernel.state().config.receive_buffer;
        if !of_dump && (self.congested || self.queued > limit) {
            self.overrun |= !self.congested;
            self.congested = true;
            return;
        }
        let reply = Reply {
            bytes,
            ready: effects
                .delay
                .and_then(|delay| Instant::now().checked_add(delay)),
        };
        self.queued += reply.cost();
        self.queue.push_back(reply);
    }

    fn is_ready(&self) -> bool {
        let is_ready = |reply: &Reply| reply.ready.is_none_or(|ready| ready <= Instant::now());
        !self.overrun && self.queue.front().is_some_and(is_ready)
    }

    /// Receives a datagram, truncated to the buffer, and returns its full length.
    fn receive_one(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        if std::mem::take(&mut self.overrun) {
            return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
        }
        let Some(reply) = self.queue.front() else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        if let Some(ready) = reply.ready {
            let missing = ready.saturating_duration_since(Instant::now());
            sleep(missing.min(wait));
            if missing > wait {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        let Some(reply) = self.queue.pop_front() else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        self.queued = self.queued.saturating_sub(reply.cost());
        self.congested &= !self.queue.is_empty();
        self.largest_buffer = self.largest_buffer.max(buffer.len());
        let limit = self.kernel.state().config.receive_buffer;
        if self.dump.is_some() && self.queued <= limit / 2 {
            self.fill();
        }

        for (byte, other) in buffer.iter_mut().zip(&reply.bytes) {
            *byte = *other;
        }
        Ok(reply.bytes.len())
    }
}

impl Reply {
    /// Bytes of the receive buffer that the datagram uses: the kernel's allocation, a power of two
    /// that includes a trailer, and `struct sk_buff`.
    fn cost(&self) -> usize {
        (self.bytes.len() + 320).next_power_of_two().max(512) + 256
    }
}

/// The kind of a request for faults and counters. Ignores the family number, so that requests to an
/// unloaded family count too.
fn classify(message: &Message<'_>) -> Option<On> {
    let (number, _) = message.genl()?;
    Some(if message.kind == CTRL_FAMILY {
        On::Lookup
    } else {
        On::Command(number)
    })
}

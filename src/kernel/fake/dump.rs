//! Dumps: walks over a table by a mere index, a datagram at a time.

use super::{
    abi::{SVC, TOP, command, top},
    fault::{AnswerEffects, DumpEffects},
    replies::{self, Envelope},
    requests::service_id,
    state::State,
    wire::{Attributes, Writer},
};

/// The first dump on a socket that has received nothing yet fills no more than a page.
const SMALLEST_DUMP: usize = 4096 - 320;

/// A dump in progress.
#[derive(Debug)]
pub(super) struct Dump {
    pub(super) command: u8,
    /// The request's attributes, which the kernel parses anew for each datagram.
    pub(super) attributes: Vec<u8>,
    pub(super) envelope: Envelope,
    /// How many entries went out: a mere index, as the kernel's, that changes in between shift.
    pub(super) position: usize,
    pub(super) datagrams: usize,
    pub(super) effects: DumpEffects,
    pub(super) answers: AnswerEffects,
}

impl Dump {
    /// The bytes of the next datagram, empty when all has been listed.
    pub(super) fn fill(&mut self, state: &State, largest_buffer: usize) -> Vec<u8> {
        let limit = largest_buffer
            .max(SMALLEST_DUMP)
            .min(state.config.dump_size);
        let hz = state.config.hz;
        let mut writer = Writer::new(state.config.padded);
        let envelope = self.envelope;
        match self.command {
            command::GET_SERVICE => {
                self.write(
                    &mut writer,
                    limit,
                    state.table.services(),
                    |writer, service| {
                        replies::service(writer, envelope, service, hz);
                    },
                );
            }
            command::GET_DEST => {
                // A service that is wrong, missing or gone by now just ends the dump.
                let service = Attributes::parse(&self.attributes, TOP)
                    .and_then(|attrs| attrs.nest(top::SERVICE, SVC))
                    .and_then(|nest| service_id(&nest, &state.config))
                    .ok()
                    .and_then(|id| state.table.get(&id));
                let destinations = service
                    .into_iter()
                    .flat_map(|service| service.destinations());
                self.write(&mut writer, limit, destinations, |writer, destination| {
                    replies::destination(writer, envelope, destination);
                });
            }
            _ => {
                let master = state.daemons.master.iter().map(|daemon| (true, daemon));
                let backup = state.daemons.backup.iter().map(|daemon| (false, daemon));
                self.write(
                    &mut writer,
                    limit,
                    master.chain(backup),
                    |writer, (master, daemon)| {
                        replies::daemon(writer, envelope, master, daemon);
                    },
                );
            }
        }
        writer.into_bytes()
    }

    /// Writes the entries from the position on, as many as fit, at least one.
    fn write<T: Copy>(
        &mut self,
        writer: &mut Writer,
        limit: usize,
        entries: impl Iterator<Item = T>,
        write: impl Fn(&mut Writer, T),
    ) {
        let end = self.effects.ends.unwrap_or(usize::MAX);
        for entry in entries.take(end).skip(self.position) {
            let before = writer.len();
            write(writer, entry);
            if self.effects.doubles {
                write(writer, entry);
            }
            if writer.len() > limit && before > 0 {
                writer.truncate(before);
                return;
            }
            self.position += 1;
        }
    }
}

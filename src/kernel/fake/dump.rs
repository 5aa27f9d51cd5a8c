//! Dumps: iteration over a table by index, one datagram at a time.

use super::{
    abi::TOP,
    fault::{DumpEffects, ReplyEffects},
    replies::{self, Envelope},
    service::{self, ServiceId},
    state::State,
    wire::{Attributes, Writer},
};
use crate::codec::uapi::{STATE_BACKUP, STATE_MASTER, command, top};

/// The first dump on a socket that has not received anything is limited to a page.
const SMALLEST_DUMP: usize = 4096 - 320;

/// A dump in progress.
#[derive(Debug)]
pub(super) struct Dump {
    pub(super) command: u8,
    /// The attributes of the request. The kernel parses them for each datagram.
    pub(super) attributes: Vec<u8>,
    pub(super) envelope: Envelope,
    /// Number of entries sent. As in the kernel, entries shift if the table changes during the dump.
    pub(super) position: usize,
    pub(super) datagrams: usize,
    pub(super) effects: DumpEffects,
    pub(super) replies: ReplyEffects,
}

impl Dump {
    /// The next datagram; empty if the dump is complete.
    pub(super) fn fill(&mut self, state: &State, largest_buffer: usize) -> Vec<u8> {
        let limit = largest_buffer
            .max(SMALLEST_DUMP)
            .min(state.config.dump_size);
        let hz = state.config.hz;
        let mut writer = Writer::new(state.config.padded);
        let envelope = self.envelope;
        match self.command {
            command::GET_SERVICE => {
                let services = state.table.services();
                self.write(&mut writer, limit, services, |writer, service| {
                    replies::service(writer, envelope, service, hz);
                });
            }
            command::GET_DEST => {
                // A service that is invalid or missing ends the dump without an error.
                let service = Attributes::parse(&self.attributes, &TOP)
                    .and_then(|attrs| attrs.nest(top::SERVICE, &service::POLICY))
                    .and_then(|nest| ServiceId::parse(&nest, state.config.ipv6))
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
                let master = state.daemons.master.iter();
                let backup = state.daemons.backup.iter();
                let daemons = master
                    .map(|daemon| (STATE_MASTER, daemon))
                    .chain(backup.map(|daemon| (STATE_BACKUP, daemon)));
                self.write(&mut writer, limit, daemons, |writer, (state, daemon)| {
                    replies::sync_daemon(writer, envelope, state, daemon);
                });
            }
        }
        writer.into_bytes()
    }

    /// Writes the entries from the current position on: as many as fit, but at least one.
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

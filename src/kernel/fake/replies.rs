//! Reply messages, in the byte layout of the kernel.

use super::{
    abi::{
        CTRL_FAMILY, CTRL_FAMILY_ID, CTRL_FAMILY_NAME, CTRL_HEADER_SIZE, CTRL_MAX_ATTRIBUTE,
        CTRL_NEWFAMILY, CTRL_OPERATIONS, CTRL_VERSION, forms,
    },
    destination::Destination,
    service::Service,
    state::Timeouts,
    sync_daemon::SyncDaemon,
    wire::{Open, Writer},
};
use crate::codec::uapi::{self, command, info, top};

/// The header fields that all messages of one reply share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    pub(super) family: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) port: u32,
}

impl Envelope {
    fn open(&self, writer: &mut Writer, command: u8, version: u8) -> Open {
        let open = writer.message(self.family, self.flags, self.sequence, self.port);
        writer.raw(&[command, version, 0, 0]);
        open
    }
}

/// The controller's version in the generic netlink header.
const CTRL_GENL_VERSION: u8 = 2;
/// IPVS 1.2.1, the version since 2003.
const IPVS_VERSION: u32 = 0x01_02_01;
/// `GENL_ADMIN_PERM` and `GENL_CMD_CAP_HASPOL`.
const PRIVILEGED_WITH_POLICY: u32 = 0x9;

/// The reply to a successful lookup of the family.
pub(super) fn family(writer: &mut Writer, to: Envelope, id: u16) {
    let open = Envelope {
        family: CTRL_FAMILY,
        ..to
    }
    .open(writer, CTRL_NEWFAMILY, CTRL_GENL_VERSION);
    writer.text(CTRL_FAMILY_NAME, uapi::FAMILY_NAME);
    writer.u16(CTRL_FAMILY_ID, id);
    writer.u32(CTRL_VERSION, u32::from(uapi::VERSION));
    writer.u32(CTRL_HEADER_SIZE, 0);
    writer.u32(CTRL_MAX_ATTRIBUTE, u32::from(top::MAX));
    let operations = writer.nest(CTRL_OPERATIONS);
    let known = (1..=command::FLUSH).filter_map(|number| Some((number, forms(number)?)));
    for (index, (number, (single, dump))) in (1..).zip(known) {
        let operation = writer.nest(index);
        writer.u32(1, u32::from(number));
        let forms = u32::from(single) << 1 | u32::from(dump) << 2;
        writer.u32(2, PRIVILEGED_WITH_POLICY | forms);
        writer.close_nest(operation);
    }
    writer.close_nest(operations);
    writer.close_message(open);
}

pub(super) fn info(writer: &mut Writer, to: Envelope, table_size: u32) {
    let open = to.open(writer, command::SET_INFO, uapi::VERSION);
    writer.u32(info::VERSION, IPVS_VERSION);
    writer.u32(info::CONN_TAB_SIZE, table_size);
    writer.close_message(open);
}

pub(super) fn config(writer: &mut Writer, to: Envelope, timeouts: &Timeouts) {
    let open = to.open(writer, command::SET_CONFIG, uapi::VERSION);
    writer.u32(top::TIMEOUT_TCP, timeouts.tcp);
    writer.u32(top::TIMEOUT_TCP_FIN, timeouts.tcp_fin);
    writer.u32(top::TIMEOUT_UDP, timeouts.udp);
    writer.close_message(open);
}

pub(super) fn service(writer: &mut Writer, to: Envelope, service: &Service, hz: u32) {
    let open = to.open(writer, command::NEW_SERVICE, uapi::VERSION);
    service.write(writer, hz);
    writer.close_message(open);
}

pub(super) fn destination(writer: &mut Writer, to: Envelope, destination: &Destination) {
    let open = to.open(writer, command::NEW_DEST, uapi::VERSION);
    destination.write(writer);
    writer.close_message(open);
}

/// The running sync daemon of a role, by the kernel's number.
pub(super) fn sync_daemon(writer: &mut Writer, to: Envelope, state: u32, daemon: &SyncDaemon) {
    let open = to.open(writer, command::NEW_DAEMON, uapi::VERSION);
    daemon.write(writer, state);
    writer.close_message(open);
}

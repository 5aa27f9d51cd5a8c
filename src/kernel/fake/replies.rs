//! The messages that answer questions, byte by byte as the kernel writes them.

use std::net::IpAddr;

use super::{
    abi::{
        CTRL_FAMILY, CTRL_FAMILY_ID, CTRL_FAMILY_NAME, CTRL_NEWFAMILY, FAMILY_NAME, STATS_PAD, TOP,
        command, daemon, dest, forms, svc, top,
    },
    requests::{STATE_BACKUP, STATE_MASTER},
    state::{Daemon, State, Timeouts},
    table::{Counters, Destination, Service, ServiceId, family_number},
    wire::{Open, Writer},
};

/// Where an answer goes: the header fields that all messages of one answer share.
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

const VERSION: u8 = 1;
const CTRL_VERSION: u8 = 2;
/// IPVS 1.2.1, since 2003.
const IPVS_VERSION: u32 = 0x01_02_01;

/// The answer to a successful lookup of the family.
pub(super) fn family(writer: &mut Writer, to: Envelope, id: u16) {
    let open = Envelope {
        family: CTRL_FAMILY,
        ..to
    }
    .open(writer, CTRL_NEWFAMILY, CTRL_VERSION);
    writer.text(CTRL_FAMILY_NAME as u16, FAMILY_NAME);
    writer.u16(CTRL_FAMILY_ID as u16, id);
    writer.u32(3, u32::from(VERSION));
    writer.u32(4, 0); // size of the user header
    writer.u32(5, TOP.len() as u32);
    let operations = writer.nest(6);
    let known = (1..=command::FLUSH).filter_map(|number| Some((number, forms(number)?)));
    for (index, (number, (single, dump))) in known.enumerate() {
        let operation = writer.nest(index as u16 + 1);
        writer.u32(1, u32::from(number));
        // Privileged, has a policy; bits 2 and 4: single requests, dumps.
        writer.u32(2, 0x9 | u32::from(single) << 1 | u32::from(dump) << 2);
        writer.close_nest(operation);
    }
    writer.close_nest(operations);
    writer.close_message(open);
}

pub(super) fn info(writer: &mut Writer, to: Envelope, state: &State) {
    let open = to.open(writer, command::SET_INFO, VERSION);
    writer.u32(1, IPVS_VERSION);
    writer.u32(2, state.config.table_size);
    writer.close_message(open);
}

pub(super) fn config(writer: &mut Writer, to: Envelope, timeouts: &Timeouts) {
    let open = to.open(writer, command::SET_CONFIG, VERSION);
    writer.u32(top::TIMEOUT_TCP as u16, timeouts.tcp);
    writer.u32(top::TIMEOUT_TCP_FIN as u16, timeouts.tcp_fin);
    writer.u32(top::TIMEOUT_UDP as u16, timeouts.udp);
    writer.close_message(open);
}

pub(super) fn service(writer: &mut Writer, to: Envelope, service: &Service, hz: u32) {
    let open = to.open(writer, command::NEW_SERVICE, VERSION);
    let nest = writer.nest(top::SERVICE as u16);
    writer.u16(svc::AF as u16, family_number(service.id.is_ipv6()));
    match service.id {
        ServiceId::Mark { mark, .. } => writer.u32(svc::FWMARK as u16, mark),
        ServiceId::Address { protocol, address } => {
            writer.u16(svc::PROTOCOL as u16, protocol);
            writer.address(svc::ADDR as u16, address.ip());
            writer.u16(svc::PORT as u16, address.port().to_be());
        }
    }
    writer.text(svc::SCHED_NAME as u16, &service.scheduler);
    if let Some(engine) = &service.engine {
        writer.text(svc::PE_NAME as u16, engine);
    }
    let mut flags = [0xff; 8];
    flags[..4].copy_from_slice(&service.flags.to_ne_bytes());
    writer.attribute(svc::FLAGS as u16, &flags);
    writer.u32(svc::TIMEOUT as u16, service.timeout / hz.max(1));
    writer.attribute(svc::NETMASK as u16, &service.netmask);
    statistics(
        writer,
        svc::STATS as u16,
        svc::STATS64 as u16,
        &service.counters,
    );
    writer.close_nest(nest);
    writer.close_message(open);
}

pub(super) fn destination(writer: &mut Writer, to: Envelope, dest: &Destination) {
    let open = to.open(writer, command::NEW_DEST, VERSION);
    let nest = writer.nest(top::DEST as u16);
    writer.address(dest::ADDR as u16, dest.address.ip());
    writer.u16(dest::PORT as u16, dest.address.port().to_be());
    writer.u32(dest::FWD_METHOD as u16, dest.forward);
    writer.u32(dest::WEIGHT as u16, dest.weight);
    writer.attribute(dest::TUN_TYPE as u16, &[dest.tunnel_type]);
    writer.u16(dest::TUN_PORT as u16, dest.tunnel_port.to_be());
    writer.u16(dest::TUN_FLAGS as u16, dest.tunnel_flags);
    writer.u32(dest::U_THRESH as u16, dest.upper);
    writer.u32(dest::L_THRESH as u16, dest.lower);
    writer.u32(dest::ACTIVE_CONNS as u16, dest.connections.active);
    writer.u32(dest::INACT_CONNS as u16, dest.connections.inactive);
    writer.u32(dest::PERSIST_CONNS as u16, dest.connections.persistent);
    writer.u16(
        dest::ADDR_FAMILY as u16,
        family_number(dest.address.is_ipv6()),
    );
    statistics(
        writer,
        dest::STATS as u16,
        dest::STATS64 as u16,
        &dest.counters,
    );
    writer.close_nest(nest);
    writer.close_message(open);
}

/// The running daemon of the state, master or backup.
pub(super) fn daemon(writer: &mut Writer, to: Envelope, master: bool, daemon: &Daemon) {
    let open = to.open(writer, command::NEW_DAEMON, VERSION);
    let nest = writer.nest(top::DAEMON as u16);
    writer.u32(
        daemon::STATE as u16,
        if master { STATE_MASTER } else { STATE_BACKUP },
    );
    writer.text(daemon::MCAST_IFN as u16, &daemon.interface);
    writer.u32(daemon::SYNC_ID as u16, daemon.sync_id);
    writer.u16(daemon::SYNC_MAXLEN as u16, daemon.maxlen);
    writer.u16(daemon::MCAST_PORT as u16, daemon.port);
    writer.attribute(daemon::MCAST_TTL as u16, &[daemon.ttl]);
    match daemon.group {
        IpAddr::V4(group) => writer.attribute(daemon::MCAST_GROUP as u16, &group.octets()),
        IpAddr::V6(group) => writer.attribute(daemon::MCAST_GROUP6 as u16, &group.octets()),
    }
    writer.close_nest(nest);
    writer.close_message(open);
}

/// The same numbers twice: cut to 32 bits but for the bytes, and whole.
fn statistics(writer: &mut Writer, short: u16, long: u16, counters: &Counters) {
    let numbers = [
        counters.connections,
        counters.in_packets,
        counters.out_packets,
        counters.in_bytes,
        counters.out_bytes,
        counters.connection_rate,
        counters.in_packet_rate,
        counters.out_packet_rate,
        counters.in_byte_rate,
        counters.out_byte_rate,
    ];
    let nest = writer.nest(short);
    for (number, value) in (1..).zip(numbers) {
        match number {
            4 | 5 => writer.u64(number, value, STATS_PAD),
            _ => writer.u32(number, value as u32),
        }
    }
    writer.close_nest(nest);
    let nest = writer.nest(long);
    for (number, value) in (1..).zip(numbers) {
        writer.u64(number, value, STATS_PAD);
    }
    writer.close_nest(nest);
}

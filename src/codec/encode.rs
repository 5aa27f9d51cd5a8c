//! Operations and questions as netlink requests.

use std::net::IpAddr;

use neli::consts::{
    genl::{CtrlAttr, CtrlCmd},
    nl::GenlId,
};

use super::wire::{self, Command, Head, attribute, nest, text};
use crate::model::{
    Family, Netmask, Op, Query, SchedulerFlags, ServerConfig, ServerKey, ServiceConfig, ServiceKey,
    SyncDaemonConfig, SyncState, Timeouts,
};

/// `IPVS_CMD_ATTR_*`
pub(super) mod top {
    pub const SERVICE: u16 = 1;
    pub const DEST: u16 = 2;
    pub const DAEMON: u16 = 3;
    pub const TIMEOUT_TCP: u16 = 4;
    pub const TIMEOUT_TCP_FIN: u16 = 5;
    pub const TIMEOUT_UDP: u16 = 6;
}

/// `IPVS_SVC_ATTR_*`
pub(super) mod svc {
    pub const AF: u16 = 1;
    pub const PROTOCOL: u16 = 2;
    pub const ADDR: u16 = 3;
    pub const PORT: u16 = 4;
    pub const FWMARK: u16 = 5;
    pub const SCHED_NAME: u16 = 6;
    pub const FLAGS: u16 = 7;
    pub const TIMEOUT: u16 = 8;
    pub const NETMASK: u16 = 9;
    pub const STATS: u16 = 10;
    pub const PE_NAME: u16 = 11;
    pub const STATS64: u16 = 12;

    pub const FLAG_PERSISTENT: u32 = 0x1;
    pub const FLAG_ONE_PACKET: u32 = 0x4;
}

/// `IPVS_DEST_ATTR_*`
pub(super) mod dest {
    pub const ADDR: u16 = 1;
    pub const PORT: u16 = 2;
    pub const FWD_METHOD: u16 = 3;
    pub const WEIGHT: u16 = 4;
    pub const U_THRESH: u16 = 5;
    pub const L_THRESH: u16 = 6;
    pub const ACTIVE_CONNS: u16 = 7;
    pub const INACT_CONNS: u16 = 8;
    pub const PERSIST_CONNS: u16 = 9;
    pub const STATS: u16 = 10;
    pub const ADDR_FAMILY: u16 = 11;
    pub const STATS64: u16 = 12;
    pub const TUN_TYPE: u16 = 13;
    pub const TUN_PORT: u16 = 14;
    pub const TUN_FLAGS: u16 = 15;
}

/// `IPVS_DAEMON_ATTR_*`
pub(super) mod daemon {
    pub const STATE: u16 = 1;
    pub const MCAST_IFN: u16 = 2;
    pub const SYNC_ID: u16 = 3;
    pub const SYNC_MAXLEN: u16 = 4;
    pub const MCAST_GROUP: u16 = 5;
    pub const MCAST_GROUP6: u16 = 6;
    pub const MCAST_PORT: u16 = 7;
    pub const MCAST_TTL: u16 = 8;
}

const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;

/// Asks the controller for the number of the IPVS family; makes the kernel load the module.
pub fn resolve_family(out: &mut Vec<u8>, seq: u32) {
    let head = Head {
        family: GenlId::Ctrl.into(),
        seq,
        ack: false,
    };
    wire::request(out, head, false, CtrlCmd::Getfamily.into(), |out| {
        text(out, CtrlAttr::FamilyName.into(), wire::FAMILY);
    });
}

/// Appends an operation.
pub fn op(out: &mut Vec<u8>, head: Head, op: &Op) {
    let mut put = |command: Command, attributes: &dyn Fn(&mut Vec<u8>)| {
        wire::request(out, head, false, command as u8, attributes);
    };
    match op {
        Op::CreateService(key, config) => {
            put(Command::NewService, &|out| service(out, *key, Some(config)));
        }
        Op::SetService(key, config) => {
            put(Command::SetService, &|out| service(out, *key, Some(config)));
        }
        Op::DeleteService(key) => put(Command::DelService, &|out| service(out, *key, None)),
        Op::CreateServer(key, to, config) => put(Command::NewDest, &|out| {
            service(out, *key, None);
            server(out, *to, Some(config));
        }),
        Op::SetServer(key, to, config) => put(Command::SetDest, &|out| {
            service(out, *key, None);
            server(out, *to, Some(config));
        }),
        Op::DeleteServer(key, to) => put(Command::DelDest, &|out| {
            service(out, *key, None);
            server(out, *to, None);
        }),
        Op::Clear => put(Command::Flush, &|_| {}),
        Op::ZeroAll => put(Command::Zero, &|_| {}),
        Op::ZeroService(key) => put(Command::Zero, &|out| service(out, *key, None)),
        Op::SetTimeouts(to) => put(Command::SetConfig, &|out| timeouts(out, to)),
        Op::StartSyncDaemon(config) => put(Command::NewDaemon, &|out| sync_daemon(out, config)),
        Op::StopSyncDaemon(state) => put(Command::DelDaemon, &|out| {
            nest(out, top::DAEMON, |out| {
                attribute(out, daemon::STATE, &state_number(*state).to_ne_bytes());
            });
        }),
    }
}

/// Appends a question that is answered with one message; `false` for one that needs a dump.
pub fn get(out: &mut Vec<u8>, head: Head, query: Query) -> bool {
    let mut put = |command: Command, attributes: &dyn Fn(&mut Vec<u8>)| {
        wire::request(out, head, false, command as u8, attributes);
        true
    };
    match query {
        Query::Info => put(Command::GetInfo, &|_| {}),
        Query::Timeouts => put(Command::GetConfig, &|_| {}),
        Query::Service(key) => put(Command::GetService, &|out| service(out, key, None)),
        Query::SyncDaemons
        | Query::Services
        | Query::Table
        | Query::ServiceWithServers(_)
        | Query::Servers(_) => false,
    }
}

/// Asks for all services.
pub fn dump_services(out: &mut Vec<u8>, head: Head) {
    wire::request(out, head, true, Command::GetService as u8, |_| {});
}

/// Asks for all servers of a service. The kernel answers a missing service with none.
pub fn dump_servers(out: &mut Vec<u8>, head: Head, key: ServiceKey) {
    wire::request(out, head, true, Command::GetDest as u8, |out| {
        service(out, key, None)
    });
}

/// Asks for the sync daemons.
pub fn dump_sync_daemons(out: &mut Vec<u8>, head: Head) {
    wire::request(out, head, true, Command::GetDaemon as u8, |_| {});
}

/// The identity of a service, and all else of it where it is to be set.
fn service(out: &mut Vec<u8>, key: ServiceKey, config: Option<&ServiceConfig>) {
    nest(out, top::SERVICE, |out| {
        attribute(out, svc::AF, &family(key.family()).to_ne_bytes());
        match key {
            ServiceKey::Address {
                protocol,
                address: to,
                port,
            } => {
                attribute(out, svc::PROTOCOL, &protocol.number().to_ne_bytes());
                attribute(out, svc::ADDR, &address(to));
                attribute(out, svc::PORT, &port.to_be_bytes());
            }
            ServiceKey::Fwmark { mark, .. } => attribute(out, svc::FWMARK, &mark.to_ne_bytes()),
        }
        let Some(config) = config else { return };
        text(out, svc::SCHED_NAME, config.scheduler.as_str());
        // Left out, the kernel takes the engine away.
        if let Some(engine) = config.persistence_engine {
            text(out, svc::PE_NAME, engine.as_str());
        }
        // {flags, mask}: bits outside the mask stay, among them the kernel's own.
        let mut flags = config.scheduler_flags.bits();
        if config.persistence_timeout.is_some() {
            flags |= svc::FLAG_PERSISTENT;
        }
        if config.one_packet {
            flags |= svc::FLAG_ONE_PACKET;
        }
        let mask = svc::FLAG_PERSISTENT | svc::FLAG_ONE_PACKET | SchedulerFlags::MASK;
        let mut pair = [0; 8];
        pair[..4].copy_from_slice(&flags.to_ne_bytes());
        pair[4..].copy_from_slice(&mask.to_ne_bytes());
        attribute(out, svc::FLAGS, &pair);
        let timeout = config.persistence_timeout.unwrap_or(0);
        attribute(out, svc::TIMEOUT, &timeout.to_ne_bytes());
        // A mask in network order for IPv4, a length in host order for IPv6.
        let netmask = match config.netmask {
            Netmask::V4(mask) => mask.octets(),
            Netmask::V6(length) => length.to_ne_bytes(),
        };
        attribute(out, svc::NETMASK, &netmask);
    });
}

/// The identity of a server, and all else of it where it is to be set.
fn server(out: &mut Vec<u8>, key: ServerKey, config: Option<&ServerConfig>) {
    nest(out, top::DEST, |out| {
        attribute(
            out,
            dest::ADDR_FAMILY,
            &family(Family::of(key.address)).to_ne_bytes(),
        );
        attribute(out, dest::ADDR, &address(key.address));
        attribute(out, dest::PORT, &key.port.to_be_bytes());
        let Some(config) = config else { return };
        let tunnel = config.tunnel;
        let method = u32::from(config.forwarding.number());
        attribute(out, dest::FWD_METHOD, &method.to_ne_bytes());
        attribute(out, dest::WEIGHT, &config.weight.to_ne_bytes());
        attribute(out, dest::U_THRESH, &config.upper_threshold.to_ne_bytes());
        attribute(out, dest::L_THRESH, &config.lower_threshold.to_ne_bytes());
        attribute(out, dest::TUN_TYPE, &[tunnel.kind.number()]);
        attribute(out, dest::TUN_PORT, &tunnel.port.to_be_bytes());
        attribute(
            out,
            dest::TUN_FLAGS,
            &tunnel.checksum.number().to_ne_bytes(),
        );
    });
}

fn timeouts(out: &mut Vec<u8>, to: &Timeouts) {
    attribute(out, top::TIMEOUT_TCP, &to.tcp_seconds.to_ne_bytes());
    attribute(out, top::TIMEOUT_TCP_FIN, &to.tcp_fin_seconds.to_ne_bytes());
    attribute(out, top::TIMEOUT_UDP, &to.udp_seconds.to_ne_bytes());
}

fn sync_daemon(out: &mut Vec<u8>, config: &SyncDaemonConfig) {
    nest(out, top::DAEMON, |out| {
        attribute(
            out,
            daemon::STATE,
            &state_number(config.state).to_ne_bytes(),
        );
        text(out, daemon::MCAST_IFN, config.interface.as_str());
        attribute(out, daemon::SYNC_ID, &config.sync_id.to_ne_bytes());
        if let Some(length) = config.max_length {
            attribute(out, daemon::SYNC_MAXLEN, &length.to_ne_bytes());
        }
        match config.multicast_group {
            IpAddr::V4(group) => attribute(out, daemon::MCAST_GROUP, &group.octets()),
            IpAddr::V6(group) => attribute(out, daemon::MCAST_GROUP6, &group.octets()),
        }
        // In host order, unlike the ports of services.
        attribute(
            out,
            daemon::MCAST_PORT,
            &config.multicast_port.to_ne_bytes(),
        );
        attribute(out, daemon::MCAST_TTL, &[config.multicast_ttl]);
    });
}

/// `IP_VS_STATE_MASTER`, `IP_VS_STATE_BACKUP`
pub(super) fn state_number(state: SyncState) -> u32 {
    match state {
        SyncState::Master => 1,
        SyncState::Backup => 2,
    }
}

fn family(family: Family) -> u16 {
    match family {
        Family::Ipv4 => AF_INET,
        Family::Ipv6 => AF_INET6,
    }
}

/// The family of that number.
pub(super) fn family_of(number: u16) -> Option<Family> {
    match number {
        AF_INET => Some(Family::Ipv4),
        AF_INET6 => Some(Family::Ipv6),
        _ => None,
    }
}

/// 16 bytes, an IPv4 address in the first four.
fn address(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

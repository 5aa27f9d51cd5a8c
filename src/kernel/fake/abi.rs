//! The numbers of the IPVS generic-netlink family, and the kernel's attribute policies.

use super::wire::Policy::{self, Any, Binary, Nested, Number, Text};

pub(super) const FAMILY_NAME: &str = "IPVS";

/// The family of the controller, which resolves names of families.
pub(super) const CTRL_FAMILY: u16 = 0x10;
pub(super) const CTRL_NEWFAMILY: u8 = 1;
pub(super) const CTRL_GETFAMILY: u8 = 3;
pub(super) const CTRL_FAMILY_ID: usize = 1;
pub(super) const CTRL_FAMILY_NAME: usize = 2;
pub(super) const CTRL: &[Policy] = &[Number(2), Text(15)];

/// The commands of the family, by their numbers on the wire.
#[allow(missing_docs)]
pub mod command {
    pub const NEW_SERVICE: u8 = 1;
    pub const SET_SERVICE: u8 = 2;
    pub const DEL_SERVICE: u8 = 3;
    pub const GET_SERVICE: u8 = 4;
    pub const NEW_DEST: u8 = 5;
    pub const SET_DEST: u8 = 6;
    pub const DEL_DEST: u8 = 7;
    pub const GET_DEST: u8 = 8;
    pub const NEW_DAEMON: u8 = 9;
    pub const DEL_DAEMON: u8 = 10;
    pub const GET_DAEMON: u8 = 11;
    pub const SET_CONFIG: u8 = 12;
    pub const GET_CONFIG: u8 = 13;
    pub const SET_INFO: u8 = 14;
    pub const GET_INFO: u8 = 15;
    pub const ZERO: u8 = 16;
    pub const FLUSH: u8 = 17;
}

/// How a command may be asked: (as a single request, as a dump). None for numbers that are no
/// command.
pub(super) fn forms(command: u8) -> Option<(bool, bool)> {
    match command {
        command::GET_SERVICE => Some((true, true)),
        command::GET_DEST | command::GET_DAEMON => Some((false, true)),
        command::SET_INFO | 0 => None,
        1..=command::FLUSH => Some((true, false)),
        _ => None,
    }
}

/// Top-level attributes.
pub(super) mod top {
    pub(in super::super) const SERVICE: usize = 1;
    pub(in super::super) const DEST: usize = 2;
    pub(in super::super) const DAEMON: usize = 3;
    pub(in super::super) const TIMEOUT_TCP: usize = 4;
    pub(in super::super) const TIMEOUT_TCP_FIN: usize = 5;
    pub(in super::super) const TIMEOUT_UDP: usize = 6;
}
pub(super) const TOP: &[Policy] = &[Nested, Nested, Nested, Number(4), Number(4), Number(4)];

/// Attributes of a virtual service.
pub(super) mod svc {
    pub(in super::super) const AF: usize = 1;
    pub(in super::super) const PROTOCOL: usize = 2;
    pub(in super::super) const ADDR: usize = 3;
    pub(in super::super) const PORT: usize = 4;
    pub(in super::super) const FWMARK: usize = 5;
    pub(in super::super) const SCHED_NAME: usize = 6;
    pub(in super::super) const FLAGS: usize = 7;
    pub(in super::super) const TIMEOUT: usize = 8;
    pub(in super::super) const NETMASK: usize = 9;
    pub(in super::super) const STATS: usize = 10;
    pub(in super::super) const PE_NAME: usize = 11;
    pub(in super::super) const STATS64: usize = 12;
}
pub(super) const SVC: &[Policy] = &[
    Number(2),
    Number(2),
    Binary(16),
    Number(2),
    Number(4),
    Text(15),
    Binary(8),
    Number(4),
    Number(4),
    Nested,
    Text(16),
    Any,
];

/// Attributes of a real server.
pub(super) mod dest {
    pub(in super::super) const ADDR: usize = 1;
    pub(in super::super) const PORT: usize = 2;
    pub(in super::super) const FWD_METHOD: usize = 3;
    pub(in super::super) const WEIGHT: usize = 4;
    pub(in super::super) const U_THRESH: usize = 5;
    pub(in super::super) const L_THRESH: usize = 6;
    pub(in super::super) const ACTIVE_CONNS: usize = 7;
    pub(in super::super) const INACT_CONNS: usize = 8;
    pub(in super::super) const PERSIST_CONNS: usize = 9;
    pub(in super::super) const STATS: usize = 10;
    pub(in super::super) const ADDR_FAMILY: usize = 11;
    pub(in super::super) const STATS64: usize = 12;
    pub(in super::super) const TUN_TYPE: usize = 13;
    pub(in super::super) const TUN_PORT: usize = 14;
    pub(in super::super) const TUN_FLAGS: usize = 15;
}
pub(super) const DEST: &[Policy] = &[
    Binary(16),
    Number(2),
    Number(4),
    Number(4),
    Number(4),
    Number(4),
    Number(4),
    Number(4),
    Number(4),
    Nested,
    Number(2),
    Any,
    Number(1),
    Number(2),
    Number(2),
];

/// Attributes of a sync daemon.
pub(super) mod daemon {
    pub(in super::super) const STATE: usize = 1;
    pub(in super::super) const MCAST_IFN: usize = 2;
    pub(in super::super) const SYNC_ID: usize = 3;
    pub(in super::super) const SYNC_MAXLEN: usize = 4;
    pub(in super::super) const MCAST_GROUP: usize = 5;
    pub(in super::super) const MCAST_GROUP6: usize = 6;
    pub(in super::super) const MCAST_PORT: usize = 7;
    pub(in super::super) const MCAST_TTL: usize = 8;
}
pub(super) const DAEMON: &[Policy] = &[
    Number(4),
    Text(15),
    Number(4),
    Number(2),
    Number(4),
    Number(16),
    Number(2),
    Number(1),
];

/// The filler attribute of statistics nests.
pub(super) const STATS_PAD: u16 = 11;

pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 10;
pub(super) const PROTOCOL_TCP: u16 = 6;

/// The flag that the kernel keeps for itself: the service is in the table.
pub(super) const FLAG_HASHED: u32 = 0x2;
/// Of a forwarding method the kernel keeps these bits.
pub(super) const FORWARD_MASK: u32 = 7;
pub(super) const FORWARD_TUNNEL: u32 = 2;
pub(super) const TUNNEL_GUE: u8 = 1;

/// The schedulers of Debian's 6.1 kernel. A service without one has the name "none".
pub(super) const SCHEDULERS: &[&str] = &[
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh",
];
pub(super) const NO_SCHEDULER: &str = "none";
pub(super) const PERSISTENCE_ENGINES: &[&str] = &["pe_sip"];

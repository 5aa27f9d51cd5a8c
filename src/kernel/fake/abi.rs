//! Constants of the kernel beyond [`uapi`](crate::codec::uapi), and the policy of top-level
//! attributes.

use super::wire::Policy::{self, Nested, Number, Text};
use crate::codec::uapi::{command, top};

/// The controller, which resolves the names of families.
pub(super) const CTRL_FAMILY: u16 = 0x10;
pub(super) const CTRL_NEWFAMILY: u8 = 1;
pub(super) const CTRL_GETFAMILY: u8 = 3;
pub(super) const CTRL_FAMILY_ID: u16 = 1;
pub(super) const CTRL_FAMILY_NAME: u16 = 2;
pub(super) const CTRL_VERSION: u16 = 3;
pub(super) const CTRL_HEADER_SIZE: u16 = 4;
pub(super) const CTRL_MAX_ATTRIBUTE: u16 = 5;
pub(super) const CTRL_OPERATIONS: u16 = 6;
pub(super) const CTRL: [Policy; 2] = [Number(2), Text(15)];

/// The policy of top-level attributes.
pub(super) const TOP: [Policy; top::MAX as usize] =
    [Nested, Nested, Nested, Number(4), Number(4), Number(4)];

/// How a command can be sent: (as a single request, as a dump). `None` for unknown commands.
pub(super) fn forms(command: u8) -> Option<(bool, bool)> {
    match command {
        command::GET_SERVICE => Some((true, true)),
        command::GET_DEST | command::GET_DAEMON => Some((false, true)),
        command::SET_INFO | 0 => None,
        1..=command::FLUSH => Some((true, false)),
        _ => None,
    }
}

pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 10;

/// The schedulers of Debian's 6.1 kernel. A service without a scheduler has the name "none".
pub(super) const SCHEDULERS: &[&str] = &[
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh",
];
pub(super) const NO_SCHEDULER: &str = "none";
/// The modules of the persistence engines.
pub(super) const PERSISTENCE_ENGINES: &[&str] = &["pe_sip"];

/// The kernel's number of an address family.
pub(super) fn family_number(ipv6: bool) -> u16 {
    if ipv6 { AF_INET6 } else { AF_INET }
}

/// Whether a family number is IPv6. EAFNOSUPPORT if the kernel does not support the family.
pub(super) fn is_ipv6(family: u16, ipv6_enabled: bool) -> Result<bool, i32> {
    match family {
        AF_INET => Ok(false),
        AF_INET6 if ipv6_enabled => Ok(true),
        _ => Err(libc::EAFNOSUPPORT),
    }
}

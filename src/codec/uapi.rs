//! Numbers of the generic netlink family of IPVS, as in `include/uapi/linux/ip_vs.h`.
//!
//! Each nest lists its attributes once. Sizes of tables derive from the list, so a new attribute
//! needs one new line here.
#![allow(missing_docs, reason = "the kernel's names")]

/// Name of the family (`IPVS_GENL_NAME`).
pub const FAMILY_NAME: &str = "IPVS";
/// Version in the generic netlink header (`IPVS_GENL_VERSION`). The kernel ignores it.
pub const VERSION: u8 = 1;

/// Declares the attributes of a nest: a constant for each, `MAX`, the highest, and `SLOTS`, the
/// length of an array indexed by attribute number.
macro_rules! attributes {
    ($(#[$doc:meta])* $nest:ident { $($attribute:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        pub mod $nest {
            $(pub const $attribute: u16 = $number;)+

            const ALL: &[u16] = &[$($number),+];
            /// The highest known attribute.
            pub const MAX: u16 = ALL[ALL.len() - 1];
            /// Length of an array indexed by attribute number. Number 0 is unused.
            pub const SLOTS: usize = MAX as usize + 1;

            const _: () = {
                let mut i = 0;
                while i < ALL.len() {
                    assert!(ALL[i] as usize == i + 1, "attributes are numbered from 1 without gaps");
                    i += 1;
                }
            };
        }
    };
}

/// Commands (`IPVS_CMD_*`).
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

attributes! {
    /// Attributes of a message (`IPVS_CMD_ATTR_*`), except for replies to `GET_INFO`.
    top {
        SERVICE = 1,
        DEST = 2,
        DAEMON = 3,
        TIMEOUT_TCP = 4,
        TIMEOUT_TCP_FIN = 5,
        TIMEOUT_UDP = 6,
    }
}

attributes! {
    /// Attributes of a reply to `GET_INFO` (`IPVS_INFO_ATTR_*`).
    info {
        VERSION = 1,
        CONN_TAB_SIZE = 2,
    }
}

attributes! {
    /// Attributes of a virtual service (`IPVS_SVC_ATTR_*`).
    svc {
        AF = 1,
        PROTOCOL = 2,
        ADDR = 3,
        PORT = 4,
        FWMARK = 5,
        SCHED_NAME = 6,
        FLAGS = 7,
        TIMEOUT = 8,
        NETMASK = 9,
        STATS = 10,
        PE_NAME = 11,
        STATS64 = 12,
    }
}

/// `IP_VS_SVC_F_PERSISTENT`.
pub const SVC_F_PERSISTENT: u32 = 0x1;
/// `IP_VS_SVC_F_HASHED`: the service is in the table. Set by the kernel.
pub const SVC_F_HASHED: u32 = 0x2;
/// `IP_VS_SVC_F_ONEPACKET`.
pub const SVC_F_ONEPACKET: u32 = 0x4;

attributes! {
    /// Attributes of a real server (`IPVS_DEST_ATTR_*`).
    dest {
        ADDR = 1,
        PORT = 2,
        FWD_METHOD = 3,
        WEIGHT = 4,
        U_THRESH = 5,
        L_THRESH = 6,
        ACTIVE_CONNS = 7,
        INACT_CONNS = 8,
        PERSIST_CONNS = 9,
        STATS = 10,
        ADDR_FAMILY = 11,
        STATS64 = 12,
        TUN_TYPE = 13,
        TUN_PORT = 14,
        TUN_FLAGS = 15,
    }
}

/// `IP_VS_CONN_F_FWD_MASK`: the bits of the forwarding method that the kernel keeps.
pub const CONN_F_FWD_MASK: u32 = 0x7;

attributes! {
    /// Attributes of a sync daemon (`IPVS_DAEMON_ATTR_*`).
    daemon {
        STATE = 1,
        MCAST_IFN = 2,
        SYNC_ID = 3,
        SYNC_MAXLEN = 4,
        MCAST_GROUP = 5,
        MCAST_GROUP6 = 6,
        MCAST_PORT = 7,
        MCAST_TTL = 8,
    }
}

/// `IP_VS_STATE_MASTER`.
pub const STATE_MASTER: u32 = 1;
/// `IP_VS_STATE_BACKUP`.
pub const STATE_BACKUP: u32 = 2;

attributes! {
    /// Attributes of the nests `STATS` and `STATS64` (`IPVS_STATS_ATTR_*`): ten numbers, and the
    /// padding that aligns 64-bit numbers.
    stats {
        CONNS = 1,
        INPKTS = 2,
        OUTPKTS = 3,
        INBYTES = 4,
        OUTBYTES = 5,
        CPS = 6,
        INPPS = 7,
        OUTPPS = 8,
        INBPS = 9,
        OUTBPS = 10,
        PAD = 11,
    }
}

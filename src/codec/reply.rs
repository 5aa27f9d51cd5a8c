//! Replies without a nest.

use neli::consts::genl::CtrlAttr;

use super::{
    attributes::{find, read_u16, read_u32},
    uapi::{self, top},
};
use crate::model::{Info, Timeouts};

/// The number of a family, from the controller's reply.
pub fn family_id(message: &[u8]) -> Option<u16> {
    read_u16(find(message, CtrlAttr::FamilyId.into())?)
}

/// The timeouts, from the reply to `GET_CONFIG`.
pub fn timeouts(message: &[u8]) -> Option<Timeouts> {
    Some(Timeouts {
        tcp_seconds: read_u32(find(message, top::TIMEOUT_TCP)?)?,
        tcp_fin_seconds: read_u32(find(message, top::TIMEOUT_TCP_FIN)?)?,
        udp_seconds: read_u32(find(message, top::TIMEOUT_UDP)?)?,
    })
}

/// Version and size of the connection table, from the reply to `GET_INFO`.
pub fn info(message: &[u8]) -> Option<Info> {
    let version = read_u32(find(message, uapi::info::VERSION)?)?;
    let [_, major, minor, patch] = version.to_be_bytes();
    Some(Info {
        version: (major, minor, patch),
        connection_table_size: read_u32(find(message, uapi::info::CONN_TAB_SIZE)?)?,
    })
}

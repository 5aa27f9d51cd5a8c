//! Sync daemons: their state, their attribute policy, and their messages.

use std::net::{IpAddr, Ipv4Addr};

use super::wire::{
    Attributes, Errno,
    Policy::{self, Number, Text},
    Writer,
};
use crate::codec::uapi::{STATE_BACKUP, STATE_MASTER, daemon, top};

/// The policy of a sync daemon's attributes.
pub(super) const POLICY: [Policy; daemon::MAX as usize] = [
    Number(4),
    Text(15),
    Number(4),
    Number(2),
    Number(4),
    Number(16),
    Number(2),
    Number(1),
];

/// The running sync daemons.
#[derive(Debug, Clone, Default)]
pub(super) struct SyncDaemons {
    pub(super) master: Option<SyncDaemon>,
    pub(super) backup: Option<SyncDaemon>,
}

impl SyncDaemons {
    pub(super) fn any(&self) -> bool {
        self.master.is_some() || self.backup.is_some()
    }

    /// The daemon of a role, by the kernel's number.
    pub(super) fn slot(&mut self, state: u32) -> Result<&mut Option<SyncDaemon>, Errno> {
        match state {
            STATE_MASTER => Ok(&mut self.master),
            STATE_BACKUP => Ok(&mut self.backup),
            _ => Err(libc::EINVAL),
        }
    }
}

/// A sync daemon with all defaults applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyncDaemon {
    interface: String,
    sync_id: u32,
    max_length: u16,
    group: IpAddr,
    port: u16,
    ttl: u8,
}

/// A request to start a sync daemon.
pub(super) struct Start {
    pub(super) state: u32,
    pub(super) interface: String,
    sync_id: u32,
    max_length: u16,
    pub(super) group: IpAddr,
    port: u16,
    ttl: u8,
}

impl Start {
    pub(super) fn parse(nest: &Attributes<'_>) -> Result<Self, Errno> {
        let (Some(state), Some(interface), Some(sync_id)) = (
            nest.u32(daemon::STATE),
            nest.text(daemon::MCAST_IFN),
            nest.u32(daemon::SYNC_ID),
        ) else {
            return Err(libc::EINVAL);
        };
        Ok(Self {
            state,
            interface,
            sync_id,
            max_length: nest.u16(daemon::SYNC_MAXLEN).unwrap_or(0),
            // The IPv4 group has precedence if both are given.
            group: nest
                .address(daemon::MCAST_GROUP, false)
                .or_else(|| nest.address(daemon::MCAST_GROUP6, true))
                .unwrap_or(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81))),
            port: nest.u16(daemon::MCAST_PORT).unwrap_or(0),
            ttl: nest.u8(daemon::MCAST_TTL).unwrap_or(0),
        })
    }

    /// The daemon on an interface with this MTU.
    pub(super) fn daemon(self, mtu: u32) -> Result<SyncDaemon, Errno> {
        let (mtu, least) = match self.state {
            STATE_MASTER => (1500, 1),
            STATE_BACKUP => (mtu.clamp(1500, 65535), 1024),
            _ => return Err(libc::EINVAL),
        };
        let headers = if self.group.is_ipv6() { 48 } else { 28 };
        let max_length = match self.max_length {
            0 => mtu - headers,
            given => u32::from(given).clamp(least, 65535 - headers),
        };
        Ok(SyncDaemon {
            interface: self.interface,
            sync_id: self.sync_id,
            max_length: max_length as u16,
            group: self.group,
            port: if self.port == 0 { 8848 } else { self.port },
            ttl: self.ttl.max(1),
        })
    }
}

impl SyncDaemon {
    /// Writes the nest of the daemon of a role.
    pub(super) fn write(&self, writer: &mut Writer, state: u32) {
        let nest = writer.nest(top::DAEMON);
        writer.u32(daemon::STATE, state);
        writer.text(daemon::MCAST_IFN, &self.interface);
        writer.u32(daemon::SYNC_ID, self.sync_id);
        writer.u16(daemon::SYNC_MAXLEN, self.max_length);
        writer.u16(daemon::MCAST_PORT, self.port);
        writer.attribute(daemon::MCAST_TTL, &[self.ttl]);
        match self.group {
            IpAddr::V4(group) => writer.attribute(daemon::MCAST_GROUP, &group.octets()),
            IpAddr::V6(group) => writer.attribute(daemon::MCAST_GROUP6, &group.octets()),
        }
        writer.close_nest(nest);
    }
}

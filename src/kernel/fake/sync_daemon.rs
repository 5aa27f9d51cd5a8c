//! Sync daemons: their state, their attribute policy, and their messages.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

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

/// A network interface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) mtu: u32,
}

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

    /// `net/igmp`, or `net/igmp6`: the interfaces with the group that every host joins, and that of
    /// the backup on the interface that it uses.
    pub(super) fn memberships(&self, interfaces: &BTreeMap<String, Interface>, v6: bool) -> String {
        let all: IpAddr = match v6 {
            true => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
            false => Ipv4Addr::new(224, 0, 0, 1).into(),
        };
        let mut text = match v6 {
            true => String::new(),
            false => "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n".to_owned(),
        };
        for (name, Interface { index, .. }) in interfaces {
            let own = self.backup.iter().filter(|backup| backup.index == *index);
            let own = own.map(|backup| backup.group);
            let groups: Vec<_> = own
                .filter(|group| group.is_ipv6() == v6)
                .chain([all])
                .collect();
            if !v6 {
                text += &format!("{index}\t{name:<10}: {:5}      V3\n", groups.len());
            }
            for group in groups {
                text += &match group {
                    IpAddr::V4(group) => format!("\t\t\t\t{}     1 0:00000000\t\t0\n", hex(group)),
                    IpAddr::V6(group) => {
                        format!(
                            "{index:<4} {name:<15} {:032x}     1 00000004 0\n",
                            u128::from(group)
                        )
                    }
                };
            }
        }
        text
    }

    /// `net/udp`, or `net/udp6`: the socket of the master.
    pub(super) fn sockets(&self, v6: bool) -> String {
        let mut text =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                        uid  timeout inode ref pointer drops\n"
                .to_owned();
        let masters = self.master.iter();
        for master in masters.filter(|master| master.group.is_ipv6() == v6) {
            let (local, group) = match master.group {
                IpAddr::V4(group) => ("0100000A".to_owned(), hex(group)),
                IpAddr::V6(group) => {
                    let words = group.octets();
                    let words = words
                        .chunks_exact(4)
                        .map(|word| hex(Ipv4Addr::new(word[0], word[1], word[2], word[3])));
                    ("0".repeat(32), words.collect())
                }
            };
            text += &format!(
                "    1: {local}:C350 {group}:{:04X} 01 00000000:00000000 00:00000000 00000000     \
                 0        0 {} 2 0000000000000000 0\n",
                master.port, master.inode
            );
        }
        text
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
    /// The interface that the daemon uses.
    index: u32,
    /// The inode of its socket.
    inode: u64,
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

    /// The daemon on an interface.
    pub(super) fn daemon(self, interface: Interface, inode: u64) -> Result<SyncDaemon, Errno> {
        let Interface { index, mtu } = interface;
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
            index,
            inode,
            sync_id: self.sync_id,
            max_length: max_length as u16,
            group: self.group,
            port: if self.port == 0 { 8848 } else { self.port },
            ttl: self.ttl.max(1),
        })
    }
}

/// An address as the kernel prints it in files below `/proc/net`.
fn hex(address: Ipv4Addr) -> String {
    format!("{:08X}", u32::from_ne_bytes(address.octets()))
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

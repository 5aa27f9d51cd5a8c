//! The nest of a sync daemon.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    attributes::{Attributes, find, read_address, read_u8, read_u16, read_u32},
    uapi::{STATE_BACKUP, STATE_MASTER, daemon, top},
    wire::{attribute, nest, text},
};
use crate::model::{Family, InterfaceState, Name, SyncDaemon, SyncDaemonConfig, SyncState};

/// Appends the nest of a sync daemon to be started.
pub(super) fn put_sync_daemon(out: &mut Vec<u8>, config: &SyncDaemonConfig) {
    let SyncDaemonConfig {
        state,
        interface,
        sync_id,
        max_length,
        multicast_group,
        multicast_port,
        multicast_ttl,
    } = *config;
    nest(out, top::DAEMON, |out| {
        attribute(out, daemon::STATE, &state_number(state).to_ne_bytes());
        text(out, daemon::MCAST_IFN, interface.as_str());
        attribute(out, daemon::SYNC_ID, &sync_id.to_ne_bytes());
        if let Some(length) = max_length {
            attribute(out, daemon::SYNC_MAXLEN, &length.to_ne_bytes());
        }
        match multicast_group {
            IpAddr::V4(group) => attribute(out, daemon::MCAST_GROUP, &group.octets()),
            IpAddr::V6(group) => attribute(out, daemon::MCAST_GROUP6, &group.octets()),
        }
        // In host order, unlike the ports of services and servers.
        attribute(out, daemon::MCAST_PORT, &multicast_port.to_ne_bytes());
        attribute(out, daemon::MCAST_TTL, &[multicast_ttl]);
    });
}

/// Appends the nest of a sync daemon to be stopped.
pub(super) fn put_sync_state(out: &mut Vec<u8>, state: SyncState) {
    nest(out, top::DAEMON, |out| {
        attribute(out, daemon::STATE, &state_number(state).to_ne_bytes());
    });
}

/// The sync daemon in a message of `GET_DAEMON`; `None` if the message is invalid.
pub fn sync_daemon(message: &[u8]) -> Option<SyncDaemon> {
    let nest = Attributes::<{ daemon::SLOTS }>::parse(find(message, top::DAEMON)?);
    let number = read_u32(nest.get(daemon::STATE)?)?;
    let mut states = [SyncState::Master, SyncState::Backup].into_iter();
    let multicast_group = match (
        nest.get(daemon::MCAST_GROUP),
        nest.get(daemon::MCAST_GROUP6),
    ) {
        (_, Some(group)) => read_address(Family::Ipv6, group)?,
        (Some(group), None) => read_address(Family::Ipv4, group)?,
        (None, None) => Ipv4Addr::UNSPECIFIED.into(),
    };
    Some(SyncDaemon {
        state: states.find(|state| state_number(*state) == number)?,
        interface: Name::from_kernel(nest.get(daemon::MCAST_IFN).unwrap_or_default()),
        sync_id: nest.read(daemon::SYNC_ID, 0, read_u32)?,
        max_length: nest.read(daemon::SYNC_MAXLEN, 0, read_u16)?,
        multicast_group,
        multicast_port: nest.read(daemon::MCAST_PORT, 0, read_u16)?,
        multicast_ttl: nest.read(daemon::MCAST_TTL, 0, read_u8)?,
        interface_state: InterfaceState::Unknown,
    })
}

fn state_number(state: SyncState) -> u32 {
    match state {
        SyncState::Master => STATE_MASTER,
        SyncState::Backup => STATE_BACKUP,
    }
}

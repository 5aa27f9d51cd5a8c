//! Whether a sync daemon uses the interface that has its name now.
//!
//! The kernel reports the name of the interface that a daemon was started on. The daemon itself keeps
//! the interface's index: when the interface is deleted and another one gets its name, the daemon
//! runs on, but neither sends nor receives. The kernel shows that of a backup, which is a member of
//! its multicast group on the interface. The index that a master uses is in no file or message, so
//! the executor remembers it. The inode of the master's socket distinguishes it from the next one.

use std::{io, net::IpAddr};

use crate::{
    codec,
    kernel::Kernel,
    model::{InterfaceState, Op, SyncDaemon, SyncDaemonConfig, SyncState},
};

/// A master that was started or seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Master {
    /// Inode of its socket.
    socket: u64,
    /// Index of the interface that had the name; `None` if there was none.
    interface: Option<u32>,
    /// Whether this process started the daemon, on this interface.
    started: bool,
}

/// The start of a master: its configuration, and the index of its interface before.
pub(super) struct Start {
    config: SyncDaemonConfig,
    interface: Option<u32>,
}

/// Sets the state of the interface of each daemon. `master` is as it was started or last seen.
pub(super) fn find(kernel: &dyn Kernel, daemons: &mut [SyncDaemon], master: &mut Option<Master>) {
    for daemon in daemons {
        daemon.interface_state = state(kernel, daemon, master);
    }
}

// === impl Start ===

impl Start {
    /// The start of a master among operations that are about to be executed.
    pub(super) fn find(kernel: &dyn Kernel, ops: &[Op]) -> Option<(usize, Self)> {
        ops.iter().enumerate().find_map(|(i, op)| match op {
            Op::StartSyncDaemon(config) if config.state == SyncState::Master => {
                let interface = kernel.interface_index(config.interface.as_str());
                let interface = interface.ok().flatten();
                let config = *config;
                Some((i, Self { config, interface }))
            }
            _ => None,
        })
    }

    /// The master that has been started.
    pub(super) fn master(&self, kernel: &dyn Kernel) -> Option<Master> {
        let SyncDaemonConfig {
            multicast_group,
            multicast_port,
            ..
        } = self.config;
        Some(Master {
            socket: *sockets(kernel, multicast_group, multicast_port)
                .ok()?
                .first()?,
            interface: self.interface,
            started: true,
        })
    }
}

fn state(kernel: &dyn Kernel, daemon: &SyncDaemon, master: &mut Option<Master>) -> InterfaceState {
    let Ok(interface) = kernel.interface_index(daemon.interface.as_str()) else {
        return InterfaceState::Unknown;
    };
    match daemon.state {
        SyncState::Master => {
            let sockets = sockets(kernel, daemon.multicast_group, daemon.multicast_port);
            let Ok(sockets) = sockets else {
                return InterfaceState::Unknown;
            };
            let known = master.filter(|master| sockets.contains(&master.socket));
            *master = known.or_else(|| {
                Some(Master {
                    socket: *sockets.first()?,
                    interface,
                    started: false,
                })
            });
            match known {
                _ if interface.is_none() => InterfaceState::Missing,
                Some(known) if known.interface != interface => InterfaceState::Replaced,
                Some(known) if known.started => InterfaceState::Ok,
                _ => InterfaceState::Unknown,
            }
        }
        SyncState::Backup => {
            let Some(index) = interface else {
                return InterfaceState::Missing;
            };
            let file = match daemon.multicast_group {
                IpAddr::V4(_) => "net/igmp",
                IpAddr::V6(_) => "net/igmp6",
            };
            let Ok(lines) = kernel.lines(file) else {
                return InterfaceState::Unknown;
            };
            match codec::is_member(lines, daemon.multicast_group, index) {
                true => InterfaceState::Ok,
                false => InterfaceState::Replaced,
            }
        }
    }
}

/// The inodes of the UDP sockets that send to this address; one of them is the master's.
fn sockets(kernel: &dyn Kernel, group: IpAddr, port: u16) -> io::Result<Vec<u64>> {
    let file = match group {
        IpAddr::V4(_) => "net/udp",
        IpAddr::V6(_) => "net/udp6",
    };
    Ok(codec::sockets_to(kernel.lines(file)?, group, port))
}

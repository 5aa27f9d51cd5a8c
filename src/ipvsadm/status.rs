//! Prints timeouts (`-L --timeout`) and sync daemons (`-L --daemon`).

use std::io::{self, Write};

use crate::model::{SyncDaemon, Timeouts};

/// Writes the timeouts (`-L --timeout`).
pub fn write_timeouts(out: &mut dyn Write, timeouts: Timeouts) -> io::Result<()> {
    let Timeouts {
        tcp_seconds,
        tcp_fin_seconds,
        udp_seconds,
    } = timeouts;
    writeln!(
        out,
        "Timeout (tcp tcpfin udp): {tcp_seconds} {tcp_fin_seconds} {udp_seconds}"
    )
}

/// Writes the sync daemons (`-L --daemon`), master first.
pub fn write_sync_daemons(out: &mut dyn Write, daemons: &[SyncDaemon]) -> io::Result<()> {
    let mut daemons: Vec<_> = daemons.iter().collect();
    daemons.sort_by_key(|daemon| daemon.state);
    for daemon in daemons {
        write!(
            out,
            "{} sync daemon (mcast={}, syncid={}",
            daemon.state, daemon.interface, daemon.sync_id
        )?;
        if daemon.max_length != 0 {
            write!(out, ", maxlen={}", daemon.max_length)?;
        }
        if !daemon.multicast_group.is_unspecified() {
            write!(out, ", group={}", daemon.multicast_group)?;
        }
        if daemon.multicast_port != 0 {
            write!(out, ", port={}", daemon.multicast_port)?;
        }
        if daemon.multicast_ttl != 0 {
            write!(out, ", ttl={}", daemon.multicast_ttl)?;
        }
        writeln!(out, ")")?;
    }
    Ok(())
}

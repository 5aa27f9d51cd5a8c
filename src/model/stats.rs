//! Counters and rates.

use serde::{Deserialize, Serialize};

/// Counters of a virtual service or a real server since the last zero (manual: --stats). The kernel
/// updates them every 2 seconds, unless the setting `run_estimation` is off or `est_cpulist` empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients; 0 with direct routing and tunneling, where responses bypass the director.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

/// Rates per second, estimated by the kernel over about 8 seconds (manual: --rate). Frozen while the
/// setting `run_estimation` is off or `est_cpulist` empty. Afterwards, the kernel counts what was
/// missed as one interval of 2 seconds: rates are too high for about 20 seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rates {
    /// Connections per second.
    pub connections: u64,
    /// Packets per second from clients.
    pub packets_in: u64,
    /// Packets per second to clients.
    pub packets_out: u64,
    /// Bytes per second from clients.
    pub bytes_in: u64,
    /// Bytes per second to clients.
    pub bytes_out: u64,
}

// === impl Stats, Rates ===

macro_rules! values {
    ($($type:ident),*) => {$(
        impl $type {
            /// The values in the order of the fields.
            pub fn values(&self) -> [u64; 5] {
                let Self {
                    connections,
                    packets_in,
                    packets_out,
                    bytes_in,
                    bytes_out,
                } = *self;
                [connections, packets_in, packets_out, bytes_in, bytes_out]
            }

            /// The sums; the largest number where one exceeds it.
            #[must_use]
            pub fn plus(&self, other: &Self) -> Self {
                Self {
                    connections: self.connections.saturating_add(other.connections),
                    packets_in: self.packets_in.saturating_add(other.packets_in),
                    packets_out: self.packets_out.saturating_add(other.packets_out),
                    bytes_in: self.bytes_in.saturating_add(other.bytes_in),
                    bytes_out: self.bytes_out.saturating_add(other.bytes_out),
                }
            }
        }
    )*};
}

values!(Stats, Rates);

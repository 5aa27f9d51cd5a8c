use serde::{Deserialize, Serialize};

/// Counters of a virtual service or a real server since the last zero (manual: --stats). The kernel
/// refreshes them every 2 seconds, and not at all while the setting `run_estimation` is off.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients; 0 with direct routing and tunneling, whose answers do not pass here.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

/// The kernel's estimates per second, over about 8 seconds (manual: --rate). 0 while the setting
/// `run_estimation` is off.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
pub struct Rates {
    /// Connections a second.
    pub connections: u64,
    /// Packets a second from clients.
    pub packets_in: u64,
    /// Packets a second to clients.
    pub packets_out: u64,
    /// Bytes a second from clients.
    pub bytes_in: u64,
    /// Bytes a second to clients.
    pub bytes_out: u64,
}

// === impl Stats, Rates ===

macro_rules! values {
    ($($five:ident),*) => {$(
        impl $five {
            /// The five, in the order of their fields.
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
        }
    )*};
}

values!(Stats, Rates);

//! Counters and rates, and their nests.

use super::wire::Writer;
use crate::codec::uapi::stats;

/// Counters and rates of a service, a real server or the whole table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes to clients.
    pub out_bytes: u64,
    /// Connections per second.
    pub connection_rate: u64,
    /// Packets per second from clients.
    pub in_packet_rate: u64,
    /// Packets per second to clients.
    pub out_packet_rate: u64,
    /// Bytes per second from clients.
    pub in_byte_rate: u64,
    /// Bytes per second to clients.
    pub out_byte_rate: u64,
}

impl Counters {
    /// Writes the two nests of counters: one truncated to 32 bits except for bytes, one with 64 bits.
    pub(super) fn write(&self, writer: &mut Writer, stats: u16, stats64: u16) {
        let numbers = [
            (stats::CONNS, self.connections),
            (stats::INPKTS, self.in_packets),
            (stats::OUTPKTS, self.out_packets),
            (stats::INBYTES, self.in_bytes),
            (stats::OUTBYTES, self.out_bytes),
            (stats::CPS, self.connection_rate),
            (stats::INPPS, self.in_packet_rate),
            (stats::OUTPPS, self.out_packet_rate),
            (stats::INBPS, self.in_byte_rate),
            (stats::OUTBPS, self.out_byte_rate),
        ];
        let nest = writer.nest(stats);
        for (number, value) in numbers {
            match number {
                stats::INBYTES | stats::OUTBYTES => writer.u64(number, value, stats::PAD),
                _ => writer.u32(number, value as u32),
            }
        }
        writer.close_nest(nest);
        let nest = writer.nest(stats64);
        for (number, value) in numbers {
            writer.u64(number, value, stats::PAD);
        }
        writer.close_nest(nest);
    }
}

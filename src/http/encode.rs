//! The JSON of a real server, written by hand. A table is nearly all servers, a hundred thousand of
//! them in a large one, and serde's way of writing their 28 keys one by one costs most of a listing.
//! What this writes is held against serde's, byte for byte, by a property test.

use std::{fmt, io, net::IpAddr};

use bytes::Bytes;

use crate::model::{Include, Server, TunnelView};

/// Bytes of an answer in the making, in memory that is there before it is written to.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    length: usize,
}

/// A server's text in the making, in the chunk. There is room for the longest, which the compiler
/// knows: a piece is a copy and nothing else.
struct Text<'a> {
    place: &'a mut [u8; LONGEST],
    length: usize,
}

/// Longer than any server: 28 keys, 19 numbers of at most 20 digits, two IPv6 addresses, names.
pub(super) const LONGEST: usize = 1536;

/// The digits of 0 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [*b"00"; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};

/// 0 to 255 with a dot after each.
const OCTETS: [[u8; 4]; 256] = {
    let mut octets = [*b"0.  "; 256];
    let mut number = 1;
    while number < 256 {
        let [_, digit] = PAIRS[number % 10];
        let [hundreds, tens] = PAIRS[number / 10];
        octets[number] = match number {
            0..10 => [digit, b'.', b' ', b' '],
            10..100 => [tens, digit, b'.', b' '],
            _ => [hundreds, tens, digit, b'.'],
        };
        number += 1;
    }
    octets
};

/// Appends what `serde_json` makes of the server's [`ServerView`](crate::model::ServerView).
pub(super) fn server(out: &mut Chunk, server: &Server, include: Include) {
    let Server {
        key,
        config,
        active_connections,
        inactive_connections,
        persistent_connections,
        stats,
        rates,
    } = server;
    let Some(mut text) = out.text() else {
        return;
    };
    text.put(b"{\"id\":\"");
    let start = text.length;
    text.address(key.address);
    let end = text.length;
    text.put(b"-");
    text.number(key.port.into());
    text.put(b"\",\"address\":\"");
    text.again(start, end);
    text.put(b"\",\"port\":");
    text.number(key.port.into());
    text.put(b",\"forwarding\":\"");
    match config.forwarding.name() {
        Some(name) => text.put(name.as_bytes()),
        None => text.display(config.forwarding),
    }
    text.put(b"\",\"weight\":");
    text.number(config.weight.into());
    text.put(b",\"upper_threshold\":");
    text.number(config.upper_threshold.into());
    text.put(b",\"lower_threshold\":");
    text.number(config.lower_threshold.into());
    if let Some(tunnel) = TunnelView::of(config) {
        text.put(b",\"tunnel\":{\"type\":\"");
        text.display(tunnel.kind);
        if let Some(port) = tunnel.port {
            text.put(b"\",\"port\":");
            text.number(port.into());
            text.put(b",\"checksum\":\"");
        } else {
            text.put(b"\",\"checksum\":\"");
        }
        text.display(tunnel.checksum);
        text.put(b"\"}");
    }
    text.put(b",\"active_connections\":");
    text.number((*active_connections).into());
    text.put(b",\"inactive_connections\":");
    text.number((*inactive_connections).into());
    text.put(b",\"persistent_connections\":");
    text.number((*persistent_connections).into());
    if include.stats {
        text.put(b",\"stats\":");
        text.five(stats.values());
    }
    if include.rates {
        text.put(b",\"rates\":");
        text.five(rates.values());
    }
    text.put(b",\"etag\":\"");
    text.put(&server.etag().text());
    text.put(b"\"}");
    let length = text.length;
    out.length += length;
}

// === impl Chunk ===

impl Chunk {
    /// One that needs no more memory for so many bytes.
    pub(super) fn with_room(room: usize) -> Self {
        Self {
            bytes: vec![0; room],
            length: 0,
        }
    }

    /// How many bytes are in it.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Takes back the last byte.
    pub(super) fn pop(&mut self) {
        self.length = self.length.saturating_sub(1);
    }

    /// Appends any text.
    pub(super) fn extend(&mut self, text: &[u8]) {
        self.make_room(text.len());
        let after = self.length + text.len();
        if let Some(place) = self.bytes.get_mut(self.length..after) {
            place.copy_from_slice(text);
            self.length = after;
        }
    }

    /// Room for the text of a server.
    fn text(&mut self) -> Option<Text<'_>> {
        self.make_room(LONGEST);
        let place = self.bytes.get_mut(self.length..)?.first_chunk_mut()?;
        Some(Text { place, length: 0 })
    }

    #[inline]
    fn make_room(&mut self, room: usize) {
        if self.bytes.len() - self.length < room {
            let more = room.max(self.bytes.len());
            self.bytes.resize(self.length + more, 0);
        }
    }
}

impl io::Write for Chunk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<Chunk> for Bytes {
    fn from(Chunk { mut bytes, length }: Chunk) -> Self {
        bytes.truncate(length);
        bytes.into()
    }
}

// === impl Text ===

impl Text<'_> {
    /// Appends text that needs no escapes. In its place, since the compiler knows nearly all lengths.
    #[inline(always)]
    fn put(&mut self, text: &[u8]) {
        let after = self.length + text.len();
        if let Some(place) = self.place.get_mut(self.length..after) {
            place.copy_from_slice(text);
            self.length = after;
        }
    }

    #[inline(always)]
    fn number(&mut self, number: u64) {
        match number {
            // Most numbers of most servers.
            0..10 => self.put(&[b'0' + number as u8]),
            _ => self.digits(number),
        }
    }

    fn digits(&mut self, number: u64) {
        if number >= 10_000 {
            self.digits(number / 10_000);
        }
        let four = (number % 10_000) as usize;
        let [[a, b], [c, d]] = [PAIRS[four / 100], PAIRS[four % 100]];
        match number {
            0..10 => self.put(&[d]),
            10..100 => self.put(&[c, d]),
            100..1000 => self.put(&[b, c, d]),
            _ => self.put(&[a, b, c, d]),
        }
    }

    fn five(&mut self, [connections, packets_in, packets_out, bytes_in, bytes_out]: [u64; 5]) {
        self.put(b"{\"connections\":");
        self.number(connections);
        self.put(b",\"packets_in\":");
        self.number(packets_in);
        self.put(b",\"packets_out\":");
        self.number(packets_out);
        self.put(b",\"bytes_in\":");
        self.number(bytes_in);
        self.put(b",\"bytes_out\":");
        self.number(bytes_out);
        self.put(b"}");
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => {
                for octet in v4.octets() {
                    let length = 2 + usize::from(octet > 9) + usize::from(octet > 99);
                    let end = self.length + length;
                    self.put(&OCTETS[usize::from(octet)]);
                    self.length = end;
                }
                // The last dot.
                self.length -= 1;
            }
            IpAddr::V6(v6) => self.display(v6),
        }
    }

    /// What it has between two places, once more.
    fn again(&mut self, start: usize, end: usize) {
        let after = self.length + end - start;
        if after <= LONGEST {
            self.place.copy_within(start..end, self.length);
            self.length = after;
        }
    }

    fn display(&mut self, text: impl fmt::Display) {
        // Writing to memory cannot fail.
        let _ = fmt::Write::write_fmt(self, format_args!("{text}"));
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{
        Checksum, Forwarding, Rates, ServerConfig, ServerKey, ServerView, Stats, Tunnel, TunnelType,
    };

    fn any_server() -> impl Strategy<Value = Server> {
        let config = (0..8_u8, any::<[u32; 3]>(), 0..4_u8, any::<u16>(), 0..4_u16);
        let traffic = (any::<[u32; 3]>(), any::<[u64; 10]>());
        (any::<IpAddr>(), any::<u16>(), config, traffic).prop_map(
            |(address, port, (method, [w, u, l], kind, tunnel_port, checksum), (now, c))| Server {
                key: ServerKey { address, port },
                config: ServerConfig {
                    forwarding: Forwarding::from(method),
                    weight: w,
                    upper_threshold: u,
                    lower_threshold: l,
                    tunnel: Tunnel {
                        kind: TunnelType::from(kind),
                        port: tunnel_port % 3,
                        checksum: Checksum::from(checksum),
                    },
                },
                active_connections: now[0],
                inactive_connections: now[1],
                persistent_connections: now[2],
                stats: Stats {
                    connections: c[0],
                    packets_in: c[1],
                    packets_out: c[2],
                    bytes_in: c[3],
                    bytes_out: c[4],
                },
                rates: Rates {
                    connections: c[5],
                    packets_in: c[6],
                    packets_out: c[7],
                    bytes_in: c[8],
                    bytes_out: c[9],
                },
            },
        )
    }

    proptest! {
        #[test]
        fn a_server_is_written_as_serde_writes_it(
            one in any_server(),
            [servers, stats, rates] in any::<[bool; 3]>(),
            room in 0..1000_usize,
        ) {
            let include = Include { servers, stats, rates };
            let serde = serde_json::to_vec(&ServerView::new(&one, include)).unwrap();
            // Wherever its memory ends.
            for room in [0, room, 4096] {
                let mut out = Chunk::with_room(room);
                server(&mut out, &one, include);
                prop_assert_eq!(&Bytes::from(out), &serde);
            }
        }
    }
}

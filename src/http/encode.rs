//! Hand-written JSON encoding of a real server. A table consists mostly of servers, up to a hundred
//! thousand, and serde's encoding of their 29 keys would take most of the time of a list. A property
//! test compares the output with serde's byte by byte.

use std::{fmt, io};

use bytes::Bytes;

use crate::model::{AddressText, FixedBuffer, Include, Server, ServerView, TunnelView};

/// An output buffer.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    /// Where the text of a server is written before it is appended.
    text: Box<FixedBuffer<MAX_SERVER_BYTES>>,
}

/// Appends the text of one server to a buffer.
struct Text<'a>(&'a mut FixedBuffer<MAX_SERVER_BYTES>);

/// An upper bound of the length of a server's text: 29 keys, 20 numbers of at most 20 digits, two IPv6
/// addresses, names. A test encodes the longest server.
pub(super) const MAX_SERVER_BYTES: usize = 1536;

/// 0 to 99 in two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [*b"00"; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + number as u8 / 10, b'0' + number as u8 % 10];
        number += 1;
    }
    pairs
};

/// Appends the JSON of the server's [`ServerView`].
pub(super) fn server(out: &mut Chunk, server: &Server, include: Include) -> serde_json::Result<()> {
    if server.holds.is_some() {
        // Few servers have holds, and there may be any number of them.
        return serde_json::to_writer(out, &ServerView::new(server, include));
    }
    out.text.clear();
    Text(&mut out.text).server(server, include);
    let text = out.text.written();
    debug_assert!(text.is_some(), "MAX_SERVER_BYTES is too small");
    match text {
        Some(text) => {
            out.bytes.extend_from_slice(text);
            Ok(())
        }
        None => serde_json::to_writer(out, &ServerView::new(server, include)),
    }
}

// === impl Chunk ===

impl Chunk {
    /// A buffer that holds `capacity` bytes without growing.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
            text: Box::default(),
        }
    }

    /// The bytes, to append to.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The number of bytes written.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Removes the last byte.
    pub(super) fn pop(&mut self) {
        self.bytes.pop();
    }

    /// Appends a text of any length.
    pub(super) fn extend(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self::with_capacity(0)
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
    fn from(chunk: Chunk) -> Self {
        chunk.bytes.into()
    }
}

// === impl Text ===

impl Text<'_> {
    /// Appends the JSON of the server's view.
    fn server(&mut self, server: &Server, include: Include) {
        let Server {
            key,
            config,
            effective_weight,
            holds: _,
            membership: _,
            active_connections,
            inactive_connections,
            persistent_connections,
            stats,
            rates,
        } = server;
        self.0.put(b"{\"id\":\"");
        let address = AddressText::new(key.address);
        let (address, length) = address.padded();
        self.0.put_start(address, length);
        self.0.put(b"-");
        self.number(key.port.into());
        self.0.put(b"\",\"address\":\"");
        self.0.put_start(address, length);
        self.0.put(b"\",\"port\":");
        self.number(key.port.into());
        self.0.put(b",\"forwarding\":\"");
        match config.forwarding.name() {
            Some(name) => self.0.put_text(name),
            None => self.display(config.forwarding),
        }
        self.0.put(b"\",\"weight\":");
        self.number(config.weight.into());
        self.0.put(b",\"upper_threshold\":");
        self.number(config.upper_threshold.into());
        self.0.put(b",\"lower_threshold\":");
        self.number(config.lower_threshold.into());
        if let Some(tunnel) = TunnelView::of(config) {
            self.tunnel(tunnel);
        }
        self.0.put(b",\"effective_weight\":");
        self.number((*effective_weight).into());
        self.0.put(b",\"active_connections\":");
        self.number((*active_connections).into());
        self.0.put(b",\"inactive_connections\":");
        self.number((*inactive_connections).into());
        self.0.put(b",\"persistent_connections\":");
        self.number((*persistent_connections).into());
        if include.stats {
            self.0.put(b",\"stats\":");
            self.five(stats.values());
        }
        if include.rates {
            self.0.put(b",\"rates\":");
            self.five(rates.values());
        }
        self.0.put(b",\"etag\":\"");
        self.0.put(&server.etag().text());
        self.0.put(b"\"}");
    }

    fn tunnel(&mut self, tunnel: TunnelView) {
        self.0.put(b",\"tunnel\":{\"type\":\"");
        self.display(tunnel.kind);
        if let Some(port) = tunnel.port {
            self.0.put(b"\",\"port\":");
            self.number(port.into());
            self.0.put(b",\"checksum\":\"");
        } else {
            self.0.put(b"\",\"checksum\":\"");
        }
        self.display(tunnel.checksum);
        self.0.put(b"\"}");
    }

    #[inline(always)]
    fn number(&mut self, number: u64) {
        match number {
            // The most frequent case.
            0..10 => self.0.put(&[b'0' + number as u8]),
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
            0..10 => self.0.put(&[d]),
            10..100 => self.0.put(&[c, d]),
            100..1000 => self.0.put(&[b, c, d]),
            _ => self.0.put(&[a, b, c, d]),
        }
    }

    fn five(&mut self, values: [u64; 5]) {
        // Those of a server without traffic, which many have.
        if values == [0; 5] {
            return self.0.put(
                b"{\"connections\":0,\"packets_in\":0,\"packets_out\":0,\"bytes_in\":0,\"bytes_out\":0}",
            );
        }
        let [connections, packets_in, packets_out, bytes_in, bytes_out] = values;
        self.0.put(b"{\"connections\":");
        self.number(connections);
        self.0.put(b",\"packets_in\":");
        self.number(packets_in);
        self.0.put(b",\"packets_out\":");
        self.number(packets_out);
        self.0.put(b",\"bytes_in\":");
        self.number(bytes_in);
        self.0.put(b",\"bytes_out\":");
        self.number(bytes_out);
        self.0.put(b"}");
    }

    fn display(&mut self, text: impl fmt::Display) {
        // Never fails: the buffer remembers an overflow.
        let _ = fmt::Write::write_fmt(self.0, format_args!("{text}"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{
        Checksum, Forwarding, Rates, ServerConfig, ServerKey, Stats, Tunnel, TunnelType,
    };

    fn any_server() -> impl Strategy<Value = Server> {
        let config = (0..8_u8, any::<[u32; 3]>(), 0..4_u8, any::<u16>(), 0..4_u16);
        // Some servers have no traffic.
        let counters = prop_oneof![any::<[u64; 10]>(), Just([0; 10])];
        let traffic = (any::<[u32; 3]>(), counters);
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
                effective_weight: w % 1000,
                holds: None,
                membership: None,
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

    /// A server whose fields all have their longest text.
    fn longest_server() -> Server {
        let address = "ff11:2222:3333:4444:5555:6666:7777:8888".parse().unwrap();
        let [connections, packets_in, packets_out, bytes_in, bytes_out] = [u64::MAX; 5];
        Server {
            key: ServerKey {
                address,
                port: u16::MAX,
            },
            config: ServerConfig {
                forwarding: Forwarding::Tunnel,
                weight: u32::MAX,
                upper_threshold: u32::MAX,
                lower_threshold: u32::MAX,
                tunnel: Tunnel {
                    kind: TunnelType::Gue,
                    port: u16::MAX,
                    checksum: Checksum::Checksum,
                },
            },
            effective_weight: u32::MAX,
            holds: None,
            membership: None,
            active_connections: u32::MAX,
            inactive_connections: u32::MAX,
            persistent_connections: u32::MAX,
            stats: Stats {
                connections,
                packets_in,
                packets_out,
                bytes_in,
                bytes_out,
            },
            rates: Rates {
                connections,
                packets_in,
                packets_out,
                bytes_in,
                bytes_out,
            },
        }
    }

    #[test]
    fn the_longest_server_fits_into_the_buffer() {
        let include = Include {
            servers: true,
            stats: true,
            rates: true,
        };
        let mut text = FixedBuffer::new();
        Text(&mut text).server(&longest_server(), include);
        assert!(text.written().is_some());
        let serde = serde_json::to_vec(&ServerView::new(&longest_server(), include)).unwrap();
        assert_eq!(text.length(), serde.len());
    }

    proptest! {
        #[test]
        fn a_server_is_encoded_as_serde_encodes_it(
            one in any_server(),
            [servers, stats, rates] in any::<[bool; 3]>(),
            capacity in 0..1000_usize,
        ) {
            let include = Include { servers, stats, rates };
            let serde = serde_json::to_vec(&ServerView::new(&one, include)).unwrap();
            // Wherever the memory ends.
            for capacity in [0, capacity, 4096] {
                let mut out = Chunk::with_capacity(capacity);
                server(&mut out, &one, include).unwrap();
                prop_assert_eq!(&Bytes::from(out), &serde);
            }
        }
    }
}

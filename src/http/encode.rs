//! The JSON of a real server, written by hand. A table is nearly all servers, a hundred thousand of
//! them in a large one, and serde's way of writing their 28 keys one by one costs most of a listing.
//! What this writes is held against serde's, byte for byte, by a property test.

use std::{io::Write, net::IpAddr};

use crate::model::{Include, Rates, Server, ServerView, Stats};

/// The longest that a server usually takes, with counters and rates.
const USUAL: usize = 640;

/// Appends what `serde_json` makes of the server's [`ServerView`].
pub(super) fn server(out: &mut Vec<u8>, server: &Server, include: Include) {
    let ServerView {
        id,
        address: _,
        port,
        forwarding,
        weight,
        upper_threshold,
        lower_threshold,
        tunnel,
        active_connections,
        inactive_connections,
        persistent_connections,
        stats,
        rates,
        etag,
    } = ServerView::new(server, include);
    out.reserve(USUAL);
    out.extend_from_slice(b"{\"id\":\"");
    address(out, id.address);
    out.push(b'-');
    number(out, id.port);
    out.extend_from_slice(b"\",\"address\":\"");
    address(out, id.address);
    out.extend_from_slice(b"\",\"port\":");
    number(out, port);
    out.extend_from_slice(b",\"forwarding\":\"");
    text(out, forwarding);
    out.extend_from_slice(b"\",\"weight\":");
    number(out, weight);
    out.extend_from_slice(b",\"upper_threshold\":");
    number(out, upper_threshold);
    out.extend_from_slice(b",\"lower_threshold\":");
    number(out, lower_threshold);
    if let Some(tunnel) = tunnel {
        out.extend_from_slice(b",\"tunnel\":{\"type\":\"");
        text(out, tunnel.kind);
        if let Some(port) = tunnel.port {
            out.extend_from_slice(b"\",\"port\":");
            number(out, port);
            out.extend_from_slice(b",\"checksum\":\"");
        } else {
            out.extend_from_slice(b"\",\"checksum\":\"");
        }
        text(out, tunnel.checksum);
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b",\"active_connections\":");
    number(out, active_connections);
    out.extend_from_slice(b",\"inactive_connections\":");
    number(out, inactive_connections);
    out.extend_from_slice(b",\"persistent_connections\":");
    number(out, persistent_connections);
    if let Some(stats) = stats {
        let Stats {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        } = *stats;
        out.extend_from_slice(b",\"stats\":");
        five(
            out,
            [connections, packets_in, packets_out, bytes_in, bytes_out],
        );
    }
    if let Some(rates) = rates {
        let Rates {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        } = *rates;
        out.extend_from_slice(b",\"rates\":");
        five(
            out,
            [connections, packets_in, packets_out, bytes_in, bytes_out],
        );
    }
    out.extend_from_slice(b",\"etag\":\"");
    text(out, etag);
    out.extend_from_slice(b"\"}");
}

fn five(out: &mut Vec<u8>, [connections, packets_in, packets_out, bytes_in, bytes_out]: [u64; 5]) {
    out.extend_from_slice(b"{\"connections\":");
    number(out, connections);
    out.extend_from_slice(b",\"packets_in\":");
    number(out, packets_in);
    out.extend_from_slice(b",\"packets_out\":");
    number(out, packets_out);
    out.extend_from_slice(b",\"bytes_in\":");
    number(out, bytes_in);
    out.extend_from_slice(b",\"bytes_out\":");
    number(out, bytes_out);
    out.push(b'}');
}

fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            number(out, a);
            for octet in [b, c, d] {
                out.push(b'.');
                number(out, octet);
            }
        }
        IpAddr::V6(v6) => text(out, v6),
    }
}

/// Text that needs no escapes.
fn text(out: &mut Vec<u8>, text: impl std::fmt::Display) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{text}");
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
        ) {
            let include = Include { servers, stats, rates };
            let mut out = Vec::new();
            server(&mut out, &one, include);
            let serde = serde_json::to_string(&ServerView::new(&one, include)).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde);
        }
    }
}

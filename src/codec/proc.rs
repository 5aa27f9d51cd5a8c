//! Text files below `/proc/net`: the connection table and the totals.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{Connection, ConnectionProtocol, Endpoint, Protocol, Rates, Stats};

/// An entry of `/proc/net/ip_vs_conn`; `None` for the header and for invalid lines.
pub fn connection(line: &[u8]) -> Option<Connection> {
    let mut words = Words(line);
    let protocol = protocol(words.next()?)?;
    let client = endpoint(words.next()?, words.next()?)?;
    let virtual_address = endpoint(words.next()?, words.next()?)?;
    let destination = endpoint(words.next()?, words.next()?)?;
    let state = words.next()?;
    let expires_in_seconds = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let engine = words.next().map(lossy);
    // The data of the engine is the rest of the line: a Call-ID may contain blanks.
    let data = engine.as_ref().map(|_| lossy(words.rest()));
    // Templates have client port 0 and one of two states of their own.
    let template = client.port == 0 && matches!(state, b"NONE" | b"ASSURED");
    Some(Connection {
        protocol,
        client,
        virtual_address,
        destination,
        state: lossy(state),
        template,
        expires_in_seconds,
        persistence_engine: engine,
        persistence_data: data,
    })
}

/// The counters and rates in `/proc/net/ip_vs_stats`: the totals of the network namespace.
pub fn totals(text: &str) -> Option<(Stats, Rates)> {
    let mut rows = text.lines().filter_map(|line| {
        let row: Vec<u64> = line
            .split_whitespace()
            .map(|word| u64::from_str_radix(word, 16).ok())
            .collect::<Option<_>>()?;
        <[u64; 5]>::try_from(row).ok()
    });
    let [connections, packets_in, packets_out, bytes_in, bytes_out] = rows.next()?;
    let stats = Stats {
        connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
    };
    let [connections, packets_in, packets_out, bytes_in, bytes_out] = rows.next()?;
    let rates = Rates {
        connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
    };
    Some((stats, rates))
}

/// The rest of a line, split at blanks.
struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.0.trim_ascii_start();
        let end = line.iter().position(|&b| b == b' ').unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    fn rest(&self) -> &'a [u8] {
        self.0.strip_prefix(b" ").unwrap_or(self.0)
    }
}

fn protocol(word: &[u8]) -> Option<ConnectionProtocol> {
    Some(match word {
        b"TCP" => ConnectionProtocol::Service(Protocol::Tcp),
        b"UDP" => ConnectionProtocol::Service(Protocol::Udp),
        b"SCTP" => ConnectionProtocol::Service(Protocol::Sctp),
        b"ICMP" => ConnectionProtocol::Icmp,
        b"ICMPv6" => ConnectionProtocol::Icmpv6,
        b"IP" => ConnectionProtocol::Ip,
        other => {
            let number = std::str::from_utf8(other.strip_prefix(b"IP_")?).ok()?;
            ConnectionProtocol::Service(Protocol::from(number.parse::<u16>().ok()?))
        }
    })
}

/// An address as `0A000001` or `2001:0db8:…` with eight groups, and a port in hexadecimal.
fn endpoint(address: &[u8], port: &[u8]) -> Option<Endpoint> {
    let address = if address.contains(&b':') {
        IpAddr::V6(
            std::str::from_utf8(address)
                .ok()?
                .parse::<Ipv6Addr>()
                .ok()?,
        )
    } else {
        IpAddr::V4(Ipv4Addr::from(hexadecimal(address, 8)?))
    };
    Some(Endpoint {
        address,
        port: u16::try_from(hexadecimal(port, 4)?).ok()?,
    })
}

fn hexadecimal(word: &[u8], digits: usize) -> Option<u32> {
    if word.len() != digits || !word.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()
}

fn lossy(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}

//! Text files below `/proc/net`: the connection table and the totals.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{
    Connection, ConnectionProtocol, ConnectionService, Endpoint, Protocol, Rates, Stats,
};

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
    let invalidated = [virtual_address, destination]
        .iter()
        .all(|endpoint| endpoint.port == ConnectionService::INVALIDATED_PORT);
    let service = match protocol {
        ConnectionProtocol::Ip if template => ConnectionService::of_mark(virtual_address.address),
        _ => ConnectionService::Address(virtual_address),
    };
    Some(Connection {
        protocol,
        client,
        service,
        destination,
        state: lossy(state),
        template,
        invalidated: template && invalidated,
        expires_in_seconds,
        persistence_engine: engine,
        persistence_data: data,
    })
}

/// The sums of the lines of processors in `/proc/net/ip_vs_stats_percpu`: what the kernel counts with each packet.
/// `None` if the text ends before the line of totals.
pub fn counted_totals(text: &str) -> Option<Stats> {
    let mut sums = Stats::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(processor) = words.next() else {
            continue;
        };
        if processor == "~" {
            return Some(sums);
        }
        let numbers: Option<Vec<u64>> = std::iter::once(processor)
            .chain(words)
            .map(|word| u64::from_str_radix(word, 16).ok())
            .collect();
        let Some([_, connections, packets_in, packets_out, bytes_in, bytes_out]) =
            numbers.and_then(|numbers| <[u64; 6]>::try_from(numbers).ok())
        else {
            // A line of the header.
            continue;
        };
        sums = sums.plus(&Stats {
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        });
    }
    None
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

/// Whether `/proc/net/igmp` or `/proc/net/igmp6` has a membership in `group` on the interface with
/// this index.
pub fn is_member(mut lines: impl Iterator<Item = String>, group: IpAddr, index: u32) -> bool {
    let wanted = match group {
        IpAddr::V4(group) => word(group.octets()),
        // In network order, unlike the addresses of sockets.
        IpAddr::V6(group) => format!("{:032x}", u128::from(group)),
    };
    // In igmp, a line of the interface comes before those of its groups, which are indented. In
    // igmp6, each line has both.
    let mut current = None;
    lines.any(|line| {
        let mut words = line.split_whitespace();
        if !line.starts_with(char::is_whitespace) {
            current = words.next().and_then(|word| word.parse::<u32>().ok());
            words.next();
        }
        current == Some(index) && words.next() == Some(&wanted)
    })
}

/// The inodes of the sockets in `/proc/net/udp` or `/proc/net/udp6` that are connected to an address.
pub fn sockets_to(lines: impl Iterator<Item = String>, address: IpAddr, port: u16) -> Vec<u64> {
    let address = match address {
        IpAddr::V4(address) => word(address.octets()),
        IpAddr::V6(address) => {
            let octets = address.octets();
            let (words, _) = octets.as_chunks();
            words.iter().copied().map(word).collect()
        }
    };
    let wanted = format!("{address}:{port:04X}");
    let inode = |line: String| {
        let mut words = line.split_whitespace();
        (words.nth(2)? == wanted).then_some(())?;
        words.nth(6)?.parse().ok()
    };
    lines.filter_map(inode).collect()
}

/// Four bytes of an address, as the kernel prints a number of its byte order.
fn word(bytes: [u8; 4]) -> String {
    format!("{:08X}", u32::from_ne_bytes(bytes))
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

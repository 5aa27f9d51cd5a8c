//! `host[:port]` as ipvsadm reads it, and as it prints it.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4},
};

use super::{
    columns::Line,
    names::{Names, Resolver},
    number,
};
use crate::model::Protocol;

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostPort {
    pub address: IpAddr,
    /// `None` where none was given.
    pub port: Option<u16>,
}

/// The longest name of an endpoint; what is longer is cut.
const LONGEST: usize = 59;

/// Reads `host[:port]`; `None` where it is neither. Port names are those of `protocol`.
pub(super) fn parse(
    text: &str,
    protocol: Option<Protocol>,
    resolver: &dyn Resolver,
) -> Option<HostPort> {
    // The usual spelling, of which the longer way would make the same.
    if let Ok(usual) = text.parse::<SocketAddrV4>() {
        return Some(HostPort {
            address: (*usual.ip()).into(),
            port: Some(usual.port()),
        });
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (host, bracketed_port) = match text.strip_prefix('[') {
        None => (text, None),
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, Some(rest.strip_prefix(':')?))
        }
    };
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        return with_port(address.into(), bracketed_port, protocol, resolver);
    }
    // In brackets too the last colon inside divides, and a port after them is lost: as the
    // original does.
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (host, None),
    };
    let address = ipv4(host, resolver)?;
    with_port(address.into(), port, protocol, resolver)
}

fn with_port(
    address: IpAddr,
    port: Option<&str>,
    protocol: Option<Protocol>,
    resolver: &dyn Resolver,
) -> Option<HostPort> {
    let port = match port {
        None => None,
        Some(text) => Some(
            number::in_range(text, 0, u16::MAX.into())
                .or_else(|| resolver.port(text, protocol?))?,
        ),
    };
    Some(HostPort { address, port })
}

/// An IPv4 address in any of the C library's spellings, or a host's first one.
pub(super) fn ipv4(text: &str, resolver: &dyn Resolver) -> Option<Ipv4Addr> {
    inet_aton(text).or_else(|| {
        // To the resolver digits and dots are an address, and a bad one.
        let numeric = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if numeric { None } else { resolver.host(text) }
    })
}

/// `inet_aton`: one to four parts, each decimal, octal or hexadecimal; the last fills what is left.
/// A blank ends it, whatever follows.
pub(super) fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let text = match text.find(|c: char| matches!(c, ' ' | '\t'..='\r')) {
        Some(end) => &text[..end],
        None => text,
    };
    let parts: Vec<&str> = text.split('.').collect();
    let (last, front) = parts.split_last()?;
    let mut address = 0_u32;
    for (place, part) in front.iter().enumerate() {
        if place > 2 {
            return None;
        }
        let byte = u8::try_from(c_number(part)?).ok()?;
        address |= u32::from(byte) << (24 - 8 * place);
    }
    let last = c_number(last)?;
    let room = u32::MAX >> (8 * front.len());
    (last <= room).then(|| Ipv4Addr::from(address | last))
}

/// A number as C writes it, without a sign.
fn c_number(text: &str) -> Option<u32> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let lower = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match lower {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // from_str_radix would take a sign.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// `host:port` as listings have it, IPv6 in brackets, cut where it is too long.
pub(super) fn print(
    address: IpAddr,
    port: u16,
    protocol: Option<Protocol>,
    names: &dyn Names,
) -> String {
    let mut line = Line::default();
    append(&mut line, address, port, protocol, names);
    line.text
}

/// The same at the end of a line.
pub(super) fn append(
    line: &mut Line,
    address: IpAddr,
    port: u16,
    protocol: Option<Protocol>,
    names: &dyn Names,
) {
    let start = line.text.len();
    let brackets = address.is_ipv6();
    if brackets {
        line.text.push('[');
    }
    match (names.host_of(address), address) {
        (Some(name), _) => line.text.push_str(name),
        (None, IpAddr::V4(address)) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    line.text.push('.');
                }
                line.number(octet);
            }
        }
        // Writing into a String does not fail.
        (None, IpAddr::V6(address)) => drop(write!(line.text, "{address}")),
    }
    line.text.push_str(if brackets { "]:" } else { ":" });
    match protocol.and_then(|protocol| names.port_of(port, protocol)) {
        Some(name) => line.text.push_str(name),
        None => line.number(port),
    }
    cut(&mut line.text, start + LONGEST);
}

/// Cuts text to so many bytes, between characters.
pub(super) fn cut(text: &mut String, longest: usize) {
    text.truncate(text.floor_char_boundary(longest));
}

#[cfg(test)]
mod tests {
    use super::{super::names::Numeric, *};

    #[test]
    fn an_endpoint_is_read_in_all_its_spellings() {
        let read = |text| {
            let read = parse(text, Some(Protocol::Tcp), &Numeric);
            read.map(|HostPort { address, port }| (address.to_string(), port))
        };
        let ten = |port| Some(("10.0.0.1".to_owned(), port));
        for (text, expected) in [
            ("10.0.0.1:80", ten(Some(80))),
            ("10.0.0.1:0", ten(Some(0))),
            ("10.0.0.1:080", ten(Some(80))),
            ("10.0.0.1: +80", ten(Some(80))),
            ("10.0.0.1", ten(None)),
            ("012.0.0.1:80", ten(Some(80))),
            ("0xa.1:80", ten(Some(80))),
            ("10.0.0.01:80", ten(Some(80))),
            ("[10.0.0.1:7]:80", ten(Some(7))),
            ("10.0.0.1:65536", None),
            ("10.0.0.1:", None),
            ("10.0.0.256:80", None),
            ("10.0.0.1.2:80", None),
            ("[::1]:80", Some(("::1".to_owned(), Some(80)))),
            ("::1", Some(("::1".to_owned(), None))),
            ("167772161", None),
            ("web:80", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}

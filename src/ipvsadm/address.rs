//! Parses and prints `HOST[:PORT]` like ipvsadm.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{
    columns::ColumnWriter,
    names::{Names, Resolver},
    number,
};
use crate::model::Protocol;

/// An address with an optional port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HostPort {
    pub address: IpAddr,
    /// `None` if not given.
    pub port: Option<u16>,
}

/// Maximum length of a printed endpoint in bytes. ipvsadm truncates a longer one.
const PRINTED_MAX: usize = 59;

/// Parses `HOST[:PORT]`; `None` if it is invalid. Port names are looked up for `protocol`.
pub(super) fn parse(
    text: &str,
    protocol: Option<Protocol>,
    resolver: &dyn Resolver,
) -> Option<HostPort> {
    if let Some(endpoint) = dotted(text.as_bytes()) {
        return Some(endpoint);
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
    // Like ipvsadm: the last colon separates the port inside brackets too, and a port after them is
    // ignored.
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (host, None),
    };
    let address = ipv4(host, resolver)?;
    with_port(address.into(), port, protocol, resolver)
}

/// Four decimal parts, a colon and a port: the usual spelling, which the rest of this file would parse
/// to the same in ten times the time.
fn dotted(text: &[u8]) -> Option<HostPort> {
    let (mut parts, mut rest) = ([0; 5], text);
    for (place, part) in parts.iter_mut().enumerate() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, after) = rest.split_at(digits);
        let is_octal = place < 4 && digits > 1 && number.first() == Some(&b'0');
        if !(1..=5).contains(&digits) || is_octal {
            return None;
        }
        for digit in number {
            *part = *part * 10 + u32::from(digit - b'0');
        }
        rest = match (place, after) {
            (0..3, [b'.', rest @ ..]) | (3, [b':', rest @ ..]) => rest,
            (4, []) => after,
            _ => return None,
        };
    }
    let [a, b, c, d, port] = parts;
    let byte = |part: u32| u8::try_from(part).ok();
    let address = Ipv4Addr::new(byte(a)?, byte(b)?, byte(c)?, byte(d)?);
    Some(HostPort {
        address: address.into(),
        port: Some(u16::try_from(port).ok()?),
    })
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

/// Parses an IPv4 address like inet_aton(3), or resolves a host name.
pub(super) fn ipv4(text: &str, resolver: &dyn Resolver) -> Option<Ipv4Addr> {
    inet_aton(text).or_else(|| {
        // gethostbyname(3) takes digits and dots for an invalid address, not for a name.
        let numeric = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if numeric { None } else { resolver.host(text) }
    })
}

/// inet_aton(3): one to four parts, each decimal, octal or hexadecimal; the last part fills the
/// remaining bytes. Text after a blank is ignored.
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
    let max = u32::MAX >> (8 * front.len());
    (last <= max).then(|| Ipv4Addr::from(address | last))
}

/// Parses an unsigned C integer literal.
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
    // from_str_radix accepts a sign.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// `HOST:PORT` as in listings: IPv6 in brackets, truncated to 59 bytes.
pub(super) fn print(
    address: IpAddr,
    port: u16,
    protocol: Option<Protocol>,
    names: &dyn Names,
) -> String {
    let mut line = ColumnWriter::default();
    append(&mut line, address, port, protocol, names);
    line.text
}

/// Appends `HOST:PORT` to a line.
pub(super) fn append(
    line: &mut ColumnWriter,
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
        // Writing to a String cannot fail.
        (None, IpAddr::V6(address)) => drop(write!(line.text, "{address}")),
    }
    line.text.push_str(if brackets { "]:" } else { ":" });
    match protocol.and_then(|protocol| names.port_of(port, protocol)) {
        Some(name) => line.text.push_str(name),
        None => line.number(port),
    }
    truncate(&mut line.text, start + PRINTED_MAX);
}

/// Truncates text to at most `max` bytes, at a character boundary.
pub(super) fn truncate(text: &mut String, max: usize) {
    text.truncate(text.floor_char_boundary(max));
}

#[cfg(test)]
mod tests {
    use super::{super::names::Numeric, *};

    #[test]
    fn parse_accepts_the_spellings_of_ipvsadm() {
        let parsed = |text| {
            let parsed = parse(text, Some(Protocol::Tcp), &Numeric);
            parsed.map(|HostPort { address, port }| (address.to_string(), port))
        };
        let ten = |port| Some(("10.0.0.1".to_owned(), port));
        for (text, expected) in [
            ("10.0.0.1:80", ten(Some(80))),
            ("10.0.0.1:0", ten(Some(0))),
            ("10.0.0.1:65535", ten(Some(65535))),
            ("10.0.0.1:100000", None),
            ("10.0.0.1:000080", ten(Some(80))),
            ("10.0.0.1:80:80", None),
            ("10.0.0.:80", None),
            ("10.0.0.1000:80", None),
            ("010.0.0.1:80", Some(("8.0.0.1".to_owned(), Some(80)))),
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
            assert_eq!(parsed(text), expected, "{text}");
        }
    }
}

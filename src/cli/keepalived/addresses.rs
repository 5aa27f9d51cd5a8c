//! Addresses, numbers, and groups of virtual servers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::statements::{Statement, Word};
use crate::{
    cli::{
        conversion::{Conversion, Place},
        error::CliError,
    },
    model::{Family, Protocol, ServiceKey},
};

/// What a virtual server listens on.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// Addresses from the first to the last.
    Addresses {
        first: IpAddr,
        last: IpAddr,
        port: u16,
        place: Place,
    },
    /// A firewall mark, and the family of its packets if it is given.
    Fwmark {
        mark: u32,
        family: Option<Family>,
        place: Place,
    },
}

/// The entries of a virtual_server_group.
#[derive(Debug)]
pub(super) struct Group(pub Vec<Entry>);

/// Parses a value. `what` describes the values that are possible.
pub(super) fn parsed<T: FromStr>(
    word: &Word,
    what: &str,
    conversion: &Conversion,
) -> Result<T, CliError> {
    // Numbers of Rust may have a sign.
    let value = word.text.parse().ok();
    let value = value.filter(|_| !word.text.starts_with('+'));
    value.ok_or_else(|| invalid(word, what, conversion))
}

/// The error of a value.
pub(super) fn invalid(word: &Word, what: &str, conversion: &Conversion) -> CliError {
    conversion.error(word.place, format!("{:?} is not {what}", word.text))
}

/// A port, 0 if it is absent.
pub(super) fn port(word: Option<&Word>, conversion: &Conversion) -> Result<Option<u16>, CliError> {
    word.map(|word| parsed(word, "a port, 0 to 65535", conversion))
        .transpose()
}

// === impl Group ===

impl Group {
    pub(super) fn read(statement: &Statement, conversion: &Conversion) -> Result<Self, CliError> {
        let entries = statement.block.iter();
        entries
            .map(|entry| Entry::read(entry.first(), &entry.arguments, conversion))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

// === impl Entry ===

impl Entry {
    /// `fwmark NUMBER [inet|inet6]`, or `ADDRESSES [PORT]`.
    pub(super) fn read(
        first: &Word,
        arguments: &[Word],
        conversion: &Conversion,
    ) -> Result<Self, CliError> {
        let place = first.place;
        if first.text == "fwmark" {
            let mark = arguments.first().unwrap_or(first);
            return Ok(Self::Fwmark {
                mark: parsed(mark, "a firewall mark, 1 to 4294967295", conversion)?,
                family: arguments
                    .get(1)
                    .map(|word| family(word, conversion))
                    .transpose()?,
                place,
            });
        }
        let addresses = addresses(&first.text);
        let (first, last) = addresses.ok_or_else(|| {
            let what = "an address, or addresses such as 192.0.2.1-9 or 192.0.2.8/29";
            invalid(first, what, conversion)
        })?;
        Ok(Self::Addresses {
            first,
            last,
            port: port(arguments.first(), conversion)?.unwrap_or(0),
            place,
        })
    }

    /// Whether the port is 0, which requires persistence.
    pub(super) fn has_any_port(&self) -> bool {
        matches!(self, Self::Addresses { port: 0, .. })
    }

    pub(super) fn place(&self) -> Place {
        match self {
            Self::Addresses { place, .. } | Self::Fwmark { place, .. } => *place,
        }
    }

    /// The number of services.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Addresses { first, last, .. } => {
                let more = bits(*last).saturating_sub(bits(*first));
                usize::try_from(more)
                    .unwrap_or(usize::MAX)
                    .saturating_add(1)
            }
            Self::Fwmark { .. } => 1,
        }
    }

    /// The services. `default` is the family of marks without one.
    pub(super) fn keys(
        &self,
        protocol: Protocol,
        default: Family,
    ) -> Box<dyn Iterator<Item = ServiceKey>> {
        match *self {
            Self::Addresses {
                first, last, port, ..
            } => Box::new(
                (bits(first)..=bits(last)).map(move |bits| ServiceKey::Address {
                    protocol,
                    address: address(bits, Family::of(first)),
                    port,
                }),
            ),
            Self::Fwmark { mark, family, .. } => Box::new(std::iter::once(ServiceKey::Fwmark {
                family: family.unwrap_or(default),
                mark,
            })),
        }
    }
}

/// `inet` or `inet6`.
pub(super) fn family(word: &Word, conversion: &Conversion) -> Result<Family, CliError> {
    match word.text.as_str() {
        "inet" => Ok(Family::Ipv4),
        "inet6" => Ok(Family::Ipv6),
        _ => Err(invalid(word, "inet or inet6", conversion)),
    }
}

/// The first and the last of `ADDRESS`, `ADDRESS-ADDRESS`, `ADDRESS-LAST_PART` or `ADDRESS/LENGTH`.
fn addresses(text: &str) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = if let Some((first, length)) = text.split_once('/') {
        let first: IpAddr = first.parse().ok()?;
        (first, last_of_network(first, length.parse().ok()?)?)
    } else if let Some((first, last)) = text.split_once('-') {
        let first: IpAddr = first.parse().ok()?;
        let last = last.parse().ok().or_else(|| with_last_part(first, last))?;
        (first, last)
    } else {
        let only = text.parse().ok()?;
        (only, only)
    };
    let is_range = first.is_ipv4() == last.is_ipv4() && first <= last;
    is_range.then_some((first, last))
}

/// The last address of a network. `None` if `first` is not its first.
fn last_of_network(first: IpAddr, length: u32) -> Option<IpAddr> {
    let width = match first {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    let others = match width - length.min(width) {
        _ if length > width => return None,
        128 => u128::MAX,
        others => (1 << others) - 1,
    };
    let is_first = bits(first) & others == 0;
    is_first.then(|| address(bits(first) | others, Family::of(first)))
}

/// An address with another last part: a decimal one of IPv4, a hexadecimal one of IPv6.
fn with_last_part(first: IpAddr, text: &str) -> Option<IpAddr> {
    Some(match first {
        IpAddr::V4(first) => {
            let [a, b, c, _] = first.octets();
            Ipv4Addr::new(a, b, c, text.parse().ok()?).into()
        }
        IpAddr::V6(first) => {
            let [a, b, c, d, e, f, g, _] = first.segments();
            let last = u16::from_str_radix(text, 16).ok()?;
            Ipv6Addr::new(a, b, c, d, e, f, g, last).into()
        }
    })
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(bits: u128, family: Family) -> IpAddr {
    match (family, u32::try_from(bits)) {
        (Family::Ipv4, Ok(bits)) => Ipv4Addr::from_bits(bits).into(),
        _ => Ipv6Addr::from_bits(bits).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_all_forms_of_the_manual() {
        let range = |text| addresses(text).map(|(a, b)| format!("{a} {b}"));
        for (text, wanted) in [
            ("192.168.200.1-10", "192.168.200.1 192.168.200.10"),
            (
                "192.168.200.250-192.168.201.10",
                "192.168.200.250 192.168.201.10",
            ),
            ("192.168.202.8/29", "192.168.202.8 192.168.202.15"),
            ("192.0.2.1/32", "192.0.2.1 192.0.2.1"),
            ("0.0.0.0/0", "0.0.0.0 255.255.255.255"),
            ("2001:db8::fe-101", "2001:db8::fe 2001:db8::101"),
            ("2001:db8::4/126", "2001:db8::4 2001:db8::7"),
            ("::/0", ":: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("192.0.2.1", "192.0.2.1 192.0.2.1"),
        ] {
            assert_eq!(range(text).as_deref(), Some(wanted), "{text}");
        }
        for text in [
            "192.0.2.9-1",
            "192.0.2.1-256",
            "192.0.2.1/30",
            "192.0.2.0/33",
            "192.0.2.1-2001:db8::1",
            "2001:db8::1-fffff",
            "[2001:db8::1]",
            "x",
            "",
            "-",
            "/",
        ] {
            assert_eq!(range(text), None, "{text}");
        }
    }

    #[test]
    fn a_range_of_any_size_is_counted() {
        let entry = |text| {
            let (first, last) = addresses(text).unwrap_or_else(|| panic!("{text}"));
            let place = Place::default();
            let port = 80;
            Entry::Addresses {
                first,
                last,
                port,
                place,
            }
        };
        assert_eq!(entry("::/0").count(), usize::MAX);
        assert_eq!(entry("192.0.2.8/29").count(), 8);
        let keys = entry("192.0.2.254-192.0.3.1").keys(Protocol::Tcp, Family::Ipv4);
        let keys: Vec<_> = keys.map(|key| key.to_string()).collect();
        assert_eq!(keys[..2], ["tcp-192.0.2.254-80", "tcp-192.0.2.255-80"]);
        assert_eq!(keys[2..], ["tcp-192.0.3.0-80", "tcp-192.0.3.1-80"]);
    }
}

//! The attributes of a nest, and their values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire;
use crate::model::Family;

const AF_INET: u16 = libc::AF_INET as u16;
const AF_INET6: u16 = libc::AF_INET6 as u16;

/// The values of a nest by attribute number; of duplicates the last, as in the kernel. `SLOTS` is
/// that of the nest in [`uapi`](super::uapi). Attributes with higher numbers, of a newer kernel, are
/// ignored.
pub(super) struct Attributes<'a, const SLOTS: usize>([Option<&'a [u8]>; SLOTS]);

impl<'a, const SLOTS: usize> Attributes<'a, SLOTS> {
    #[inline(always)]
    pub(super) fn parse(nest: &'a [u8]) -> Self {
        let mut values = Self([None; SLOTS]);
        for (number, value) in wire::attributes(nest) {
            if let Some(slot) = values.0.get_mut(usize::from(number)) {
                *slot = Some(value);
            }
        }
        values
    }

    #[inline(always)]
    pub(super) fn get(&self, number: u16) -> Option<&'a [u8]> {
        self.0.get(usize::from(number)).copied().flatten()
    }

    /// The value converted by `read`; `default` if the attribute is absent, `None` if its value is
    /// invalid.
    #[inline(always)]
    pub(super) fn read<T>(
        &self,
        number: u16,
        default: T,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Option<T> {
        match self.get(number) {
            Some(value) => read(value),
            None => Some(default),
        }
    }
}

/// The value of the first attribute with this number.
pub(super) fn find(attributes: &[u8], number: u16) -> Option<&[u8]> {
    wire::attributes(attributes)
        .find(|(other, _)| *other == number)
        .map(|(_, value)| value)
}

/// An 8-bit number.
pub(super) fn read_u8(value: &[u8]) -> Option<u8> {
    value.first().copied()
}

/// A 16-bit number in host order.
pub(super) fn read_u16(value: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*value.first_chunk()?))
}

/// A 16-bit number in network order: a port of a service or a server.
pub(super) fn read_u16_be(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*value.first_chunk()?))
}

/// A 32-bit number in host order.
pub(super) fn read_u32(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*value.first_chunk()?))
}

/// An address of this family.
pub(super) fn read_address(family: Family, value: &[u8]) -> Option<IpAddr> {
    match family {
        Family::Ipv4 => value
            .first_chunk::<4>()
            .map(|v4| Ipv4Addr::from(*v4).into()),
        Family::Ipv6 => value
            .first_chunk::<16>()
            .map(|v6| Ipv6Addr::from(*v6).into()),
    }
}

/// An address as 16 bytes; IPv4 in the first four.
pub(super) fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The kernel's number of an address family.
pub(super) fn family_number(family: Family) -> u16 {
    match family {
        Family::Ipv4 => AF_INET,
        Family::Ipv6 => AF_INET6,
    }
}

/// The address family with this number.
pub(super) fn family_from(number: u16) -> Option<Family> {
    match number {
        AF_INET => Some(Family::Ipv4),
        AF_INET6 => Some(Family::Ipv6),
        _ => None,
    }
}

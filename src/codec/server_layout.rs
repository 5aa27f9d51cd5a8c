//! The nest of a real server in the layout that kernels since 5.3 write. A listing consists mostly of
//! real servers: comparing all headers at once takes a quarter of the time of parsing them.

use super::{
    attributes::{family_from, read_address},
    counters::counters_in,
    uapi::{CONN_F_FWD_MASK, dest},
    wire::{self, ATTRIBUTE_HEADER},
};
use crate::model::{Family, Forwarding, Server, ServerConfig, ServerKey, Tunnel};

/// The attributes before the counters: number and length of the value. The order is that of
/// `ip_vs_genl_fill_dest`.
const FIXED: [(u16, usize); 13] = [
    (dest::ADDR, 16),
    (dest::PORT, 2),
    (dest::FWD_METHOD, 4),
    (dest::WEIGHT, 4),
    (dest::TUN_TYPE, 1),
    (dest::TUN_PORT, 2),
    (dest::TUN_FLAGS, 2),
    (dest::U_THRESH, 4),
    (dest::L_THRESH, 4),
    (dest::ACTIVE_CONNS, 4),
    (dest::INACT_CONNS, 4),
    (dest::PERSIST_CONNS, 4),
    (dest::ADDR_FAMILY, 2),
];
/// The place of each value of [`FIXED`].
const PLACES: [usize; FIXED.len()] = places();
/// The length of [`FIXED`] with headers and padding.
const LENGTH: usize = PLACES[FIXED.len() - 1] + 4;
/// The words of this part that are headers, and which words these are: all bits or none.
const HEADERS: [u32; LENGTH / 4] = headers(false);
const MASK: [u32; LENGTH / 4] = headers(true);

const fn places() -> [usize; FIXED.len()] {
    let mut places = [0; FIXED.len()];
    let (mut index, mut at) = (0, 0);
    while index < FIXED.len() {
        places[index] = at + ATTRIBUTE_HEADER;
        at += ATTRIBUTE_HEADER + FIXED[index].1.next_multiple_of(4);
        index += 1;
    }
    places
}

const fn headers(mask: bool) -> [u32; LENGTH / 4] {
    let mut words = [0; LENGTH / 4];
    let mut index = 0;
    while index < FIXED.len() {
        let (number, length) = FIXED[index];
        let length = ((ATTRIBUTE_HEADER + length) as u16).to_ne_bytes();
        let number = number.to_ne_bytes();
        let header = u32::from_ne_bytes([length[0], length[1], number[0], number[1]]);
        words[PLACES[index] / 4 - 1] = if mask { u32::MAX } else { header };
        index += 1;
    }
    words
}

/// The server in a nest of this layout; `None` for any other.
pub(super) fn server_in_order(nest: &[u8], service: Family) -> Option<Server> {
    let (fixed, rest) = nest.split_first_chunk::<LENGTH>()?;
    // Without a branch per header.
    let words: &[[u8; 4]; LENGTH / 4] = fixed.as_chunks().0.try_into().ok()?;
    let (mut differences, mut index) = (0, 0);
    while index < words.len() {
        differences |= (u32::from_ne_bytes(words[index]) ^ HEADERS[index]) & MASK[index];
        index += 1;
    }
    if differences != 0 {
        return None;
    }
    let mut counters = wire::attributes(rest);
    let (first, second) = (counters.next()?, counters.next()?);
    if (first.0, second.0) != (dest::STATS, dest::STATS64) || counters.next().is_some() {
        return None;
    }
    let [
        _,
        port,
        method,
        weight,
        kind,
        tunnel_port,
        flags,
        upper,
        lower,
        active,
        inactive,
        persistent,
        family,
    ] = PLACES;
    let family = family_from(u16::from_ne_bytes(value(fixed, family)?));
    let number = |place| value(fixed, place).map(u32::from_ne_bytes);
    let ((stats, rates), weight) = (counters_in(second.1), number(weight)?);
    let address = read_address(family.unwrap_or(service), fixed.get(PLACES[0]..)?)?;
    let port = u16::from_be_bytes(value(fixed, port)?);
    Some(Server {
        key: ServerKey { address, port },
        config: ServerConfig {
            forwarding: forwarding(number(method)?),
            weight,
            upper_threshold: number(upper)?,
            lower_threshold: number(lower)?,
            tunnel: Tunnel {
                kind: u8::from_ne_bytes(value(fixed, kind)?).into(),
                port: u16::from_be_bytes(value(fixed, tunnel_port)?),
                checksum: u16::from_ne_bytes(value(fixed, flags)?).into(),
            },
        },
        effective_weight: weight,
        holds: None,
        membership: None,
        active_connections: number(active)?,
        inactive_connections: number(inactive)?,
        persistent_connections: number(persistent)?,
        stats,
        rates,
    })
}

/// The value at a place, which is known at compile time.
#[inline(always)]
fn value<const SIZE: usize>(fixed: &[u8; LENGTH], place: usize) -> Option<[u8; SIZE]> {
    fixed.get(place..)?.first_chunk().copied()
}

pub(super) fn forwarding(number: u32) -> Forwarding {
    Forwarding::from((number & CONN_F_FWD_MASK).to_le_bytes()[0])
}

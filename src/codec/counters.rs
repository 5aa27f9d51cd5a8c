//! Counters and rates of services and servers.

use super::{
    attributes::{Attributes, read_u32},
    uapi::stats,
    wire,
};
use crate::model::{Rates, Stats};

/// Number of counters and rates in a nest.
const COUNT: usize = stats::OUTBPS as usize;
/// Length of an attribute header.
const HEADER: usize = wire::ATTRIBUTE_HEADER;
/// Length of an attribute with a 64-bit value.
const ENTRY: usize = HEADER + 8;

/// Counters and rates from the nests `STATS` and `STATS64` with these numbers. `STATS64` exists
/// since Linux 4.1; in `STATS`, all numbers but the bytes are truncated to 32 bits.
pub(super) fn counters<const SLOTS: usize>(
    attributes: &Attributes<'_, SLOTS>,
    stats: u16,
    stats64: u16,
) -> (Stats, Rates) {
    let nest = attributes.get(stats64).or(attributes.get(stats));
    counters_in(nest.unwrap_or_default())
}

/// Counters and rates from one of these nests.
pub(super) fn counters_in(nest: &[u8]) -> (Stats, Rates) {
    let counts = in_order(nest).unwrap_or_else(|| in_any_order(nest));
    let [c, pi, po, bi, bo, rc, rpi, rpo, rbi, rbo] = counts;
    let stats = Stats {
        connections: c,
        packets_in: pi,
        packets_out: po,
        bytes_in: bi,
        bytes_out: bo,
    };
    let rates = Rates {
        connections: rc,
        packets_in: rpi,
        packets_out: rpo,
        bytes_in: rbi,
        bytes_out: rbo,
    };
    (stats, rates)
}

/// The numbers of a nest in the layout that current kernels write: 64 bits each, in the order of the
/// attributes. This is the fast path: counters are most of the bytes of a listing. A kernel for a
/// machine without unaligned access adds an empty attribute before each number that is not aligned.
fn in_order(nest: &[u8]) -> Option<[u64; COUNT]> {
    const PADDED: usize = ENTRY + HEADER;
    // The padding precedes each number but the first, which may be aligned already.
    const PADDED_LENGTH: usize = COUNT * PADDED - HEADER;
    fn spaced<const LENGTH: usize, const STRIDE: usize>(nest: &[u8]) -> Option<[u64; COUNT]> {
        let nest: &[u8; LENGTH] = nest.try_into().ok()?;
        let (mut counts, mut in_order) = ([0; COUNT], true);
        for (place, (count, number)) in counts.iter_mut().zip(stats::CONNS..).enumerate() {
            let [a, b, c, d, value @ ..] = nest.get(place * STRIDE..)?.first_chunk::<ENTRY>()?;
            in_order &=
                [*a, *b] == (ENTRY as u16).to_ne_bytes() && [*c, *d] == number.to_ne_bytes();
            *count = u64::from_ne_bytes(*value);
        }
        in_order.then_some(counts)
    }
    spaced::<{ COUNT * ENTRY }, ENTRY>(nest).or_else(|| match nest.split_first_chunk() {
        Some(([a, b, _, _], after)) if [*a, *b] == (HEADER as u16).to_ne_bytes() => {
            spaced::<PADDED_LENGTH, PADDED>(after)
        }
        _ => spaced::<PADDED_LENGTH, PADDED>(nest),
    })
}

/// The numbers of a nest in any other layout; 0 for absent ones.
fn in_any_order(nest: &[u8]) -> [u64; COUNT] {
    let mut counts = [0; COUNT];
    for (number, value) in wire::attributes(nest) {
        let slot = counts.get_mut(usize::from(number).wrapping_sub(1));
        if let (Some(slot), Some(count)) = (slot, read_count(value)) {
            *slot = count;
        }
    }
    counts
}

fn read_count(value: &[u8]) -> Option<u64> {
    match value.len() {
        8 => Some(u64::from_ne_bytes(*value.first_chunk()?)),
        4 => read_u32(value).map(u64::from),
        _ => None,
    }
}

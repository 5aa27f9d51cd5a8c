//! Storms: many servers that become silent at once. That is rather a failure of the director or of the network
//! before it than of the servers.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// An address that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Since when none of its checks has got any answer; `None` if one has.
    pub since: Option<Instant>,
    /// Time within which a failure is noticed.
    pub window: Duration,
}

/// The addresses that have become silent in a storm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StormGuard {
    /// After the end of the storm: until when an address has time to answer.
    addresses: HashMap<IpAddr, Option<Instant>>,
}

/// Addresses that become silent together and are a storm in a network, and that are none in all networks.
const MAX_COINCIDENCE: usize = 2;

// === impl StormGuard ===

impl StormGuard {
    /// Finds storms: all addresses of a network (/24, /64) that were not silent before, at least two, have become
    /// silent within the time in which a failure is noticed; or half of those of all networks have, at least three.
    pub fn find(silences: &HashMap<IpAddr, Silence>) -> Self {
        let mut networks: HashMap<IpAddr, Vec<(IpAddr, Silence)>> = HashMap::new();
        for (address, silence) in silences {
            let network = networks.entry(network(*address)).or_default();
            network.push((*address, *silence));
        }
        let mut addresses = HashSet::new();
        for network in networks.values() {
            let latest = latest(network);
            let live = network.iter().filter(|(_, one)| one.since.is_none());
            if latest.len() >= MAX_COINCIDENCE && live.count() == 0 {
                addresses.extend(latest);
            }
        }
        let all: Vec<_> = silences.iter().map(|(key, value)| (*key, *value)).collect();
        let most = together(&all);
        let live = all.iter().filter(|(_, one)| one.since.is_none()).count();
        if most.len() > MAX_COINCIDENCE && most.len() >= live {
            addresses.extend(most);
        }
        let addresses = addresses.into_iter().map(|address| (address, None));
        Self {
            addresses: addresses.collect(),
        }
    }

    /// Replaces what was found before. At the end of a storm, an address that is silent still has the time of a check
    /// to answer.
    pub fn update(&mut self, found: Self, silences: &HashMap<IpAddr, Silence>, now: Instant) {
        let before = std::mem::replace(self, found);
        for (address, end) in before.addresses {
            let Some(silence) = silences.get(&address).filter(|one| one.since.is_some()) else {
                continue;
            };
            let end = end.unwrap_or(now + silence.window);
            if now < end {
                self.addresses.entry(address).or_insert(Some(end));
            }
        }
    }

    /// Whether there is no storm.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The number of addresses.
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether an address has become silent in a storm.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
    }
}

/// The addresses that have become silent together last.
fn latest(all: &[(IpAddr, Silence)]) -> Vec<IpAddr> {
    let (silent, window) = silent(all);
    let newest = silent.last().map(|(since, _)| *since);
    let is_late = |since: Instant| newest.is_some_and(|at| at.duration_since(since) <= window);
    let latest = silent.iter().filter(|(since, _)| is_late(*since));
    latest.map(|(_, address)| *address).collect()
}

/// Those that are silent, in order, and the longest time within which a failure is noticed.
fn silent(all: &[(IpAddr, Silence)]) -> (Vec<(Instant, IpAddr)>, Duration) {
    let silent = all.iter();
    let mut silent: Vec<_> = silent
        .filter_map(|(address, one)| Some((one.since?, *address)))
        .collect();
    silent.sort_unstable();
    let window = all.iter().map(|(_, one)| one.window).max();
    (silent, window.unwrap_or_default())
}

/// The largest group of addresses that have become silent together.
fn together(all: &[(IpAddr, Silence)]) -> Vec<IpAddr> {
    let (silent, window) = silent(all);
    let (mut best, mut first) = (0..0, 0);
    for (last, (since, _)) in silent.iter().enumerate() {
        while silent
            .get(first)
            .is_some_and(|(earliest, _)| since.duration_since(*earliest) > window)
        {
            first += 1;
        }
        if last + 1 - first > best.len() {
            best = first..last + 1;
        }
    }
    let best = silent.get(best).unwrap_or_default();
    best.iter().map(|(_, address)| *address).collect()
}

/// The network of an address: /24 or /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            [a, b, c, 0].into()
        }
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses with the second at which they became silent.
    fn storm(addresses: &[(&str, Option<u64>)]) -> Vec<String> {
        let now = Instant::now();
        let silence = |since: Option<u64>| Silence {
            since: since.map(|second| now + Duration::from_secs(second)),
            window: Duration::from_secs(3),
        };
        let all = addresses.iter();
        let all = all.map(|(address, since)| (address.parse().unwrap(), silence(*since)));
        let guard = StormGuard::find(&all.collect());
        let mut found: Vec<_> = guard.addresses.keys().map(ToString::to_string).collect();
        found.sort();
        found
    }

    #[test]
    fn all_of_a_network_at_once_are_a_storm() {
        let (a, b, c) = ("192.0.2.1", "192.0.2.2", "192.0.2.3");
        let others = [("10.0.0.1", None), ("10.0.0.2", None), ("10.0.0.3", None)];
        let with = |mut all: Vec<_>| {
            all.extend(others);
            storm(&all)
        };
        assert_eq!(with(vec![(a, Some(1)), (b, Some(3))]), [a, b]);
        // One answers; they failed one after the other; it is one alone.
        assert!(with(vec![(a, Some(1)), (b, Some(1)), (c, None)]).is_empty());
        assert!(with(vec![(a, Some(1)), (b, Some(9))]).is_empty());
        assert!(with(vec![(a, Some(1))]).is_empty());
        // What was silent before is no part of it, and does not hide it.
        assert_eq!(
            with(vec![(a, Some(1)), (b, Some(100)), (c, Some(101))]),
            [b, c]
        );
        let (x, y) = ("2001:db8::1", "2001:db8::2:0:0:1");
        assert_eq!(with(vec![(x, Some(1)), (y, Some(1))]), [x, y]);
        assert!(with(vec![(x, Some(1)), ("2001:db8:0:1::1", Some(1))]).is_empty());
    }

    #[test]
    fn what_is_silent_at_the_end_of_a_storm_has_the_time_of_a_check_to_answer() {
        let now = Instant::now();
        let window = Duration::from_secs(3);
        let all = |since: [Option<Instant>; 2]| {
            let addresses = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
            let silences = since.map(|since| Silence { since, window });
            addresses
                .into_iter()
                .zip(silences)
                .collect::<HashMap<_, _>>()
        };
        let mut storm = StormGuard::default();
        let mut guarded = |since, at: Instant| {
            let silences = all(since);
            storm.update(StormGuard::find(&silences), &silences, at);
            ["192.0.2.1", "192.0.2.2"].map(|text| storm.contains(text.parse().unwrap()))
        };
        assert_eq!(guarded([Some(now); 2], now), [true; 2]);
        let later = now + Duration::from_secs(10);
        assert_eq!(guarded([None, Some(now)], later), [false, true]);
        assert_eq!(
            guarded([None, Some(now)], later + window / 2),
            [false, true]
        );
        assert_eq!(guarded([None, Some(now)], later + window), [false, false]);
    }

    #[test]
    fn half_of_all_at_once_are_a_storm() {
        let dead = [
            ("10.0.1.1", Some(1)),
            ("10.0.2.1", Some(2)),
            ("10.0.3.1", Some(3)),
        ];
        let live = [("10.0.4.1", None), ("10.0.5.1", None), ("10.0.6.1", None)];
        assert_eq!(storm(&[dead, live].concat()).len(), 3);
        let more = [("10.0.7.1", None)];
        assert!(storm(&[&dead[..], &live, &more].concat()).is_empty());
        assert!(storm(&[&dead[..2], &live[..1]].concat()).is_empty());
    }
}

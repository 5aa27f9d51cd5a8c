//! When servers are checked.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    hash::{BuildHasher, Hash, RandomState},
    time::{Duration, Instant},
};

/// When what has a key `K` is due. The first time is spread over the interval, so that what is added together is
/// not due together.
#[derive(Debug)]
pub struct Schedule<K> {
    due: BinaryHeap<Reverse<(Instant, K)>>,
    spread: RandomState,
}

// === impl Schedule ===

impl<K: Ord + Hash> Schedule<K> {
    /// Nothing is due.
    pub fn new() -> Self {
        Self {
            due: BinaryHeap::new(),
            spread: RandomState::new(),
        }
    }

    /// Adds a key, which is due within the interval.
    pub fn add(&mut self, key: K, interval: Duration, now: Instant) {
        let part = self.spread.hash_one(&key) >> 32;
        // Less than 2^32 of 2^32 parts.
        let delay = interval.mul_f64(part as f64 / f64::from(u32::MAX));
        self.due.push(Reverse((now + delay, key)));
    }

    /// Adds a key, which is due at this time.
    pub fn put(&mut self, key: K, at: Instant) {
        self.due.push(Reverse((at, key)));
    }

    /// When something is due next.
    pub fn next(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes a key that is due, with the time at which it was.
    pub fn take(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        self.due.pop().map(|Reverse(entry)| entry)
    }
}

impl<K: Ord + Hash> Default for Schedule<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_together_is_spread_over_the_interval() {
        let (mut schedule, now) = (Schedule::new(), Instant::now());
        let interval = Duration::from_secs(10);
        for key in 0..1000 {
            schedule.add(key, interval, now);
        }
        let count_until =
            |schedule: &mut Schedule<u32>, at| std::iter::from_fn(|| schedule.take(at)).count();
        let half = count_until(&mut schedule, now + interval / 2);
        assert!(
            (350..650).contains(&half),
            "{half} of 1000 in half of the interval"
        );
        assert_eq!(count_until(&mut schedule, now + interval), 1000 - half);
    }

    #[test]
    fn the_earliest_is_taken_first_and_none_too_early() {
        let (mut schedule, now) = (Schedule::new(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        schedule.put('b', at(2));
        schedule.put('a', at(1));
        assert_eq!(schedule.next(), Some(at(1)));
        assert_eq!(schedule.take(now), None);
        assert_eq!(schedule.take(at(5)), Some((at(1), 'a')));
        assert_eq!(schedule.take(at(1)), None);
        assert_eq!(schedule.take(at(2)), Some((at(2), 'b')));
        assert_eq!(schedule.next(), None);
    }
}

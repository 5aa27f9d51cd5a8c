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

/// Keys that are kept whether they are valid or not.
const FEW: usize = 1024;

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

    /// Adds a key that was due at this time, with the next time after `now` at which it is due again. Its place in
    /// the interval stays, and what is late is not made up for.
    pub fn repeat(&mut self, key: K, due: Instant, interval: Duration, now: Instant) {
        let late = now.saturating_duration_since(due).as_nanos();
        let missed = late.checked_div(interval.as_nanos()).unwrap_or_default();
        let intervals = u32::try_from(missed + 1).unwrap_or(1);
        self.put(key, due + interval * intervals);
    }

    /// Removes the keys that are not valid any more, if more than half of many may be such.
    pub fn prune(&mut self, valid: usize, is_valid: impl Fn(&K) -> bool) {
        if self.due.len() > FEW + 2 * valid {
            self.due.retain(|Reverse((_, key))| is_valid(key));
        }
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
    fn what_was_late_keeps_its_place_in_the_interval() {
        let (mut schedule, now) = (Schedule::new(), Instant::now());
        let interval = Duration::from_secs(2);
        for (late, next) in [(0, 2000), (1999, 2000), (2000, 4000), (7001, 8000)] {
            let late = now + Duration::from_millis(late);
            schedule.repeat('a', now, interval, late);
            assert_eq!(schedule.take(late), None);
            let next = now + Duration::from_millis(next);
            assert_eq!(schedule.take(next), Some((next, 'a')));
        }
    }

    #[test]
    fn what_is_not_valid_any_more_does_not_pile_up() {
        let (mut schedule, now) = (Schedule::new(), Instant::now());
        for key in 0..100_000 {
            schedule.put(key, now);
            schedule.prune(10, |kept| kept + 10 > key);
            assert!(schedule.due.len() <= FEW + 20, "{}", schedule.due.len());
        }
        let valid = schedule
            .due
            .iter()
            .filter(|Reverse((_, key))| *key >= 99_990);
        assert_eq!(valid.count(), 10);
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

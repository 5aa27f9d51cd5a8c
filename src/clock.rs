//! The monotonic clock, read once per poll of a task.
//!
//! On machines without a clock in user space (vDSO), as some virtual ones, reading the clock is a system
//! call. What happens within one poll, for timeouts and deadlines, happens at one time.

use std::{cell::Cell, future::poll_fn, pin::pin, time::Instant};

/// The time of the poll in progress on a thread.
#[derive(Clone, Copy)]
enum PollTime {
    /// No poll is in progress.
    None,
    /// The clock has not been read.
    Unread,
    Read(Instant),
}

thread_local! {
    static POLL: Cell<PollTime> = const { Cell::new(PollTime::None) };
}

/// Restores the time of the poll around another one.
struct Restore(PollTime);

/// The time. Within a poll, the time of the first call in it.
pub fn now() -> Instant {
    match POLL.get() {
        PollTime::Read(time) => time,
        PollTime::None => Instant::now(),
        PollTime::Unread => {
            let now = Instant::now();
            POLL.set(PollTime::Read(now));
            now
        }
    }
}

/// Reads the clock anew from now on, because the poll has blocked.
pub fn has_blocked() {
    if let PollTime::Read(_) = POLL.get() {
        POLL.set(PollTime::Unread);
    }
}

/// The time of the poll in progress, if it has been read.
pub fn known() -> Option<Instant> {
    match POLL.get() {
        PollTime::Read(time) => Some(time),
        PollTime::None | PollTime::Unread => None,
    }
}

/// Polls something. What happens meanwhile happens at one time.
pub fn within_poll<T>(poll: impl FnOnce() -> T) -> T {
    let _restore = Restore(POLL.replace(PollTime::Unread));
    poll()
}

/// Runs a future, each poll of which happens at one time.
pub async fn at_one_time<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| within_poll(|| future.as_mut().poll(context))).await
}

// === impl Restore ===

impl Drop for Restore {
    fn drop(&mut self) {
        POLL.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::{task::Poll, thread::sleep, time::Duration};

    use super::*;

    const PAUSE: Duration = Duration::from_millis(2);

    #[tokio::test]
    async fn the_time_stands_still_during_a_poll_only() {
        let mut times = Vec::new();
        let mut polls = 0;
        at_one_time(poll_fn(|context| {
            times.push(now());
            sleep(PAUSE);
            times.push(now());
            polls += 1;
            context.waker().wake_by_ref();
            match polls {
                2 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        }))
        .await;
        assert_eq!((times[0], times[2]), (times[1], times[3]));
        assert!(times[2] >= times[0] + PAUSE);
        let after = now();
        assert!(after >= times[3] + PAUSE);
        sleep(PAUSE);
        assert!(now() >= after + PAUSE);
    }

    #[tokio::test]
    async fn a_poll_that_has_blocked_reads_the_clock_again() {
        at_one_time(poll_fn(|_| {
            let before = now();
            sleep(PAUSE);
            has_blocked();
            assert!(now() >= before + PAUSE);
            Poll::Ready(())
        }))
        .await;
    }
}

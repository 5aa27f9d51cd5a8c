//! What hyper uses of the runtime.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use hyper::rt::{Executor, Sleep, Timer};
use hyper_util::rt::TokioTimer;

use crate::clock;

/// tokio's timer with the time of the connection's poll: for `keep_alive_interval`, hyper asks for the
/// time at each frame that it receives.
pub(super) struct ConnectionTimer;

/// Spawns the streams of HTTP/2. Each poll of one happens at one time, as one of a connection does.
#[derive(Clone, Copy)]
pub(super) struct StreamExecutor;

// === impl ConnectionTimer ===

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep_until(deadline)
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        TokioTimer::new().reset(sleep, new_deadline);
    }

    fn now(&self) -> Instant {
        clock::now()
    }
}

// === impl StreamExecutor ===

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        tokio::spawn(clock::at_one_time(future));
    }
}

//! A request to a thread that shows whether it makes progress, for a watchdog.

use std::{any::Any, time::Instant};

use tokio::sync::oneshot;

use super::{
    job::{PendingRead, QueryRunner},
    queue::Waits,
};
use crate::model::Error;

/// A read that reads nothing.
pub(super) struct Probe(oneshot::Sender<()>);

// === impl Probe ===

impl Probe {
    /// The request, and what receives when it was run.
    pub(super) fn channel() -> (Box<dyn PendingRead>, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Box::new(Self(sender)), receiver)
    }
}

impl Waits for Probe {
    fn drop_unwanted(&mut self, _: Instant) -> bool {
        !self.0.is_closed()
    }
}

impl PendingRead for Probe {
    fn absorb(&mut self, _: &mut dyn Any) -> bool {
        false
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn reject(self: Box<Self>, _: Error) {
        let _ = self.0.send(());
    }

    fn run(self: Box<Self>, _: &mut dyn QueryRunner) {
        let _ = self.0.send(());
    }
}

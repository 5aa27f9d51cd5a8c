//! The limit on concurrent reads of the connection table, and what becomes of those whose clients do not
//! read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

use crate::model::{Connection, Error, Reason};

/// The concurrent reads of the connection table.
#[derive(Clone, Debug)]
pub(super) struct TableReads {
    slots: Arc<Semaphore>,
    /// Requests that wait for a slot.
    waiting: Arc<AtomicUsize>,
    /// Time in which a receiver must take something while others wait.
    patience: Duration,
}

/// Whether a chunk was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Taken,
    /// The receiver has been dropped.
    Closed,
    /// The receiver takes nothing, and others wait.
    Stalled,
}

/// Counts a request that waits.
struct Waiting<'a>(&'a AtomicUsize);

// === impl TableReads ===

impl TableReads {
    pub(super) fn new(limit: usize, patience: Duration) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(limit.max(1))),
            waiting: Arc::default(),
            patience,
        }
    }

    /// A slot. If all are taken, waits until a read ends, or a stalled one is ended.
    pub(super) async fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        let slots = &self.slots;
        if let Ok(permit) = Arc::clone(slots).try_acquire_owned() {
            return Ok(permit);
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        let permit = timeout(2 * self.patience, Arc::clone(slots).acquire_owned()).await;
        permit.ok().and_then(Result::ok).ok_or_else(|| {
            Error::new(
                Reason::RateLimited,
                "too many concurrent reads of the connection table",
            )
            .with_hint("retry later; limits.max_connection_streams bounds them")
        })
    }

    pub(super) async fn deliver(
        &self,
        chunks: &mpsc::Sender<Result<Vec<Connection>, Error>>,
        chunk: Vec<Connection>,
    ) -> Delivery {
        loop {
            match timeout(self.patience, chunks.reserve()).await {
                Ok(Ok(place)) => {
                    place.send(Ok(chunk));
                    return Delivery::Taken;
                }
                Ok(Err(_)) => return Delivery::Closed,
                Err(_) if self.waiting.load(Ordering::Acquire) > 0 => return Delivery::Stalled,
                Err(_) => {}
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

//! The last scrape, which those that come within `metrics.max_age` share.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, MutexGuard};

use crate::{
    budget::Charge,
    executor::Table,
    metrics::{Director, Prepared, ScrapeOptions},
    model::{Error, ServiceEntry},
};

/// What one read of the kernel shows.
#[derive(Debug)]
pub struct Scrape {
    /// The director.
    pub director: Director,
    /// What the texts of the table have in common.
    pub prepared: Prepared,
    table: Arc<Table>,
    _charge: Charge,
}

/// The last scrape. Those that wait for a read of the kernel wait for the lock.
#[derive(Debug, Default)]
pub(super) struct LastScrape(Mutex<Option<Last>>);

/// A scrape, or why there is none.
#[derive(Debug)]
pub(super) struct Last {
    /// Before the read.
    pub(super) begun: Instant,
    pub(super) options: ScrapeOptions,
    pub(super) outcome: Result<Arc<Scrape>, Error>,
}

// === impl Scrape ===

impl Scrape {
    pub(super) fn new(
        director: Director,
        prepared: Prepared,
        table: Arc<Table>,
        charge: Charge,
    ) -> Self {
        Self {
            director,
            prepared,
            table,
            _charge: charge,
        }
    }

    /// The services with their servers.
    pub fn table(&self) -> &[ServiceEntry] {
        &self.table
    }
}

// === impl LastScrape ===

impl LastScrape {
    /// The last scrape, when no read is in progress.
    pub(super) async fn lock(&self) -> MutexGuard<'_, Option<Last>> {
        self.0.lock().await
    }
}

// === impl Last ===

impl Last {
    /// Whether it answers a request that came at `arrived`.
    pub(super) fn answers(
        &self,
        arrived: Instant,
        options: ScrapeOptions,
        max_age: Duration,
    ) -> bool {
        let is_young = self.begun >= arrived || self.begun.elapsed() <= max_age;
        is_young && self.options == options
    }
}

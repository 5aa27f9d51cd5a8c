//! Scrapes: one read of the kernel for all that come within `metrics.max_age`.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::MutexGuard,
    time::{sleep, timeout_at},
};

use super::{
    App, RequestContext,
    last_scrape::{Last, Scrape},
    offload,
};
use crate::{
    executor::{
        EstimationQuery, InfoQuery, SettingsQuery, SyncDaemonsQuery, TableQuery, TimeoutsQuery,
        TotalsQuery, TypedQuery,
    },
    metrics::{Director, Prepared, ScrapeOptions},
    model::{Error, Query, Reason},
};

/// The shortest time that a scrape is kept, for those that have waited for it.
const KEPT: Duration = Duration::from_secs(1);

// === impl App ===

impl App {
    /// The state of IPVS, at most `max_age` old; `None` if the kernel does not respond.
    ///
    /// A request that comes during a read waits for the next one, unless the read began within `max_age`:
    /// whatever their number, scrapes take one read at a time.
    pub async fn scrape(
        &self,
        context: &RequestContext,
        options: ScrapeOptions,
        max_age: Duration,
    ) -> Result<Option<Arc<Scrape>>, Error> {
        self.may_query(context, &Query::Table)?;
        let arrived = Instant::now();
        let last = timeout_at(context.deadline.into(), self.last_scrape.lock());
        let mut last = last.await.map_err(|_| {
            Error::new(
                Reason::DeadlineExceeded,
                "the metrics of IPVS were not read before the deadline",
            )
        })?;
        let outcome = match last.as_ref() {
            Some(last) if last.answers(arrived, options, max_age) => last.outcome.clone(),
            _ => self.new_scrape(context, options, max_age, &mut last).await,
        };
        match outcome {
            Ok(scrape) => Ok(Some(scrape)),
            // The kernel responds, but the daemon is too busy.
            Err(error) if error.reason == Reason::RateLimited => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Reads the kernel, and keeps the result for those that wait, and for `max_age`.
    async fn new_scrape(
        &self,
        context: &RequestContext,
        options: ScrapeOptions,
        max_age: Duration,
        last: &mut MutexGuard<'_, Option<Last>>,
    ) -> Result<Arc<Scrape>, Error> {
        // Before the next one, so that two tables never exist at once.
        **last = None;
        let begun = Instant::now();
        let outcome = self.read_scrape(context, options).await.map(Arc::new);
        **last = Some(Last {
            begun,
            options,
            outcome: outcome.clone(),
        });
        let kept = self.last_scrape.clone();
        tokio::spawn(async move {
            sleep(max_age.max(KEPT)).await;
            let mut last = kept.lock().await;
            if last.as_ref().is_some_and(|last| last.begun == begun) {
                *last = None;
            }
        });
        outcome
    }

    async fn read_scrape(
        &self,
        context: &RequestContext,
        options: ScrapeOptions,
    ) -> Result<Scrape, Error> {
        let read = SystemTime::now();
        let creations = self.metrics.kernel().creations();
        let created = creations.of_director(read);
        let table = self.run_query(context, TableQuery).await?.value;
        let prepared = offload(|| {
            creations.retain(read, &table);
            Prepared::new(&table, options, creations, read)
        });
        let charge = self.budget.charge(prepared.memory())?;
        let director = Director {
            info: self.optional(context, InfoQuery).await,
            totals: self
                .optional(context, TotalsQuery)
                .await
                .map(|(stats, _)| stats),
            created,
            estimation: self.optional(context, EstimationQuery).await,
            timeouts: self.optional(context, TimeoutsQuery).await,
            settings: self
                .optional(context, SettingsQuery)
                .await
                .unwrap_or_default(),
            sync_daemons: self.optional(context, SyncDaemonsQuery).await,
            services: table.len(),
            servers: table.iter().map(|entry| entry.servers.len()).sum(),
            truncated: prepared.truncated(),
            node_exporter_names: options.node_exporter_names,
        };
        Ok(Scrape::new(director, prepared, table, charge))
    }

    /// Reads something whose families are missing if it cannot be read.
    async fn optional<Q: TypedQuery>(
        &self,
        context: &RequestContext,
        query: Q,
    ) -> Option<Q::Answer> {
        let read = self.run_query(context, query).await;
        read.ok().map(|read| read.value)
    }
}

//! What is decided is stored, and the kernel gets the weights.

use std::time::{Duration, Instant};

use super::{stored, task::health_context};
use crate::{
    app::{App, RequestContext},
    model::{Error, ServiceKey},
};

/// Time until what has failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

// === impl App ===

impl App {
    /// The task that stores what is decided and changes the weights.
    pub(super) async fn apply_decisions(self) {
        loop {
            self.health.decided.notified().await;
            while let Err(error) = self.apply_health(&health_context(), None).await {
                tracing::warn!(%error, "servers that fail or return do not have their weight yet; it is tried again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// Gives servers whose checks have failed their intended weight, at the end of the daemon. Nothing is decided
    /// any more.
    pub async fn release_failed_servers(&self, timeout: Duration) -> Result<(), Error> {
        self.health.release();
        let context = RequestContext {
            deadline: Instant::now() + timeout,
            ..health_context()
        };
        self.apply_health(&context, None).await
    }

    /// Stores what is decided, and then changes the weights; of one service, if that is named.
    pub(super) async fn apply_health(
        &self,
        context: &RequestContext,
        only: Option<ServiceKey>,
    ) -> Result<(), Error> {
        let _applying = self.health.applying.lock().await;
        let (records, services) = {
            let mut state = self.health.state();
            let records: Vec<_> = state.records.drain().collect();
            let services = match only {
                Some(service) => state.to_apply.take(&service).into_iter().collect(),
                None => std::mem::take(&mut state.to_apply),
            };
            (records, services)
        };
        let mut stored = Ok(());
        for records in records.chunks(stored::BATCH) {
            let written = match stored::batch(records) {
                Ok(batch) => self.health.store.write(batch).await,
                Err(error) => Err(error),
            };
            stored = stored.and(written);
        }
        let outcome = match services.is_empty() {
            true => Ok(()),
            false => self.hold_servers(context, services.clone()).await,
        };
        let mut state = self.health.state();
        if stored.is_err() {
            for (member, record) in records {
                state.records.entry(member).or_insert(record);
            }
        }
        if outcome.is_err() {
            state.to_apply.extend(services);
        }
        drop(state);
        stored.map_err(Error::from).and(outcome)
    }
}

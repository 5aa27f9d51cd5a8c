//! Idempotency keys: a write with a key is executed once. Its response is kept, and is the response to each
//! repetition.

use serde_json::Value;

use super::{
    App,
    idempotency_keys::{Begun, Ended, KeyedRequest},
};
use crate::model::{Error, Reason};

/// What became of a request with a key.
#[derive(Debug)]
pub enum Once<R> {
    /// It was executed.
    Executed(R),
    /// It had been executed before: what was kept of its response.
    Repeated(Value),
}

// === impl App ===

impl App {
    /// The error of a request with a key, if the daemon has no store on a disk: it could not keep its promise.
    pub fn refuses_idempotency_keys(&self) -> Option<Error> {
        let store = self.idempotency.store();
        let cause = match (store.unavailable_because(), store.path()) {
            (Some(error), _) => error.to_string(),
            (None, None) => "the daemon keeps its state in memory".to_owned(),
            (None, Some(_)) => return None,
        };
        let detail = format!("an idempotency key requires a store: {cause}; nothing was changed");
        Some(Error::new(Reason::StoreUnavailable, detail).with_hint(
            "set state_dir in the configuration of the daemon, or send the request without a key",
        ))
    }

    /// Executes a write with a key, if that was not done before, in a task of its own: it does not end with the
    /// caller. `execute` gets whether the write is [resumed](super::RequestContext::resumed), and returns its
    /// response, with what becomes of the key.
    pub async fn once<R, F>(
        &self,
        request: KeyedRequest,
        execute: impl FnOnce(bool) -> F,
    ) -> Result<Once<R>, Error>
    where
        R: Send + 'static,
        F: Future<Output = (R, Ended)> + Send + 'static,
    {
        let run = match self.idempotency.begin(request).await? {
            Begun::Done => {
                return self
                    .idempotency
                    .response(request.key)
                    .await
                    .map(Once::Repeated);
            }
            Begun::Run(run) => run,
        };
        let execution = execute(run.is_resumed);
        let (keys, background) = (self.idempotency.clone(), self.background_work().clone());
        let work = async move {
            let (response, ended) = execution.await;
            if run.finish(ended) {
                background.spawn(keys.store_responses());
            }
            Ok(Once::Executed(response))
        };
        self.background_work().run(work).await
    }
}

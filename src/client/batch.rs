//! Batches: operations that are executed together.

use ring::rand::{SecureRandom, SystemRandom};

use super::{
    blocking::{Client, JSON},
    error::{ClientError, Problem},
    http1::Request,
};
use crate::model::Reason;

/// The header of an idempotency key.
const KEY: &str = "idempotency-key";

impl Client {
    /// Executes the operations of a batch, the body of `POST /v1/batch` as JSON, and returns the result as
    /// JSON: [`Applied`](super::Applied). A batch of which an operation fails is an error: see
    /// [`Problem::applied`](super::Problem::applied).
    ///
    /// It has an idempotency key: if the response is lost, the batch is sent once more, and is not executed
    /// twice. A daemon without a store accepts no keys. Then it is sent without, and not repeated.
    pub fn apply_batch_json(&self, batch: &[u8], dry_run: bool) -> Result<Vec<u8>, ClientError> {
        let path = match dry_run {
            true => "/v1/batch?dry_run=true",
            false => "/v1/batch",
        };
        let send = |headers: &[(&'static str, String)]| {
            let request = Request {
                method: "POST",
                path,
                accept: JSON,
                headers,
                body: Some((JSON, batch)),
            };
            self.fetch(&request, self.deadline()).map(|(json, _)| json)
        };
        let Some(key) = random_key().filter(|_| !dry_run) else {
            return send(&[]);
        };
        let headers = [(KEY, key)];
        match send(&headers) {
            Err(ClientError::Refused(problem)) if refuses_keys(&problem) => send(&[]),
            // If the second attempt fails, what became of the first is still unknown.
            Err(first) if first.is_lost() => match send(&headers) {
                Err(ClientError::Refused(problem)) if is_outcome(&problem) => {
                    Err(ClientError::Refused(problem))
                }
                again => again.map_err(|_| first),
            },
            result => result,
        }
    }
}

/// Whether the daemon has no store, and has changed nothing.
fn refuses_keys(problem: &Problem) -> bool {
    problem.status == http::StatusCode::SERVICE_UNAVAILABLE
        && problem.reason.known() == Some(Reason::StoreUnavailable)
}

/// Whether this is what became of the request, and not of its repetition.
fn is_outcome(problem: &Problem) -> bool {
    let reason = problem.reason.known();
    reason != Some(Reason::IdempotencyInProgress) && reason != Some(Reason::RateLimited)
}

/// A key that no other request has; `None` if the system gives no random bytes.
fn random_key() -> Option<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bytes)))
}

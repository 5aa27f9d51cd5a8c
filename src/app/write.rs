//! The path of every write.

use std::{error::Error as _, fmt};

use super::RequestContext;
use crate::{
    executor::{Write, Writer},
    model::{Error, Op, ServiceKey},
};

/// The only holder of the executor's [`Writer`]. Its field is private to this file, so no other
/// code can execute a change.
#[derive(Clone, Debug)]
pub(super) struct WritePath {
    writer: Writer,
}

/// Names of operations, for the log: `create_service create_server*3`.
struct Summary(Vec<&'static str>);

// === impl WritePath ===

impl WritePath {
    pub(super) fn new(writer: Writer) -> Self {
        Self { writer }
    }

    /// Executes a change on behalf of the request's principal, or plans it if the request is a dry
    /// run, and logs the outcome. The span of the request adds its peer and its id.
    pub(super) async fn execute<W: Write>(
        &self,
        context: &RequestContext,
        write: W,
    ) -> Result<W::Outcome, Error> {
        let service = write.service();
        let outcome = self
            .writer
            .write(write, context.deadline, context.dry_run)
            .await;
        let principal = &context.principal;
        let dry_run = context.dry_run;
        match &outcome {
            Ok(outcome) => tracing::info!(
                %principal,
                dry_run,
                service = service
                    .or_else(|| common_service(W::ops(outcome)))
                    .map(tracing::field::display),
                rejected = Some(W::rejected(outcome)).filter(|count| *count > 0),
                operations = %Summary(W::ops(outcome).map(Op::name).collect()),
                "write"
            ),
            Err(error) => tracing::info!(
                %principal,
                dry_run,
                service = service.map(tracing::field::display),
                reason = error.reason.as_str(),
                %error,
                cause = error.source().map(tracing::field::display),
                "write failed"
            ),
        }
        outcome
    }
}

/// The service of the operations, if all are about the same one.
fn common_service<'a>(ops: impl Iterator<Item = &'a Op>) -> Option<ServiceKey> {
    let mut services = ops.map(Op::service);
    let first = services.next()??;
    services
        .all(|service| service == Some(first))
        .then_some(first)
}

// === impl Summary ===

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, run) in self.0.chunk_by(|a, b| a == b).enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            if let Some(name) = run.first() {
                f.write_str(name)?;
            }
            if run.len() > 1 {
                write!(f, "*{}", run.len())?;
            }
        }
        Ok(())
    }
}

//! Batches: operations that are planned, decided about and executed together.

mod plan;
mod request;

use std::time::Instant;

use super::{
    App, RequestContext,
    operations::{ApplyReport, Execution, Order},
    tables::refuse_protected,
};
use crate::{
    executor::TableQuery,
    identity::Verb,
    model::{BatchDraft, Error, Reason},
};

impl App {
    /// Executes operations in their order. All are planned from one read of the table, each with the effect of
    /// those before it, and decided about together: if one is invalid, not possible or not permitted, nothing
    /// is changed. Once it has begun, it runs to its end.
    ///
    /// The report of a batch that failed has its [`failure`](ApplyReport::failure). An error says that nothing
    /// was changed.
    pub async fn apply_batch(
        &self,
        context: &RequestContext,
        draft: BatchDraft,
    ) -> Result<ApplyReport, Error> {
        let RequestContext {
            principal, dry_run, ..
        } = context;
        let decided = |decision| self.recorded(context, Verb::ApplyBatch, None, decision);
        decided(principal.may(Verb::ApplyBatch, None, *dry_run))?;
        let timeout = context.deadline.saturating_duration_since(Instant::now());
        let on_failure = draft.on_failure.unwrap_or_default();
        let requested = request::checked(draft)?;
        // Before the read, so that no error is about a service that the principal may not read.
        let needed = requested.iter().map(|one| (one.verb(), Some(one.service)));
        decided(principal.may_all(needed, *dry_run))?;
        let lock = self.lock_table(context).await?;
        let table = self.run_query(context, TableQuery).await?.value;
        let planned = plan::plan(&requested, &table, context.deadline);
        let (steps, counts) = match planned {
            Err(error) if context.resumed => plan::rest(&requested, &table).map_err(|_| error)?,
            planned => planned?,
        };
        drop((table, requested));
        let planned = steps.iter().map(|step| (&step.op, step.before.as_ref()));
        decided(principal.may_execute(planned, *dry_run))?;
        let protected = self.tables.protected();
        decided(refuse_protected(
            &protected,
            steps.iter().map(|step| &step.op),
        ))?;
        let mut report = ApplyReport::planned(context, &steps, counts.into());
        if *dry_run || steps.is_empty() {
            return Ok(report);
        }
        let running = report.running();
        let mut execution = Execution::new(self, context, timeout);
        execution.verb = Verb::ApplyBatch;
        execution.ends_holds = true;
        let run = async move {
            let outcome = execution.execute(&steps, Order::OneByOne, on_failure, &mut report);
            report.outcome = outcome.await;
            report.failure = match execution.is_stopped {
                true => Some(stopped()),
                false => report.failed(),
            };
            let Execution { app, context, .. } = execution;
            app.record_applied(&context, Verb::ApplyBatch, &report);
            Ok(report)
        };
        self.run_until_deadline(context, running, lock, run).await
    }
}

/// The error of a batch that the end of the daemon has stopped.
fn stopped() -> Error {
    let detail = "the daemon ends before the batch has ended: see operations";
    Error::new(Reason::Internal, detail).with_hint("read the services when it runs again")
}

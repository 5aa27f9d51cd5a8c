//! Executes operations in parts, so that other requests run in between.

use std::time::{Duration, Instant};

use super::step::PlannedStep;
use crate::{
    app::{
        App, RequestContext,
        holds::TableDrains,
        restore::{FIRST_CHUNK, next_size},
    },
    executor::{CommandList, CommandResult, CommandResults},
    identity::Verb,
    model::{Error, HoldId, Op, Reason},
};

/// Executes operations on behalf of an apply.
pub(in crate::app) struct Execution {
    pub app: App,
    pub context: RequestContext,
    /// How long each part may take.
    pub timeout: Duration,
    /// What the audit trail names a part that fails as a whole.
    pub verb: Verb,
    /// Whether a weight that changes ends the drain or ramp of its server.
    pub ends_holds: bool,
    /// How servers are drained before they are deleted, if they are.
    pub drains: Option<TableDrains>,
    /// Whether the end of the daemon has stopped it.
    pub is_stopped: bool,
}

// === impl Execution ===

impl Execution {
    /// Of an apply of a table. Nothing is executed yet. Drains and ramps go on.
    pub fn new(app: &App, context: &RequestContext, timeout: Duration) -> Self {
        Self {
            app: app.clone(),
            context: context.clone(),
            timeout,
            verb: Verb::ApplyTable,
            ends_holds: false,
            drains: None,
            is_stopped: false,
        }
    }

    /// Executes steps in order. Returns the results of those that were sent: fewer than steps if it
    /// stopped. With `stop_on_error`, it stops at the first failure, else after the part with it unless
    /// `goes_on`. A part does not extend beyond the first `making` steps, so that nothing is deleted after a
    /// failure to create.
    pub async fn run(
        &mut self,
        steps: &[PlannedStep],
        making: usize,
        stop_on_error: bool,
        goes_on: bool,
    ) -> Vec<CommandResult> {
        let mut results: Vec<CommandResult> = Vec::with_capacity(steps.len());
        let mut size = FIRST_CHUNK;
        while let Some(rest) = steps.get(results.len()..).filter(|rest| !rest.is_empty()) {
            let creations = making.saturating_sub(results.len());
            let end = match creations {
                0 => size,
                _ => size.min(creations),
            };
            let part = rest.get(..end).unwrap_or(rest);
            let changes = part
                .iter()
                .map(|step| (step.op.clone(), step.before.clone()));
            match self.part(changes.collect(), stop_on_error).await {
                Ok(part) => {
                    results.extend(part.results);
                    size = next_size(size, part.took);
                    if let Some(error) = part.interruption {
                        results.push(CommandResult::Refused(error));
                        break;
                    }
                }
                Err(error) => {
                    results.push(CommandResult::Refused(error));
                    break;
                }
            }
            let failed = |result: &CommandResult| *result != CommandResult::Done;
            if !goes_on && results.iter().any(failed) {
                break;
            }
        }
        results.truncate(steps.len());
        results
    }

    /// Executes operations that undo others. Returns how each ended.
    pub async fn undo(&mut self, ops: Vec<Op>) -> Vec<CommandResult> {
        let mut results = Vec::with_capacity(ops.len());
        let mut ops = ops.into_iter().peekable();
        let mut size = FIRST_CHUNK;
        while ops.peek().is_some() {
            let changes: Vec<_> = ops.by_ref().take(size).map(|op| (op, None)).collect();
            let count = changes.len();
            let error = match self.part(changes, false).await {
                Ok(part) => {
                    size = next_size(size, part.took);
                    let missing = count - part.results.len().min(count);
                    results.extend(part.results);
                    part.interruption.map(|error| (error, missing))
                }
                Err(error) => Some((error, count)),
            };
            if let Some((error, missing)) = error {
                let failed = CommandResult::Refused(error);
                results.extend(std::iter::repeat_n(failed, missing));
            }
        }
        results
    }

    /// Begins the drains of steps: of all or of none.
    pub async fn begin_drains(&mut self, steps: &[PlannedStep]) -> Vec<Result<HoldId, Error>> {
        let server = |step: &PlannedStep| match (&step.op, &step.before) {
            (Op::DeleteServer(service, server), Some(Op::CreateServer(.., config))) => {
                Some((*service, *server, config.weight))
            }
            _ => None,
        };
        let servers: Vec<_> = steps.iter().filter_map(server).collect();
        self.context.deadline = Instant::now() + self.timeout;
        let begun = match &self.drains {
            Some(of) => {
                let begun = self.app.begin_table_drains(&self.context, of, &servers);
                begun.await
            }
            None => Ok(Vec::new()),
        };
        match begun {
            Ok(drains) => drains.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); steps.len()],
        }
    }

    async fn part(
        &mut self,
        changes: Vec<(Op, Option<Op>)>,
        stop_on_error: bool,
    ) -> Result<CommandResults, Error> {
        if self.app.background_work().is_stopping() {
            self.is_stopped = true;
            return Err(Error::new(Reason::Internal, "the daemon is ending"));
        }
        self.context.deadline = Instant::now() + self.timeout;
        let list = CommandList::with_undo(changes, stop_on_error).named(self.verb.as_str());
        let list = match self.ends_holds {
            true => list,
            false => list.keeping_holds(),
        };
        self.app.run_decided(&self.context, list).await
    }
}

//! Restores: commands of a text, or the difference between the table and a text, executed in parts in
//! a task that does not end with its request.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::Stream;
use tokio::sync::mpsc;

use super::{
    App, RequestContext,
    attempt::event,
    rules_text::{Command, RulesText},
    tables::refuse_protected,
    write::TableLock,
};
use crate::{
    audit::{Changes, Event, Outcome},
    budget::Charged,
    executor::{CommandList, CommandResult, Table, TableQuery},
    ipvsadm,
    model::{Change, DiffCounts, Error, Op, Owner, Progress, Reason, TargetService, diff},
};

/// The progress of a restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreEvent {
    /// Commands were executed.
    Progress {
        /// Number of commands so far.
        done: usize,
        /// Number of commands in total.
        total: usize,
    },
    /// The kernel rejected a command, which changed nothing.
    Refused {
        /// Line of the text, from 1; 0 for a command that is not in the text.
        line: usize,
        /// The command, in canonical spelling.
        command: String,
        /// Why.
        error: Error,
    },
    /// The restore has ended.
    End(RestoreSummary),
}

/// The outcome of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Commands of the text; of a replacement, those of the difference.
    pub commands: usize,
    /// Commands that succeeded.
    pub done: usize,
    /// Commands that the kernel rejected.
    pub refused: usize,
    /// The difference, for a replacement.
    pub difference: Option<DiffCounts>,
    /// The owners of tables under repair that are only reported from now on, because the table was cleared.
    pub reconcile_suspended: BTreeSet<Owner>,
}

/// Events of a restore. Dropping the stream does not end the restore.
#[derive(Debug)]
pub struct RestoreStream {
    events: mpsc::Receiver<Result<RestoreEvent, Error>>,
}

/// What a restore does.
#[derive(Debug)]
pub(super) enum Work {
    /// Executes the commands of a text in order.
    Commands {
        text: RulesText,
        /// Number of commands.
        commands: usize,
        /// Whether the table is cleared first.
        clear: bool,
    },
    /// Makes the table, as it was read, equal to the target.
    Difference(Arc<Table>, Charged<Vec<TargetService>>),
}

/// A restore in progress.
pub(super) struct Restore {
    app: App,
    context: RequestContext,
    /// How long each part may take.
    timeout: Duration,
    stop_on_error: bool,
    /// Commands to execute, including a clear that is not in the text.
    total: usize,
    /// Commands executed or rejected so far.
    executed: usize,
    summary: RestoreSummary,
    unknown_lines: Vec<usize>,
    /// Why the kernel rejected the first command that it rejected.
    refusal: Option<Reason>,
    /// Whether another read and difference follow, which makes up for what another program did.
    repeats: bool,
    /// Commands of this difference that failed because another program changed the object.
    outdated: usize,
    /// When the next progress is reported; `None` before the first.
    next_progress: Option<Instant>,
    events: mpsc::Sender<Result<RestoreEvent, Error>>,
    logged: bool,
}

/// Commands per request to the executor, at first and at most. Other requests run in between; the
/// kernel needs microseconds for most commands, but milliseconds in a service with very many servers.
///
/// A text whose edits are decided in the executor is one part, so that it is refused as a whole.
pub(super) const FIRST_CHUNK: usize = CommandList::MAX_READ;
const MAX_CHUNK: usize = 2048;
/// Time that a request to the executor should take. Changes and short reads wait for one part. A list
/// waits for one at most at the beginning and at the end of each of its dumps.
const CHUNK_TIME: Duration = Duration::from_millis(10);
/// Time between two reports of progress: each wakes the client.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Events that wait for a slow receiver.
const MAX_EVENTS: usize = 64;
/// Differences that a replacement computes at most, if other programs keep changing the table.
const MAX_DIFFERENCES: usize = 3;

// === impl Restore ===

impl Restore {
    /// Starts a restore. It holds `lock` until its end.
    pub(super) fn start(
        app: &App,
        context: &RequestContext,
        timeout: Duration,
        stop_on_error: bool,
        work: Work,
        lock: Option<TableLock>,
    ) -> RestoreStream {
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let mut restore = Self {
            app: app.clone(),
            context: context.clone(),
            timeout,
            stop_on_error,
            total: 0,
            executed: 0,
            summary: RestoreSummary::default(),
            unknown_lines: Vec::new(),
            refusal: None,
            repeats: false,
            outdated: 0,
            next_progress: None,
            events: sender,
            logged: false,
        };
        app.background_work().spawn(async move {
            let tables = restore.app.tables.clone();
            // What clears the table holds the lock.
            let repaired = lock.as_ref().map(|_| tables.repairing_owners());
            let end = restore.run(work).await;
            if let Some(repaired) = repaired {
                restore.summary.reconcile_suspended = &repaired - &tables.repairing_owners();
            }
            drop(lock);
            restore.log(end.as_ref().err());
            let last = end.map(|()| RestoreEvent::End(restore.summary.clone()));
            restore.send(last).await;
        });
        RestoreStream { events }
    }

    async fn run(&mut self, work: Work) -> Result<(), Error> {
        match work {
            Work::Commands {
                text,
                commands,
                clear,
            } => {
                self.total = commands + usize::from(clear);
                self.summary.commands = commands;
                let clear = clear.then_some(Command {
                    line: 0,
                    op: Op::Clear,
                });
                let all = clear.into_iter().chain(text.commands());
                self.execute(all).await.map(drop)
            }
            Work::Difference(table, target) => self.replace(table, &target).await,
        }
    }

    /// Makes the table equal to the target. If the kernel rejects a creation or an edit, nothing is
    /// deleted, so that no traffic is lost.
    async fn replace(
        &mut self,
        mut table: Arc<Table>,
        target: &[TargetService],
    ) -> Result<(), Error> {
        for attempt in 1..=MAX_DIFFERENCES {
            let difference = diff(table.iter(), target);
            drop(table);
            self.summary.difference.get_or_insert(difference.counts);
            let make = commands(difference.make);
            let remove = commands(difference.remove);
            let protected = self.app.tables.protected();
            let ops = make.iter().chain(&remove).map(|command| &command.op);
            refuse_protected(&protected, ops).map_err(|error| self.interrupted(error))?;
            self.total = self.executed + make.len() + remove.len();
            self.summary.commands = self.total;
            self.repeats = attempt < MAX_DIFFERENCES;
            self.outdated = 0;
            let refused = self.summary.refused;
            let goes_on = self.execute(make.into_iter()).await?;
            if goes_on && self.summary.refused == refused && self.outdated == 0 {
                self.execute(remove.into_iter()).await?;
            }
            if self.outdated == 0 {
                break;
            }
            self.context.deadline = Instant::now() + self.timeout;
            table = self.app.read(&self.context, TableQuery).await?.value;
        }
        Ok(())
    }

    /// Executes commands in parts. Returns whether all were tried.
    async fn execute(
        &mut self,
        mut commands: impl Iterator<Item = Command>,
    ) -> Result<bool, Error> {
        let mut size = FIRST_CHUNK;
        loop {
            let chunk = commands.by_ref().take(size);
            let (lines, ops): (Vec<_>, Vec<_>) = chunk.map(|next| (next.line, next.op)).unzip();
            if ops.is_empty() {
                return Ok(true);
            }
            if self.app.background_work().is_stopping() {
                let error = Error::new(Reason::Internal, "the daemon is ending");
                return Err(self.interrupted(error));
            }
            let list = CommandList::new(ops, self.stop_on_error);
            self.context.deadline = Instant::now() + self.timeout;
            let outcome = self.app.run_write(&self.context, list).await;
            let outcome = outcome.map_err(|error| self.interrupted(error))?;
            size = next_size(size, outcome.took);
            if self.context.dry_run {
                continue;
            }
            self.executed += outcome.results.len();
            let refused = self.summary.refused;
            let commands = lines.into_iter().zip(&outcome.ops);
            for ((line, op), result) in commands.zip(outcome.results) {
                self.count(line, op, result).await;
            }
            if let Some(error) = outcome.interruption {
                return Err(self.interrupted(error));
            }
            self.report_progress().await;
            if self.stop_on_error && self.summary.refused > refused {
                return Ok(false);
            }
        }
    }

    /// Reports how far the restore is, if the last report is some time ago. The first part and the last
    /// are always reported.
    async fn report_progress(&mut self) {
        let now = Instant::now();
        if self.executed < self.total && self.next_progress.is_some_and(|next| now < next) {
            return;
        }
        self.next_progress = Some(now + PROGRESS_INTERVAL);
        let progress = RestoreEvent::Progress {
            done: self.executed,
            total: self.total,
        };
        self.send(Ok(progress)).await;
    }

    /// Counts a result and reports a failure.
    async fn count(&mut self, line: usize, op: &Op, result: CommandResult) {
        let replaces = self.summary.difference.is_some();
        match result {
            CommandResult::Done => {
                self.summary.done += usize::from(line != 0 || replaces);
            }
            CommandResult::Unknown(_) => self.unknown_lines.push(line),
            CommandResult::Refused(error) if self.repeats && error.contradicts_read() => {
                self.outdated += 1;
                self.executed -= 1;
            }
            CommandResult::Refused(error) => {
                self.summary.refused += 1;
                self.refusal.get_or_insert(error.reason);
                let mut text = Vec::new();
                // Writing into memory does not fail.
                drop(ipvsadm::write_op(&mut text, op));
                let refused = RestoreEvent::Refused {
                    line,
                    command: String::from_utf8_lossy(&text).trim_end().to_owned(),
                    error,
                };
                self.send(Ok(refused)).await;
            }
        }
    }

    /// The error for a restore that ends before its end: how far it came.
    fn interrupted(&self, mut error: Error) -> Error {
        let RestoreSummary {
            commands,
            done,
            refused,
            ..
        } = self.summary;
        let unknown_lines = self.unknown_lines.clone();
        let unknown = match unknown_lines.as_slice() {
            [] => String::new(),
            [0] => " and one of unknown outcome".to_owned(),
            [line] => format!(" and one of unknown outcome, line {line}"),
            [first, .., last] => format!(
                " and {} of unknown outcome, lines {first} to {last}",
                unknown_lines.len()
            ),
        };
        let counts = executed(commands, done, refused);
        if done + refused + unknown_lines.len() == 0 {
            error.detail += "; no command was executed";
        } else {
            error.detail = format!("interrupted: {counts}{unknown}; {}", error.detail);
            error.hint = Some(
                "read the table to see its state; do not repeat the text as it is: commands that \
                 were executed would be refused or executed twice. A replacement (PUT /v1/rules) \
                 can be repeated, because it executes only what is missing"
                    .to_owned(),
            );
        }
        error.with_progress(Progress {
            commands,
            done,
            refused,
            unknown_lines,
        })
    }

    /// Sends an event. The receiver may be gone. One that does not read delays the restore until its
    /// connection is closed (`limits.write_timeout`).
    async fn send(&self, event: Result<RestoreEvent, Error>) {
        drop(self.events.send(event).await);
    }

    fn log(&mut self, error: Option<&Error>) {
        self.logged = true;
        let RestoreSummary {
            commands,
            done,
            refused,
            ..
        } = self.summary;
        let principal = &self.context.principal;
        let dry_run = self.context.dry_run;
        self.record(error);
        let client_gone = self.events.is_closed();
        self.context.span.in_scope(|| match error {
            None => tracing::info!(
                %principal, dry_run, commands, done, refused, client_gone, "restore ended"
            ),
            Some(error) => tracing::warn!(
                %principal, dry_run, commands, done, refused, client_gone,
                unknown_lines = ?self.unknown_lines,
                reason = error.reason.as_str(),
                %error,
                "restore interrupted"
            ),
        });
    }

    /// Records the end in the audit trail. The parts have records of their own. A text that is refused when
    /// the state in the kernel is read has been recorded as such.
    fn record(&self, error: Option<&Error>) {
        let RestoreSummary {
            commands,
            done,
            refused,
            difference,
            ..
        } = self.summary;
        let reason = error.map(|error| error.reason).or(self.refusal);
        let is_refused = self.executed == 0 && Outcome::of(reason).is_refusal();
        if self.context.dry_run || is_refused {
            return;
        }
        let operation = match difference {
            Some(_) => "replace_rules",
            None => "restore_rules",
        };
        let is_unknown = !self.unknown_lines.is_empty();
        self.app.audit_log().record(Event {
            changes: Changes::Restore {
                commands,
                done,
                refused,
            },
            outcome: match (error, refused) {
                (None, 0) => Outcome::Success,
                _ if done > 0 => Outcome::Partial,
                _ if is_unknown => Outcome::Unknown,
                _ => Outcome::Failure,
            },
            reason,
            ..event(&self.context, operation.into())
        });
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if !self.logged {
            let error = Error::new(Reason::Internal, "the daemon has ended");
            self.log(Some(&self.interrupted(error)));
        }
    }
}

/// The number of commands of the next part, after one of `size` commands.
pub(super) fn next_size(size: usize, took: Duration) -> usize {
    let fitting =
        size as f64 * CHUNK_TIME.as_secs_f64() / took.as_secs_f64().max(f64::MIN_POSITIVE);
    // Saturates.
    (fitting as usize).min(2 * size).clamp(1, MAX_CHUNK)
}

/// `2 of 3 commands were executed, 1 was refused`.
pub fn executed(commands: usize, done: usize, refused: usize) -> String {
    let were = |count| if count == 1 { "was" } else { "were" };
    format!(
        "{done} of {commands} commands {} executed, {refused} {} refused",
        were(done),
        were(refused)
    )
}

fn commands(changes: Vec<Change>) -> Vec<Command> {
    let command = |change: Change| Command {
        line: change.origin.unwrap_or_default(),
        op: change.op,
    };
    changes.into_iter().map(command).collect()
}

// === impl RestoreStream ===

impl Stream for RestoreStream {
    type Item = Result<RestoreEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_the_parts_follows_the_time_that_they_take() {
        let ms = Duration::from_millis;
        assert_eq!(next_size(64, ms(1)), 128, "no more than twice as many");
        assert_eq!(next_size(64, Duration::ZERO), 128);
        assert_eq!(next_size(2048, ms(1)), MAX_CHUNK);
        assert_eq!(next_size(64, ms(20)), 32);
        assert_eq!(next_size(64, ms(640)), 1);
        assert_eq!(next_size(1, Duration::from_secs(60)), 1);
    }
}

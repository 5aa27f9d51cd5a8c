//! The table as text in ipvsadm's language: saving and restoring.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::Stream;
use tokio::sync::mpsc;

use super::{Answer, App, RequestContext, info::ipvs_version};
use crate::{
    executor::{CommandList, InfoQuery, TableQuery},
    ipvsadm::{self, CommandLine, Lines, ListFormat, Numeric, Order, ParseError},
    model::{Error, Op, Reason, Violation},
};

/// How to restore a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Clear the table first (ipvsadm-restore).
    pub clear: bool,
    /// Stop after the first command that the kernel rejects. Otherwise continue, like ipvsadm -R.
    pub stop: bool,
}

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
        /// Line of the text, from 1.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Commands in the text.
    pub commands: usize,
    /// Commands that succeeded.
    pub done: usize,
    /// Commands that the kernel rejected.
    pub refused: usize,
}

/// Events of a restore. Dropping the stream ends the restore after the current commands.
#[derive(Debug)]
pub struct RestoreStream {
    events: mpsc::Receiver<Result<RestoreEvent, Error>>,
}

/// A command of a text.
#[derive(Clone, Debug)]
struct Command {
    line: usize,
    op: Op,
}

/// A restore in progress.
struct Restore {
    app: App,
    context: RequestContext,
    /// How long each chunk of commands may take.
    timeout: Duration,
    total: usize,
    summary: RestoreSummary,
    /// Whether the first command is a clear that is not in the text.
    clears: bool,
    events: mpsc::Sender<Result<RestoreEvent, Error>>,
}

/// Commands per request to the executor: enough to fill batches, few enough that other requests run
/// in between.
const CHUNK: usize = 1024;
/// Invalid lines that an error reports.
const MAX_VIOLATIONS: usize = 100;
/// Events that wait for a slow receiver.
const MAX_EVENTS: usize = 64;

// === impl App ===

impl App {
    /// The table as command lines, numeric (ipvsadm -S -n).
    pub async fn save_rules(
        &self,
        context: &RequestContext,
        order: Order,
    ) -> Result<Answer<Vec<u8>>, Error> {
        let table = Answer::from(self.read(context, TableQuery).await?);
        let mut text = Vec::new();
        ipvsadm::write_rules(&mut text, &table.value, order, &Numeric).map_err(|error| {
            Error::new(Reason::Internal, "the text cannot be written").with_source(error)
        })?;
        Ok(table.map(|_| text))
    }

    /// The table in columns (ipvsadm -L), always numeric.
    pub async fn listing(
        &self,
        context: &RequestContext,
        format: ListFormat,
    ) -> Result<Answer<Vec<u8>>, Error> {
        let info = self.read(context, InfoQuery).await?.value;
        let table = Answer::from(self.read(context, TableQuery).await?);
        let mut text = Vec::new();
        ipvsadm::write_version(&mut text, &ipvs_version(info), info.connection_table_size)
            .and_then(|()| ipvsadm::write_list(&mut text, &table.value, format, &Numeric))
            .map_err(|error| {
                Error::new(Reason::Internal, "the text cannot be written").with_source(error)
            })?;
        Ok(table.map(|_| text))
    }

    /// Executes the commands of a text (ipvsadm -R). The whole text is checked before the first
    /// command; a command that the kernel rejects reverts nothing.
    pub async fn restore_rules(
        &self,
        context: &RequestContext,
        text: &str,
        options: RestoreOptions,
    ) -> Result<RestoreStream, Error> {
        let mut commands = parse(text)?;
        if options.clear {
            let op = Op::Clear;
            commands.insert(0, Command { line: 0, op });
        }
        if !context.dry_run {
            // Without IPVS every command would fail alike.
            self.read(context, InfoQuery).await?;
        }
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let mut restore = Restore {
            app: self.clone(),
            context: context.clone(),
            timeout: context.deadline.saturating_duration_since(Instant::now()),
            total: commands.len(),
            summary: RestoreSummary {
                commands: commands.len() - usize::from(options.clear),
                ..RestoreSummary::default()
            },
            clears: options.clear,
            events: sender,
        };
        let span = tracing::Span::current();
        let task = async move {
            let end = restore.run(commands, options.stop).await;
            let last = end.map(|()| RestoreEvent::End(restore.summary));
            // The receiver may be gone.
            drop(restore.events.send(last).await);
        };
        tokio::spawn(tracing::Instrument::instrument(task, span));
        Ok(RestoreStream { events })
    }
}

/// All commands of a text, or everything that is invalid in it.
fn parse(text: &str) -> Result<Vec<Command>, Error> {
    let mut commands = Vec::new();
    let mut violations = Vec::new();
    let mut more = 0;
    for line in Lines::new(text) {
        let number = line.number;
        let message = match ipvsadm::parse("ipvsadm", &line.words, &Numeric) {
            Ok(CommandLine::Change(op)) => {
                commands.push(Command { line: number, op });
                continue;
            }
            Ok(_) => "only commands that change the table are allowed here".to_owned(),
            Err(ParseError::TryHelp { .. }) => {
                "does not start with a command such as -A or -a; comments are not supported"
                    .to_owned()
            }
            Err(error @ (ParseError::ServiceAddress | ParseError::ServerAddress)) => {
                format!("{error}; the client resolves names, the server does not")
            }
            Err(error) => error.to_string().trim_end().to_owned(),
        };
        if violations.len() < MAX_VIOLATIONS {
            violations.push(Violation::new(format!("lines[{number}]"), message));
        } else {
            more += 1;
        }
    }
    if violations.is_empty() {
        return Ok(commands);
    }
    let mut error = Error::from_violations(violations);
    if more > 0 {
        error.detail += &format!("; and {more} more");
    }
    Err(error.with_hint("lines are counted from 1; nothing was changed"))
}

// === impl Restore ===

impl Restore {
    async fn run(&mut self, commands: Vec<Command>, stop: bool) -> Result<(), Error> {
        let mut done = 0;
        for chunk in commands.chunks(CHUNK) {
            let list = CommandList {
                ops: chunk.iter().map(|command| command.op.clone()).collect(),
                stop_on_error: stop,
            };
            self.context.deadline = Instant::now() + self.timeout;
            let results = self.app.write(&self.context, list).await?.results;
            if self.context.dry_run {
                continue;
            }
            done += results.len();
            let stopped = stop && results.iter().any(Result::is_err);
            for (command, result) in chunk.iter().zip(results) {
                if !self.count(command, result).await {
                    return Ok(());
                }
            }
            let progress = RestoreEvent::Progress {
                done,
                total: self.total,
            };
            if stopped || self.events.send(Ok(progress)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Counts a result and reports a failure. Returns whether the receiver still exists.
    async fn count(&mut self, command: &Command, result: Result<(), Error>) -> bool {
        let Err(error) = result else {
            self.summary.done += usize::from(command.line != 0 || !self.clears);
            return true;
        };
        self.summary.refused += 1;
        let mut text = Vec::new();
        // Writing into memory does not fail.
        drop(ipvsadm::write_op(&mut text, &command.op));
        let refused = RestoreEvent::Refused {
            line: command.line,
            command: String::from_utf8_lossy(&text).trim_end().to_owned(),
            error,
        };
        self.events.send(Ok(refused)).await.is_ok()
    }
}

// === impl RestoreStream ===

impl Stream for RestoreStream {
    type Item = Result<RestoreEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(cx)
    }
}

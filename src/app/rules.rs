//! The table as text in ipvsadm's language, out and in.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::Stream;
use tokio::sync::mpsc;

use super::{Answer, App, RequestContext};
use crate::{
    executor::{Batch, Executor},
    ipvsadm::{self, CommandLine, Lines, ListFormat, Numeric, Order, ParseError},
    model::{Error, Op, Query, Reason, Violation},
};

/// How a text is to be carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// Clears the table first (ipvsadm-restore).
    pub clear: bool,
    /// Ends at the first command that the kernel refuses; else goes on, as ipvsadm -R does.
    pub stop: bool,
    /// Only checks the text.
    pub check_only: bool,
}

/// What happens while a text is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreEvent {
    /// So many commands have been tried.
    Progress {
        /// How many.
        done: usize,
        /// Of how many.
        total: usize,
    },
    /// The kernel refused a command, and changed nothing for it.
    Refused {
        /// Its line, from 1.
        line: usize,
        /// The command, in its plain spelling.
        command: String,
        /// Why.
        error: Error,
    },
    /// All is done, or the first refusal ended it.
    End(RestoreSummary),
}

/// What came of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Commands in the text.
    pub commands: usize,
    /// Those that were carried out.
    pub done: usize,
    /// Those that the kernel refused.
    pub refused: usize,
}

/// Events as they come. Dropping it ends the work after the commands at hand.
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

/// Commands that go to the executor at a time: enough to be packed well, few enough that others get
/// their turn in between.
const CHUNK: usize = 1024;
/// Faulty lines that are told at a time.
const MOST_FAULTS: usize = 100;
/// Events that wait for a slow reader.
const EVENTS: usize = 64;

// === impl App ===

impl App {
    /// The table as command lines, numeric (ipvsadm -S -n).
    pub async fn save_rules(
        &self,
        context: &RequestContext,
        order: Order,
    ) -> Result<Answer<Vec<u8>>, Error> {
        let table = self.table(context).await?;
        let mut text = Vec::new();
        ipvsadm::write_rules(&mut text, &table.value, order, &Numeric)
            .map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
        Ok(table.map(|_| text))
    }

    /// The table in columns (ipvsadm -L), numeric whatever the format says.
    pub async fn listing(
        &self,
        context: &RequestContext,
        format: ListFormat,
    ) -> Result<Answer<Vec<u8>>, Error> {
        let info = self.info_of_kernel(context).await?.value;
        let table = self.table(context).await?;
        let mut text = Vec::new();
        let (major, minor, patch) = info.version;
        let version = format!("{major}.{minor}.{patch}");
        ipvsadm::write_version(&mut text, &version, info.connection_table_size)
            .and_then(|()| ipvsadm::write_list(&mut text, &table.value, format, &Numeric))
            .map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
        Ok(table.map(|_| text))
    }

    /// Carries out a text of command lines (ipvsadm -R). The whole text is checked before the first
    /// command; one that the kernel refuses later undoes nothing.
    pub async fn restore_rules(
        &self,
        context: &RequestContext,
        text: &str,
        options: RestoreOptions,
    ) -> Result<RestoreStream, Error> {
        let mut commands = check(text)?;
        if options.clear {
            commands.insert(
                0,
                Command {
                    line: 0,
                    op: Op::Clear,
                },
            );
        }
        if !options.check_only {
            // Without IPVS one refusal says it all.
            self.ask(context, Query::Info, |_| Some(())).await?;
        }
        let (sender, events) = mpsc::channel(EVENTS);
        let work = Work {
            executor: self.executor.clone(),
            total: commands.len(),
            summary: RestoreSummary {
                commands: commands.len() - usize::from(options.clear),
                ..RestoreSummary::default()
            },
            cleared: options.clear,
            // Each chunk may take as long as a request of its own.
            patience: context.deadline.saturating_duration_since(Instant::now()),
            sender,
        };
        tokio::spawn(async move {
            let mut work = work;
            let end = match options.check_only {
                true => Ok(()),
                false => work.run(commands, options.stop).await,
            };
            let last = end.map(|()| RestoreEvent::End(work.summary));
            // Who read may have gone.
            drop(work.sender.send(last).await);
        });
        Ok(RestoreStream { events })
    }
}

/// All commands of a text, or all that is wrong with it.
fn check(text: &str) -> Result<Vec<Command>, Error> {
    let mut commands = Vec::new();
    let mut faults = Vec::new();
    let mut more = 0;
    for line in Lines::new(text) {
        let fault = match ipvsadm::parse("ipvsadm", &line.words, &Numeric) {
            Ok(CommandLine::Change(op)) => {
                commands.push(Command {
                    line: line.number,
                    op,
                });
                continue;
            }
            Ok(_) => "only commands that change something are taken here".to_owned(),
            Err(ParseError::TryHelp { .. }) => {
                "is no command: the first word must be one, such as -A or -a; there are no comments"
                    .to_owned()
            }
            Err(error @ (ParseError::ServiceAddress | ParseError::ServerAddress)) => {
                format!("{error}; names are resolved by the client, not here")
            }
            Err(error) => error.to_string().trim_end().to_owned(),
        };
        if faults.len() < MOST_FAULTS {
            faults.push(Violation::new(format!("lines[{}]", line.number), fault));
        } else {
            more += 1;
        }
    }
    if faults.is_empty() {
        return Ok(commands);
    }
    let mut error = Error::from_violations(faults);
    if more > 0 {
        error.detail += &format!("; and {more} more");
    }
    Err(error.with_hint("lines are counted from 1; nothing was changed"))
}

// === impl Work ===

/// A text on its way to the kernel.
struct Work {
    executor: Executor,
    total: usize,
    summary: RestoreSummary,
    cleared: bool,
    patience: Duration,
    sender: mpsc::Sender<Result<RestoreEvent, Error>>,
}

impl Work {
    async fn run(&mut self, commands: Vec<Command>, stop: bool) -> Result<(), Error> {
        let mut tried = 0;
        for chunk in commands.chunks(CHUNK) {
            let batch = Batch {
                ops: chunk.iter().map(|command| command.op.clone()).collect(),
                stop,
            };
            let deadline = Instant::now() + self.patience;
            let results = self.executor.batch(batch, deadline).await?;
            tried += results.len();
            let ended = stop && results.iter().any(Result::is_err);
            for (command, result) in chunk.iter().zip(results) {
                if !self.note(command, result).await {
                    return Ok(());
                }
            }
            let progress = RestoreEvent::Progress {
                done: tried,
                total: self.total,
            };
            if ended || self.sender.send(Ok(progress)).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Counts a result and tells of a refusal; `false` where nobody listens any more.
    async fn note(&mut self, command: &Command, result: Result<(), Error>) -> bool {
        let Err(error) = result else {
            self.summary.done += usize::from(command.line != 0 || !self.cleared);
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
        self.sender.send(Ok(refused)).await.is_ok()
    }
}

// === impl RestoreStream ===

impl Stream for RestoreStream {
    type Item = Result<RestoreEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(cx)
    }
}

//! The one thread that owns the socket. It takes what waits, makes the changes in their order,
//! packed where they are about different services, and answers all equal questions with one sweep.

use std::{
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    Batch, Cache, Change, Changed, Kernel, Seen,
    link::{AskError, Link},
    reader, unavailable,
};
use crate::model::{Errno, Error, Query, Reason};

/// What waits for the worker.
#[derive(Debug)]
pub enum Job {
    /// A question.
    Ask(Waiting<Query, Seen>),
    /// A change.
    Change(Waiting<Change, Changed>),
    /// Operations, each on its own.
    Batch(Waiting<Batch, Vec<Result<(), Error>>>),
    /// Read small files below `/proc`, those that exist.
    Read(Waiting<Vec<String>, Vec<Option<String>>>),
    /// Write small files below `/proc`, all or none.
    Write(Waiting<Vec<(String, String)>, ()>),
}

/// A request and who waits for its answer.
#[derive(Debug)]
pub struct Waiting<Q, A> {
    /// The request.
    pub request: Q,
    /// When nobody waits for it any more.
    pub deadline: Instant,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<A, Error>>,
}

/// The thread's state. What it does for changes is in `act`.
pub struct Worker {
    kernel: Arc<dyn Kernel>,
    jobs: mpsc::Receiver<Job>,
    pub(super) cache: Arc<Cache>,
    pub(super) link: Option<Link>,
    /// The last failure to connect, which stands for a moment: each try may run modprobe.
    failure: Option<(Instant, Error)>,
}

/// How many jobs are taken at a time: enough to share sweeps and fill packs.
const TURN: usize = 256;
/// How long a failure to connect is answered again without a new try.
const FAILURE_STANDS: Duration = Duration::from_millis(200);
/// The most that is read of a small file; the longest setting is a list of CPUs.
const SMALL_FILE: u64 = 64 << 10;

// === impl Worker ===

impl Worker {
    /// A worker that has not connected yet.
    pub fn new(kernel: Arc<dyn Kernel>, jobs: mpsc::Receiver<Job>, cache: Arc<Cache>) -> Self {
        Self {
            kernel,
            jobs,
            cache,
            link: None,
            failure: None,
        }
    }

    /// Works until all handles are gone.
    pub fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let mut turn = vec![first];
            while turn.len() < TURN
                && let Ok(job) = self.jobs.try_recv()
            {
                turn.push(job);
            }
            // A fault in here ends the turn, not the daemon; who waits is told by the lost reply.
            if catch_unwind(AssertUnwindSafe(|| self.turn(turn))).is_err() {
                tracing::error!("a turn of the executor panicked; its requests are answered so");
                self.link = None;
            }
        }
    }

    fn turn(&mut self, jobs: Vec<Job>) {
        let mut changes = Vec::new();
        let mut questions: Vec<Waiting<Query, Seen>> = Vec::new();
        for job in jobs {
            match job {
                Job::Ask(ask) => questions.extend(ask.wanted()),
                // Whether they are still wanted shows when it is their turn.
                Job::Change(change) => changes.push(change),
                Job::Batch(batch) => {
                    // Writes keep their order.
                    self.changes(std::mem::take(&mut changes));
                    if let Some(batch) = batch.wanted() {
                        let outcomes = self.batch(&batch.request);
                        batch.answer(outcomes);
                    }
                }
                Job::Read(read) => {
                    if let Some(read) = read.wanted() {
                        let contents = self.read_files(&read.request);
                        read.answer(contents);
                    }
                }
                Job::Write(write) => {
                    if let Some(write) = write.wanted() {
                        let written = self.write_files(&write.request);
                        write.answer(written);
                    }
                }
            }
        }
        self.changes(changes);
        // Asked before any of this was read, all of them may have the same answer.
        while let Some(first) = questions.pop() {
            let query = first.request;
            let (mut same, other): (Vec<_>, Vec<_>) = questions
                .into_iter()
                .partition(|question| question.request == query);
            questions = other;
            same.push(first);
            let answer = self.ask(query);
            if let Ok(seen) = &answer {
                self.cache.store(query, seen.clone());
            }
            for question in same {
                question.answer(answer.clone());
            }
        }
    }

    // --- questions

    /// Answers a question, on a new socket if the old one fails.
    pub(super) fn ask(&mut self, query: Query) -> Result<Seen, Error> {
        self.with_link(|link| reader::read(link, query))
    }

    /// Runs what only reads, again on a new socket where the first try breaks it.
    pub(super) fn with_link<T>(
        &mut self,
        mut read: impl FnMut(&mut Link) -> Result<T, AskError>,
    ) -> Result<T, Error> {
        for attempt in 1.. {
            match read(self.link()?) {
                Ok(value) => return Ok(value),
                // ENOENT is never a question's own answer: the family has gone or moved.
                Err(error @ (AskError::Broken(_) | AskError::Refused(Errno::ENOENT))) => {
                    tracing::warn!(%error, "the netlink socket is given up");
                    self.link = None;
                    if attempt == 2 {
                        return Err(unavailable::broken(error));
                    }
                }
                Err(AskError::Interrupted) => {
                    return Err(Error::new(
                        Reason::Internal,
                        "other programs change the table faster than it can be read",
                    )
                    .with_hint("try again"));
                }
                Err(AskError::Refused(errno)) => return Err(unavailable::refused(errno)),
            }
        }
        Err(Error::new(Reason::Internal, "no answer"))
    }

    pub(super) fn link(&mut self) -> Result<&mut Link, Error> {
        if self.link.is_none() {
            if let Some((when, error)) = &self.failure
                && when.elapsed() < FAILURE_STANDS
            {
                return Err(error.clone());
            }
            match Link::connect(&*self.kernel) {
                Ok(link) => {
                    self.failure = None;
                    self.link = Some(link);
                }
                Err(error) => {
                    let error = unavailable::no_link(error);
                    self.failure = Some((Instant::now(), error.clone()));
                    return Err(error);
                }
            }
        }
        self.link
            .as_mut()
            .ok_or_else(|| Error::new(Reason::Internal, "no socket"))
    }

    // --- files

    pub(super) fn read_file(&self, path: &str) -> Option<String> {
        let mut text = String::new();
        self.kernel
            .open(path)
            .ok()?
            .take(SMALL_FILE)
            .read_to_string(&mut text)
            .ok()?;
        Some(text)
    }

    fn read_files(&self, paths: &[String]) -> Result<Vec<Option<String>>, Error> {
        Ok(paths.iter().map(|path| self.read_file(path)).collect())
    }

    /// Writes files in order; where one is refused, those before it get back what they had.
    fn write_files(&mut self, files: &[(String, String)]) -> Result<(), Error> {
        self.cache.clear();
        let mut done: Vec<(&str, String)> = Vec::new();
        for (path, text) in files {
            let before = self.read_file(path);
            if let Err(error) = self.kernel.write(path, text) {
                for (path, before) in done.into_iter().rev() {
                    if let Err(error) = self.kernel.write(path, &before) {
                        tracing::warn!(path, %error, "a setting could not be put back");
                    }
                }
                return Err(unavailable::setting(path, &error));
            }
            done.extend(before.map(|before| (path.as_str(), before)));
        }
        Ok(())
    }
}

// === impl Waiting ===

impl<Q, A> Waiting<Q, A> {
    /// Itself, if somebody waits and there is time; else its end is told here.
    pub(super) fn wanted(self) -> Option<Self> {
        if self.reply.is_closed() {
            return None;
        }
        if self.deadline <= Instant::now() {
            drop(self.reply.send(Err(Error::new(
                Reason::DeadlineExceeded,
                "the deadline passed before the kernel was asked; nothing was done",
            ))));
            return None;
        }
        Some(self)
    }

    fn answer(self, answer: Result<A, Error>) {
        drop(self.reply.send(answer));
    }
}

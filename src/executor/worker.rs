//! The one thread that owns the sockets. It takes what waits, makes the changes in their order,
//! packed where they are about different services, and answers all equal questions with one sweep.

use std::{
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{
    mpsc::{self, error::TryRecvError},
    oneshot,
};

use super::{
    Batch, Change, Changed, Kernel, Seen, Told, cache::Cache, link::Dump, reader, session::Session,
    unavailable,
};
use crate::model::{Error, Query, Reason};

/// What waits for the worker.
#[derive(Debug)]
pub enum Job {
    /// A question.
    Ask(Waiting<Aged<Query>, Told<Seen>>),
    /// A change.
    Change(Waiting<Change, Changed>),
    /// Operations, each on its own.
    Batch(Waiting<Batch, Vec<Result<(), Error>>>),
    /// Read small files below `/proc`, those that exist.
    Read(Waiting<Aged<Vec<String>>, Vec<Option<String>>>),
    /// Write small files below `/proc`, all or none.
    Write(Waiting<Vec<(String, String)>, ()>),
}

/// A question whose answer may be old.
#[derive(Debug)]
pub struct Aged<Q> {
    /// It.
    pub about: Q,
    /// How old the answer may be; zero for a fresh one.
    pub max_age: Duration,
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
    /// For changes, and what they look at.
    pub(super) writes: Session,
    /// For questions: of the same socket, the kernel would not take up a second dump, of what a
    /// change looks at, while the first is on its way.
    reads: Session,
    /// The dump that changes are made in the middle of, and whether one of them has moved what it
    /// is of.
    pub(super) dumping: Option<(Dump, bool)>,
    /// What is to be answered next.
    questions: Vec<Waiting<Aged<Query>, Told<Seen>>>,
}

/// How many jobs are taken at a time: enough to share sweeps and fill packs.
const TURN: usize = 256;
/// The most that is read of a small file; the longest setting is a list of CPUs.
const SMALL_FILE: u64 = 64 << 10;

// === impl Worker ===

impl Worker {
    /// A worker that has not connected yet.
    pub fn new(kernel: Arc<dyn Kernel>, jobs: mpsc::Receiver<Job>, cache: Arc<Cache>) -> Self {
        let writes = Session::new(kernel.clone());
        Self {
            reads: writes.beside(),
            writes,
            kernel,
            jobs,
            cache,
            dumping: None,
            questions: Vec::new(),
        }
    }

    /// Works until all handles are gone. Who has put a job into the queue unparks this thread.
    pub fn run(mut self) {
        loop {
            let first = match self.jobs.try_recv() {
                Ok(job) => job,
                Err(TryRecvError::Empty) => {
                    thread::park();
                    continue;
                }
                Err(TryRecvError::Disconnected) => return,
            };
            // A fault in here ends the turn, not the daemon; who waits is told by the lost reply.
            if catch_unwind(AssertUnwindSafe(|| self.turn(first))).is_err() {
                tracing::error!("a turn of the executor panicked; its requests are answered so");
                self.writes.give_up();
                self.reads.give_up();
                self.dumping = None;
                self.questions.clear();
            }
        }
    }

    /// Does what waits, beginning with `first`: first the writes, in their order, then the
    /// questions, which are answered with what the writes made.
    fn turn(&mut self, first: Job) {
        self.work(Some(first));
        while !self.questions.is_empty() {
            self.answer();
        }
    }

    /// Does what waits, but for the questions, which are collected.
    fn work(&mut self, first: Option<Job>) {
        let mut jobs: Vec<_> = first.into_iter().collect();
        while jobs.len() + self.questions.len() < TURN
            && let Ok(job) = self.jobs.try_recv()
        {
            jobs.push(job);
        }
        if jobs.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut changes = Vec::new();
        for job in jobs {
            match job {
                Job::Ask(ask) => self.questions.extend(ask.wanted(now)),
                // Whether they are still wanted shows when it is their turn.
                Job::Change(change) => changes.push(change),
                Job::Batch(batch) => {
                    // Writes keep their order.
                    self.changes(std::mem::take(&mut changes));
                    if let Some(batch) = batch.wanted(Instant::now()) {
                        let outcomes = self.batch(&batch.request);
                        batch.answer(outcomes);
                    }
                }
                Job::Read(read) => {
                    if let Some(read) = read.wanted(now) {
                        self.read_files(read);
                    }
                }
                Job::Write(write) => {
                    if let Some(write) = write.wanted(now) {
                        let written = self.write_files(&write.request);
                        write.answer(written);
                    }
                }
            }
        }
        self.changes(changes);
    }

    // --- questions

    /// Answers the questions, equal ones with one sweep: asked before any of this was read, all of
    /// them may have the same answer. Those that come meanwhile are left for the next time.
    fn answer(&mut self) {
        let mut questions = std::mem::take(&mut self.questions);
        while let Some(first) = questions.pop() {
            let query = first.request.about;
            let (mut same, other): (Vec<_>, Vec<_>) = questions
                .into_iter()
                .partition(|question| question.request.about == query);
            questions = other;
            same.push(first);
            // More may have missed an old answer together than are taken in a turn; the turn before
            // has left a young one then.
            let mut wanting = Vec::new();
            for question in same {
                match self.cache.answer(query, question.request.max_age) {
                    Some(told) => question.answer(Ok(told)),
                    None => wanting.push(question),
                }
            }
            let asked = wanting.iter().map(|question| question.request.max_age);
            let Some(max_age) = asked.max() else {
                continue;
            };
            let max_age = max_age.max(self.cache.drop_answer(query));
            let writes = self.cache.writes();
            let answer = self.read(query);
            let rendered = match &answer {
                // One that a write came into is told to those who asked before it, and to nobody
                // after it.
                Ok(seen) if writes == self.cache.writes() => self.cache.keep(query, seen, max_age),
                _ => None,
            };
            for question in wanting {
                question.answer(answer.clone().map(|value| Told {
                    value,
                    age: Duration::ZERO,
                    rendered: rendered.clone(),
                }));
            }
        }
    }

    /// Answers a question. It may take long: between two datagrams of a dump, the writes are made
    /// that have come meanwhile.
    fn read(&mut self, query: Query) -> Result<Seen, Error> {
        // What is done meanwhile reads with the other one.
        let mut session = std::mem::replace(&mut self.reads, self.writes.beside());
        let seen = session.read(|link| {
            reader::read(link, query, &mut |dump| {
                self.dumping = Some((dump, false));
                self.work(None);
                self.dumping.take().is_some_and(|(_, moved)| moved)
            })
        });
        self.reads = session;
        seen
    }

    /// Answers a question of a change, which nothing may come into.
    pub(super) fn ask(&mut self, query: Query) -> Result<Seen, Error> {
        self.writes
            .read(|link| reader::read(link, query, &mut |_| false))
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

    fn read_files(&self, read: Waiting<Aged<Vec<String>>, Vec<Option<String>>>) {
        let Aged { about, max_age } = &read.request;
        let texts = self.cache.texts(about, *max_age).unwrap_or_else(|| {
            let texts: Vec<_> = about.iter().map(|path| self.read_file(path)).collect();
            self.cache.keep_texts(about, &texts, *max_age);
            texts
        });
        read.answer(Ok(texts));
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
    /// Itself, if somebody waits and there is time `now`; else its end is told here.
    pub(super) fn wanted(self, now: Instant) -> Option<Self> {
        if self.reply.is_closed() {
            return None;
        }
        if self.deadline <= now {
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

//! The sampler: when samples are taken, and who gets which frame.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use super::{
    frame::{Frame, Shown},
    history::History,
    interval::{Interval, PERIOD, next_multiple},
    options::SamplingOptions,
    sample::{MIN_WINDOW, Reading, Sample},
};
use crate::{
    budget::Budget,
    model::{Error, Reason, ServiceKey},
};

/// Samples the counters for all streams and for the history.
///
/// It does no I/O: a task asks it [what to do next](Self::next), and gives it what it has read.
#[derive(Debug)]
pub struct Sampler {
    options: SamplingOptions,
    budget: Budget,
    state: Mutex<State>,
    /// Wakes the task that samples.
    task: Notify,
    skipped: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// Samples are due at multiples of [`PERIOD`] after it.
    epoch: Instant,
    streams: usize,
    /// By the time between two frames.
    groups: BTreeMap<Interval, Group>,
    /// The services whose servers streams watch, and how many do.
    detailed: HashMap<ServiceKey, usize>,
    /// The last samples, oldest first, as far back as a rate may need them.
    recent: VecDeque<Arc<Sample>>,
    history: History,
    history_due: Instant,
    /// Since when the kernel refreshes counters; `None` while it does not.
    estimating: Option<Instant>,
    /// When the last read ended, and the time that it took.
    last_read: (Instant, Duration),
    /// Whether a new stream waits for its first frame.
    is_urgent: bool,
    has_task: bool,
    is_closed: bool,
}

/// The streams with one interval.
#[derive(Debug)]
struct Group {
    streams: usize,
    due: Instant,
    last: Option<Arc<Sample>>,
    updates: watch::Sender<Option<Numbered>>,
}

#[derive(Clone, Debug)]
struct Numbered {
    number: u64,
    update: Update,
}

/// What a stream gets.
#[derive(Clone, Debug)]
pub enum Update {
    /// A frame.
    Frame(Arc<Frame>),
    /// The kernel could not be read.
    Unavailable(Error),
}

/// A stream. It gets the last frame; those that it does not take in time are skipped.
#[derive(Debug)]
pub struct Subscription {
    sampler: Arc<Sampler>,
    interval: Interval,
    detailed: Option<ServiceKey>,
    updates: watch::Receiver<Option<Numbered>>,
    /// The number of the last update; `None` before the first.
    last: Option<u64>,
}

/// What the task that samples does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextSample {
    /// Takes a sample.
    Now,
    /// Waits for this time, or until it is woken.
    In(Duration),
    /// Ends: nobody needs samples.
    End,
}

/// Time between two samples of the history.
const HISTORY_INTERVAL: Duration = Duration::from_secs(6);

/// Services whose servers are watched at once.
const MAX_DETAILED: usize = 64;

/// The age from which a sample is old enough for a rate: [`MIN_WINDOW`], less what timers may be late.
const OLD_ENOUGH: Duration = MIN_WINDOW.saturating_sub(Duration::from_secs(1));

// === impl Sampler ===

impl Sampler {
    /// A sampler that charges a quarter of this budget, so that streams leave the rest to others.
    pub fn new(options: SamplingOptions, budget: &Budget, now: Instant) -> Self {
        let budget = budget.share(budget.limit() / 4);
        // A half of it remains for the streams.
        let max_bytes = options.max_history_bytes.min(budget.limit() / 2);
        Self {
            state: Mutex::new(State {
                epoch: now,
                streams: 0,
                groups: BTreeMap::new(),
                detailed: HashMap::new(),
                recent: VecDeque::new(),
                history: History::new(options.history, max_bytes),
                history_due: now + HISTORY_INTERVAL,
                estimating: None,
                last_read: (now, Duration::ZERO),
                is_urgent: false,
                has_task: false,
                is_closed: false,
            }),
            options,
            budget,
            task: Notify::new(),
            skipped: AtomicU64::new(0),
        }
    }

    /// Whether the caller must start the task that samples, for the history.
    pub fn start(&self) -> bool {
        let mut state = self.state();
        state.history.is_kept() && !std::mem::replace(&mut state.has_task, true)
    }

    /// A new stream, with the servers of this service, and whether the caller must start the task that samples.
    pub fn subscribe(
        self: &Arc<Self>,
        interval: Interval,
        detailed: Option<ServiceKey>,
        now: Instant,
    ) -> Result<(Subscription, bool), Error> {
        let mut state = self.state();
        state.admit(self.options.max_streams, detailed)?;
        let updates = state.join(interval, detailed, now);
        let starts_task = !state.is_closed && !std::mem::replace(&mut state.has_task, true);
        drop(state);
        self.task.notify_one();
        let subscription = Subscription {
            sampler: self.clone(),
            interval,
            detailed,
            updates,
            last: None,
        };
        Ok((subscription, starts_task))
    }

    /// The memory of samples, frames and messages.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The number of streams.
    pub fn streams(&self) -> usize {
        self.state().streams
    }

    /// The number of frames that streams have skipped.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// What the task does next.
    pub fn next(&self, now: Instant) -> NextSample {
        let mut state = self.state();
        let groups = state.groups.values().map(|group| group.due);
        let history = state.history.is_kept().then_some(state.history_due);
        let due = groups.chain(history).min();
        match due.filter(|_| !state.is_closed) {
            None => {
                state.has_task = false;
                state.recent.clear();
                NextSample::End
            }
            Some(due) => {
                let earliest = state.earliest(self.options.max_load_percent);
                let wait = due.max(earliest).saturating_duration_since(now);
                match wait.is_zero() {
                    true => NextSample::Now,
                    false => NextSample::In(wait),
                }
            }
        }
    }

    /// Waits until the task is woken.
    pub async fn woken(&self) {
        self.task.notified().await;
    }

    /// Takes what was read, which has taken this time, and gives frames to the streams whose time has come. After an
    /// error, the caller must [`fail`](Self::fail).
    pub fn add(&self, reading: &Reading<'_>, took: Duration, now: Instant) -> Result<(), Error> {
        let (is_steady, detailed, previous) = self.begin(now, reading, took);
        let is_detailed = |key| detailed.contains_key(&key);
        let mut sample = Sample::new(reading, is_steady, is_detailed, &self.budget)?;
        if let Some(previous) = previous {
            sample.follow(&previous);
        }
        let sample = Arc::new(sample);
        let (due, recent) = self.due(now, &sample);
        for (interval, last) in due {
            let mut old = last.into_iter().chain(recent.iter().rev().cloned());
            let older = old.find(|older| sample.since(older) >= OLD_ENOUGH);
            let frame = Frame::new(&sample, older.as_deref(), &self.budget)?;
            self.publish(interval, Update::Frame(Arc::new(frame)), Some(&sample));
        }
        Ok(())
    }

    /// Reports to the streams whose time has come that nothing could be read.
    pub fn fail(&self, error: &Error, took: Duration, now: Instant) {
        let mut state = self.state();
        state.has_read(now, took);
        let due = state.advance(now);
        drop(state);
        for (interval, _) in due {
            self.publish(interval, Update::Unavailable(error.clone()), None);
        }
    }

    /// The frames of the last time of this length, of the totals over the services that `sees` permits or of one service.
    pub fn history(
        &self,
        window: Duration,
        service: Option<ServiceKey>,
        sees: Option<&dyn Fn(ServiceKey) -> bool>,
    ) -> Result<Vec<Frame>, Error> {
        let pairs = self.state().history.of(window);
        let shown = match (service, sees) {
            (Some(key), _) => Shown::Service(key),
            (None, Some(sees)) => Shown::TotalsOf(sees),
            (None, None) => Shown::Totals,
        };
        let frames = pairs
            .iter()
            .map(|[older, sample]| Frame::of_history(sample, older, &shown, &self.budget));
        frames.collect()
    }

    /// Time between two frames of the history.
    pub fn history_interval(&self) -> Duration {
        HISTORY_INTERVAL
    }

    /// Ends all streams: the daemon ends.
    pub fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        // Receivers see the end when their sender is dropped.
        let groups = std::mem::take(&mut state.groups);
        drop(state);
        drop(groups);
        self.task.notify_one();
    }

    /// Notes what was read; returns whether the counters are steady, whose servers are watched, and the sample before.
    fn begin(
        &self,
        now: Instant,
        reading: &Reading<'_>,
        took: Duration,
    ) -> (bool, HashMap<ServiceKey, usize>, Option<Arc<Sample>>) {
        let mut state = self.state();
        state.has_read(now, took);
        if state.recent.is_empty() {
            // Nobody has looked for some time.
            state.estimating = None;
        }
        let since = reading
            .estimation
            .then(|| state.estimating.unwrap_or(reading.at));
        state.estimating = since;
        let is_steady = since.is_some_and(|since| reading.at.duration_since(since) >= MIN_WINDOW);
        let previous = state.recent.back().cloned();
        (is_steady, state.detailed.clone(), previous)
    }

    /// Keeps a sample. Returns the groups whose time has come, with their last sample, and the samples before.
    #[expect(clippy::type_complexity, reason = "two lists, for one caller")]
    fn due(
        &self,
        now: Instant,
        sample: &Arc<Sample>,
    ) -> (Vec<(Interval, Option<Arc<Sample>>)>, Vec<Arc<Sample>>) {
        let mut state = self.state();
        if state.history.is_kept() && state.history_due <= now {
            state.history.push(sample.clone());
        }
        let recent = state.recent.iter().cloned().collect();
        state.recent.push_back(sample.clone());
        // The newest of those that are old enough stays.
        while state
            .recent
            .get(1)
            .is_some_and(|second| sample.since(second) >= OLD_ENOUGH)
        {
            state.recent.pop_front();
        }
        (state.advance(now), recent)
    }

    fn publish(&self, interval: Interval, update: Update, sample: Option<&Arc<Sample>>) {
        let mut state = self.state();
        let Some(group) = state.groups.get_mut(&interval) else {
            return;
        };
        if let Some(sample) = sample {
            group.last = Some(sample.clone());
        }
        group.updates.send_modify(|last| {
            let number = last.as_ref().map_or(0, |last| last.number + 1);
            *last = Some(Numbered { number, update });
        });
    }

    /// No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// Counts a new stream, if it is within the limits.
    fn admit(&mut self, max_streams: usize, detailed: Option<ServiceKey>) -> Result<(), Error> {
        let limited =
            |detail: String, hint| Err(Error::new(Reason::RateLimited, detail).with_hint(hint));
        if self.streams >= max_streams {
            return limited(
                format!("the limit of {max_streams} concurrent statistics streams is reached"),
                "retry later, or raise stats.max_streams of the daemon",
            );
        }
        if let Some(key) = detailed {
            if self.detailed.len() >= MAX_DETAILED && !self.detailed.contains_key(&key) {
                return limited(
                    format!("streams show the servers of {MAX_DETAILED} services already"),
                    "retry later, or omit `servers` from `include`",
                );
            }
            *self.detailed.entry(key).or_default() += 1;
        }
        self.streams += 1;
        Ok(())
    }

    /// A read has ended, which has taken this time.
    fn has_read(&mut self, now: Instant, took: Duration) {
        self.last_read = (now, took);
        self.is_urgent = false;
    }

    /// No sample is taken before, so that reads that take long do not take all of the time. A new stream does not wait
    /// as long as the others.
    fn earliest(&self, max_load_percent: u32) -> Instant {
        let (end, took) = self.last_read;
        let load = match self.is_urgent {
            true => 50,
            false => max_load_percent.max(1),
        };
        end + took * 100 / load
    }

    /// The groups whose time has come, with their last sample. The next time of each is set.
    fn advance(&mut self, now: Instant) -> Vec<(Interval, Option<Arc<Sample>>)> {
        let epoch = self.epoch;
        // A frame that came between two multiples is not followed by one with the same counters.
        let after = now + PERIOD / 2;
        let mut due = Vec::new();
        if self.history_due <= now {
            self.history_due = next_multiple(epoch, now, HISTORY_INTERVAL);
        }
        for (interval, group) in &mut self.groups {
            if group.due <= now {
                due.push((*interval, group.last.clone()));
                group.due = next_multiple(epoch, after, interval.time());
            }
        }
        due
    }

    /// Adds a stream to those with this interval. It gets their last frame, if that shows the servers.
    fn join(
        &mut self,
        interval: Interval,
        detailed: Option<ServiceKey>,
        now: Instant,
    ) -> watch::Receiver<Option<Numbered>> {
        if self.is_closed {
            // Without a sender, the stream is at its end.
            return watch::Sender::new(None).subscribe();
        }
        let group = self.groups.entry(interval);
        let group = group.or_insert_with(|| Group::new(now));
        group.streams += 1;
        self.is_urgent |= group.updates.borrow().is_none();
        let mut updates = group.updates.subscribe();
        let shows = |key| match updates.borrow().as_ref().map(|last| &last.update) {
            Some(Update::Frame(frame)) => frame.servers.contains_key(&key),
            _ => false,
        };
        match detailed.is_none_or(shows) {
            true => updates.mark_changed(),
            false => {
                group.due = now;
                self.is_urgent = true;
            }
        }
        updates
    }
}

// === impl Group ===

impl Group {
    fn new(now: Instant) -> Self {
        Self {
            streams: 0,
            due: now,
            last: None,
            updates: watch::Sender::new(None),
        }
    }
}

// === impl Subscription ===

impl Subscription {
    /// The next update; `None` at the end of the daemon.
    pub async fn next(&mut self) -> Option<Update> {
        loop {
            self.updates.changed().await.ok()?;
            let Some(Numbered { number, update }) = self.updates.borrow_and_update().clone() else {
                continue;
            };
            let skipped = self.last.map_or(0, |last| number.saturating_sub(last + 1));
            self.sampler.skipped.fetch_add(skipped, Ordering::Relaxed);
            self.last = Some(number);
            return Some(update);
        }
    }

    /// Counts a frame that there is no memory for.
    pub fn skip(&self) {
        self.sampler.skipped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.sampler.state();
        state.streams = state.streams.saturating_sub(1);
        if let Some(key) = self.detailed
            && let Some(streams) = state.detailed.get_mut(&key)
        {
            *streams -= 1;
            if *streams == 0 {
                state.detailed.remove(&key);
            }
        }
        if let Some(group) = state.groups.get_mut(&self.interval) {
            group.streams = group.streams.saturating_sub(1);
            if group.streams == 0 {
                state.groups.remove(&self.interval);
            }
        }
        drop(state);
        self.sampler.task.notify_one();
    }
}

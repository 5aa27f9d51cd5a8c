//! The last answers, for those who accept one that is not fresh.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::Seen;
use crate::model::Query;

/// An answer and its age.
#[derive(Clone, Debug)]
pub struct Told<T> {
    /// It.
    pub value: T,
    /// How long ago it was read; zero where it was read for this question.
    pub age: Duration,
    /// Where what is made of it can be put for others; `None` where it is kept for nobody.
    pub rendered: Option<Arc<RenderCache>>,
}

/// What was made of a kept answer, one thing of each type, for all who are told the same. It goes
/// when the answer goes: with the next own write, or when a newer one takes its place.
#[derive(Debug, Default)]
pub struct RenderCache(Mutex<http::Extensions>);

/// What was asked for with a maximum age, until the next own write.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// How often it was cleared.
    writes: u64,
    answers: HashMap<Query, Answer>,
    texts: HashMap<Vec<String>, (Instant, Vec<Option<String>>)>,
}

#[derive(Debug)]
struct Answer {
    read: Instant,
    seen: Seen,
    rendered: Arc<RenderCache>,
    /// For how long somebody accepts it.
    max_age: Duration,
}

// === impl RenderCache ===

impl RenderCache {
    /// What is there of this type; `make` makes it, once: who comes meanwhile waits for that.
    pub fn get_or_render<T: Clone + Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> T {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thing) = things.get::<T>() {
            return thing.clone();
        }
        let thing = make();
        things.insert(thing.clone());
        thing
    }
}

// === impl Cache ===

impl Cache {
    /// The answer to a question, if there is one that is young enough.
    pub(super) fn answer(&self, query: Query, max_age: Duration) -> Option<Told<Seen>> {
        if max_age.is_zero() {
            return None;
        }
        let mut kept = self.kept();
        let answer = kept.answers.get_mut(&query)?;
        answer.max_age = answer.max_age.max(max_age);
        let age = answer.read.elapsed();
        (age <= max_age).then(|| Told {
            value: answer.seen.clone(),
            age,
            rendered: Some(answer.rendered.clone()),
        })
    }

    /// Keeps an answer that was just read, where somebody accepts it for a while.
    pub(super) fn keep(
        &self,
        query: Query,
        seen: &Seen,
        max_age: Duration,
    ) -> Option<Arc<RenderCache>> {
        // One service's answer is cheap to get again, and there may be many of them.
        if max_age.is_zero() || query.service().is_some() {
            return None;
        }
        let answer = Answer {
            read: Instant::now(),
            seen: seen.clone(),
            rendered: Arc::default(),
            max_age,
        };
        let rendered = answer.rendered.clone();
        self.kept().answers.insert(query, answer);
        Some(rendered)
    }

    /// Lets an answer go that is about to be read anew, so that there are never two tables. Returns
    /// for how long somebody accepts the one that is to take its place: zero where nobody has asked
    /// in that time.
    pub(super) fn drop_answer(&self, query: Query) -> Duration {
        let dropped = self.kept().answers.remove(&query);
        let wanted = dropped.filter(|answer| answer.read.elapsed() <= answer.max_age);
        wanted.map_or(Duration::ZERO, |answer| answer.max_age)
    }

    /// What files said, if that is young enough.
    pub(super) fn texts(&self, paths: &[String], max_age: Duration) -> Option<Vec<Option<String>>> {
        if max_age.is_zero() {
            return None;
        }
        let kept = self.kept();
        let (when, texts) = kept.texts.get(paths)?;
        (when.elapsed() <= max_age).then(|| texts.clone())
    }

    /// Keeps what files were just found to say, where somebody accepts it for a while.
    pub(super) fn keep_texts(&self, paths: &[String], texts: &[Option<String>], max_age: Duration) {
        if !max_age.is_zero() {
            let entry = (Instant::now(), texts.to_vec());
            self.kept().texts.insert(paths.to_vec(), entry);
        }
    }

    /// Forgets everything: the kernel is changed.
    pub(super) fn clear(&self) {
        let mut kept = self.kept();
        let writes = kept.writes + 1;
        let new = Kept {
            writes,
            ..Kept::default()
        };
        let forgotten = std::mem::replace(&mut *kept, new);
        drop(kept);
        // A table is large: not while others wait for the lock.
        drop(forgotten);
    }

    /// How often the kernel was changed so far: what was read while this grew is of no moment.
    pub(super) fn writes(&self) -> u64 {
        self.kept().writes
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Watches: the state of services, servers, drains, ramps and declared tables, and what changes.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    select,
    task::yield_now,
    time::{sleep, sleep_until},
};

use super::{
    App, RequestContext, RequestId,
    access::{CHECK_INTERVAL, SessionWatch},
    list_request::Filter,
    watch_filter::{View, WatchChange, WatchResources},
};
use crate::{
    clock,
    executor::TableQuery,
    model::{Error, Reason},
    watch::{Cursor, Event, NextDump, Resync, Revision, Step, Subscription},
};

/// A request for a watch.
#[derive(Clone, Debug, Default)]
pub struct WatchRequest {
    /// Events after this revision. `None`: after now.
    pub from: Option<Revision>,
    /// Whether the state comes first, unless the watch resumes from a revision.
    pub initial: bool,
    /// Kinds of objects.
    pub resources: WatchResources,
    /// The services that are watched, with their servers; of drains and ramps those about such a service, and of
    /// tables those of the owner.
    pub filter: Filter,
}

/// A message to a watcher.
#[derive(Clone, Debug)]
pub enum WatchMessage {
    /// An object has changed, or is a part of the state.
    Change(WatchChange),
    /// Everything up to this revision has been sent.
    Bookmark(Revision),
    /// The watcher must forget what it knows: the whole state follows, and then a bookmark.
    Resync(Resync),
    /// The credential is not valid any more, or permits something else. It is the last message.
    End(Error),
}

/// The messages of a watch. Nothing is kept for a client that does not read: it takes what it can, and
/// gets a resync when the log has moved on.
#[derive(Debug)]
pub struct WatchStream {
    subscription: Subscription,
    cursor: Cursor,
    view: View,
    session: SessionWatch,
    /// Events that have been taken, at most 24.
    events: VecDeque<Arc<Event>>,
    /// Parts of the first of them that have been sent.
    sent: usize,
    next_bookmark: Instant,
    has_ended: bool,
}

/// Time between two bookmarks. Clients may rely on 15 s.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);

/// Parts of one event at once: about 30 KB as text.
const AT_ONCE: usize = 24;

/// Time that a dump may wait and take.
const DUMP_TIMEOUT: Duration = Duration::from_secs(60);

// === impl App ===

impl App {
    /// Starts a watch. If nothing is known of the table, it is read first.
    pub async fn watch(
        &self,
        context: &RequestContext,
        request: WatchRequest,
    ) -> Result<WatchStream, Error> {
        self.may_watch(context)?;
        self.check_filter(&request.filter.kept)?;
        let WatchRequest {
            from,
            initial,
            resources,
            filter,
        } = request;
        let view = View {
            principal: context.principal.clone(),
            filter,
            resources,
        };
        view.check()?;
        let (subscription, starts_task) = self.watch.subscribe()?;
        if starts_task {
            self.spawn_dumps();
        }
        if !self.watch.is_known() {
            drop(self.read_list(context, TableQuery).await?);
        }
        let now = self.watch.revision();
        let cursor = match (from, initial) {
            (Some(revision), _) => Cursor::at(revision),
            (None, true) => Cursor::at_begin(now),
            (None, false) => Cursor::at(now),
        };
        Ok(WatchStream {
            subscription,
            cursor,
            view,
            session: SessionWatch::of(context),
            events: VecDeque::new(),
            sent: 0,
            next_bookmark: Instant::now(),
            has_ended: false,
        })
    }

    /// Ends all watches and statistics streams when this completes, so that they do not delay the end of the daemon.
    pub fn end_streams_after(&self, end: impl Future<Output = ()> + Send + 'static) {
        if self.watch.awaits_end() {
            let (watch, sampler) = (self.watch.clone(), self.sampler.clone());
            tokio::spawn(async move {
                end.await;
                watch.close();
                sampler.close();
            });
        }
    }

    /// Keeps what is last seen of the table, because the response is to have a revision.
    pub(super) fn keep_watch_cache(&self) {
        if self.watch.retain(clock::now()) {
            self.spawn_dumps();
        }
    }

    /// The revision of a response. If the state is not known, nobody can resume from it.
    pub(super) fn revision(&self, of_read: Option<Revision>) -> Revision {
        of_read.unwrap_or_else(|| self.watch.unknown_revision())
    }

    /// The revision after the last event. If the state is not known, nobody can resume from it.
    pub(super) fn last_revision(&self) -> Revision {
        let known = self.watch.is_known().then(|| self.watch.revision());
        self.revision(known)
    }

    fn spawn_dumps(&self) {
        tokio::spawn(self.clone().dump_for_watchers());
    }

    /// Reads the table from time to time while there is a watcher. The executor compares each dump.
    async fn dump_for_watchers(self) {
        let mut has_failed = false;
        loop {
            match self.watch.next_dump(Instant::now()) {
                NextDump::End => return,
                NextDump::In(time) => select! {
                    () = sleep(time) => {}
                    () = self.watch.woken() => {}
                },
                NextDump::Now => {
                    let id = RequestId::new("watch");
                    let context = RequestContext::new(id, DUMP_TIMEOUT);
                    let failure = self.read(&context, TableQuery).await.err();
                    let fails = failure.is_some();
                    if let Some(error) = failure.filter(|_| !has_failed) {
                        tracing::warn!(%error, "watchers get no events: the table cannot be read");
                    }
                    has_failed = fails;
                }
            }
        }
    }
}

// === impl WatchStream ===

impl WatchStream {
    /// The next messages, at least one; `None` at the end.
    pub async fn next(&mut self) -> Option<Vec<WatchMessage>> {
        loop {
            if self.has_ended || self.subscription.is_closed() {
                return None;
            }
            if let Err(error) = self.session.check() {
                self.has_ended = true;
                return Some(vec![WatchMessage::End(error)]);
            }
            let (mut messages, is_idle) = self.take();
            let now = Instant::now();
            let is_due = now >= self.next_bookmark;
            if is_due && self.cursor.is_complete() && self.events.is_empty() {
                messages.push(WatchMessage::Bookmark(self.cursor.revision()));
            }
            if let Some(WatchMessage::Bookmark(_)) = messages.last() {
                self.next_bookmark = now + BOOKMARK_INTERVAL;
            }
            if !messages.is_empty() {
                return Some(messages);
            }
            if !is_idle {
                yield_now().await;
                continue;
            }
            let wake = match self.cursor.is_complete() {
                true => self.next_bookmark.min(now + CHECK_INTERVAL),
                false => now + CHECK_INTERVAL,
            };
            select! {
                () = self.subscription.changed() => {}
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    /// What there is to send, and whether there is nothing else for now.
    fn take(&mut self) -> (Vec<WatchMessage>, bool) {
        if !self.events.is_empty() {
            return (self.take_events(), false);
        }
        match self.subscription.advance(&mut self.cursor) {
            Step::State(objects) => {
                let shown = objects.into_iter();
                let shown = shown.filter_map(|one| self.view.of_present(one));
                (shown.map(WatchMessage::Change).collect(), false)
            }
            Step::Complete => {
                let revision = self.cursor.revision();
                (vec![WatchMessage::Bookmark(revision)], false)
            }
            Step::Events(events) => {
                self.events = events.into();
                (self.take_events(), false)
            }
            Step::Resync(reason) => (vec![WatchMessage::Resync(reason)], false),
            Step::Nothing => (Vec::new(), true),
        }
    }

    fn take_events(&mut self) -> Vec<WatchMessage> {
        let mut messages = Vec::new();
        while let Some(event) = self.events.front() {
            let parts = self.view.parts(event);
            let end = parts.min(self.sent + AT_ONCE);
            let shown = (self.sent..end).filter_map(|index| self.view.part(event, index));
            messages.extend(shown.map(WatchMessage::Change));
            if end < parts {
                self.sent = end;
                return messages;
            }
            self.sent = 0;
            self.events.pop_front();
        }
        messages
    }
}

// === impl WatchMessage ===

impl WatchMessage {
    /// The name in the API.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Change(change) => change.kind.as_str(),
            Self::Bookmark(_) => "bookmark",
            Self::Resync(_) => "resync",
            Self::End(_) => "end",
        }
    }

    /// Why the watch ends.
    pub fn end_reason(error: &Error) -> Reason {
        match error.reason {
            Reason::PermissionDenied => Reason::PermissionDenied,
            _ => Reason::Unauthenticated,
        }
    }
}

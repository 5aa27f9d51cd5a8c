//! The threads that read from directors, from the terminal, and make changes.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
    thread::{self, sleep},
    time::Duration,
};

use ratatui::crossterm::event;

use super::update::{Change, ChangeKind, ServiceFigures, Shown, Update};
use crate::{
    cli::{hints::describe, outcome::idempotent, target::Target},
    client::{
        ClientError, Include, ServerPatch, StatsEvent, StatsFrame, StatsInclude, StatsStreamQuery,
        WriteOptions,
    },
    model::{DrainRequest, DrainTarget, Field, Then},
};

/// Reads what is shown.
pub(super) struct Feeds {
    pub targets: Vec<Arc<Target>>,
    pub interval: Duration,
    pub updates: SyncSender<Update>,
    /// Ends the feed of the service that is shown with its servers.
    shown: Option<Arc<AtomicBool>>,
}

/// Time from a failure to the next attempt.
const RETRY: Duration = Duration::from_secs(1);

// === impl Feeds ===

impl Feeds {
    pub(super) fn new(
        targets: Vec<Target>,
        interval: Duration,
        updates: SyncSender<Update>,
    ) -> Self {
        Self {
            targets: targets.into_iter().map(Arc::new).collect(),
            interval,
            updates,
            shown: None,
        }
    }

    /// Begins to read the keys, and the figures of all directors.
    pub(super) fn start(&self) -> io::Result<()> {
        let updates = self.updates.clone();
        spawn(move || {
            // Without a terminal, there is nobody who could end the program.
            while let Ok(event) = event::read() {
                if updates.send(Update::Terminal(event)).is_err() {
                    return;
                }
            }
            let _ = updates.send(Update::End(1));
        })?;
        for (index, target) in self.targets.iter().enumerate() {
            let (target, updates) = (target.clone(), self.updates.clone());
            let query = self.query();
            spawn(move || {
                follow(&target, &query, |result| {
                    updates.send(Update::Frame(index, result)).is_ok()
                });
            })?;
        }
        Ok(())
    }

    fn query(&self) -> StatsStreamQuery {
        StatsStreamQuery {
            interval_seconds: u32::try_from(self.interval.as_secs()).ok(),
            ..StatsStreamQuery::default()
        }
    }

    /// Reads the servers of a service, instead of those of another.
    pub(super) fn show(&mut self, shown: Shown) -> io::Result<()> {
        self.hide();
        let Some(target) = self.targets.get(shown.director).cloned() else {
            return Ok(());
        };
        let is_hidden = Arc::new(AtomicBool::new(false));
        self.shown = Some(is_hidden.clone());
        let query = StatsStreamQuery {
            include: StatsInclude::Servers,
            service: Some(shown.service),
            ..self.query()
        };
        let updates = self.updates.clone();
        spawn(move || {
            follow(&target, &query, |result| {
                let result = result.and_then(|frame| figures(&target, shown, frame));
                !is_hidden.load(Ordering::Relaxed)
                    && updates.send(Update::Service(shown, result)).is_ok()
            });
        })
    }

    /// Ends the feed of the servers, at its next frame.
    pub(super) fn hide(&mut self) {
        if let Some(is_hidden) = self.shown.take() {
            is_hidden.store(true, Ordering::Relaxed);
        }
    }

    /// Makes a change.
    pub(super) fn change(&self, change: Change) -> io::Result<()> {
        let Some(target) = self.targets.get(change.of.director).cloned() else {
            return Ok(());
        };
        let updates = self.updates.clone();
        spawn(move || {
            let result = send(&target, &change).map_err(|error| describe(&error.into()));
            let result = result.map(|()| change.done());
            let _ = updates.send(Update::Changed(result));
        })
    }
}

/// Starts a thread that ends with the process.
fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().spawn(work).map(drop)
}

/// Reads a stream, and again after a failure, until `send` returns `false`.
fn follow(
    target: &Target,
    query: &StatsStreamQuery,
    send: impl Fn(Result<StatsFrame, String>) -> bool,
) {
    loop {
        let Some(error) = follow_once(target, query, &send) else {
            return;
        };
        if !send(Err(error)) {
            return;
        }
        sleep(RETRY);
    }
}

/// Reads a stream to its end; returns why it has ended, or `None` if `send` has returned `false`.
fn follow_once(
    target: &Target,
    query: &StatsStreamQuery,
    send: &impl Fn(Result<StatsFrame, String>) -> bool,
) -> Option<String> {
    let stream = match target.client.stats_stream(query) {
        Ok(stream) => stream,
        Err(error) => return Some(describe(&error.into())),
    };
    for event in stream {
        match event {
            Ok(StatsEvent::Frame(frame)) => {
                if !send(Ok(frame)) {
                    return None;
                }
            }
            Ok(StatsEvent::Unavailable(detail)) => {
                if !send(Err(detail)) {
                    return None;
                }
            }
            Ok(StatsEvent::End(reason)) => {
                return Some(format!("the director has ended the stream: {reason}"));
            }
            Err(error) => return Some(describe(&error.into())),
        }
    }
    Some("the director has ended the stream".to_owned())
}

/// Adds to a frame how the servers are configured.
fn figures(target: &Target, shown: Shown, frame: StatsFrame) -> Result<ServiceFigures, String> {
    let mut services = frame.services.into_iter();
    let frame = services.find(|service| service.id == shown.service);
    let frame = frame.ok_or("the service does not exist any more")?;
    let servers = target.client.servers(shown.service, Include::default());
    let servers = servers.map_err(|error| describe(&error.into()))?;
    Ok(ServiceFigures { frame, servers })
}

fn send(target: &Target, change: &Change) -> Result<(), ClientError> {
    let client = &target.client;
    let options = WriteOptions::default();
    let Change { of, server, kind } = *change;
    match kind {
        ChangeKind::Drain => {
            let request = DrainRequest {
                target: DrainTarget::Server(server),
                services: Some(vec![of.service]),
                deadline_seconds: None,
                then: Then::Keep,
            };
            idempotent(|| client.create_drain(&request, &options)).map(drop)
        }
        ChangeKind::Undrain(id) => idempotent(|| client.delete_drain(id, &options)).map(drop),
        ChangeKind::Weight { to, .. } => {
            let patch = ServerPatch {
                weight: Field::Set(to),
                ..ServerPatch::default()
            };
            idempotent(|| client.update_server(of.service, server, &patch, &options)).map(drop)
        }
    }
}

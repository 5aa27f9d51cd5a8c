//! What is shown: the figures of the directors, and what the user has selected.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    column::{Figures, Order},
    dialog::Dialog,
    update::{ServiceFigures, Shown, Update},
};
use crate::{
    client::{ServerFrame, ServiceFrame, StatsFrame},
    model::{HoldKind, Server, ServerKey},
};

/// What is shown.
#[derive(Debug)]
pub(super) struct State {
    pub directors: Vec<Director>,
    /// From one frame to the next.
    pub interval: Duration,
    pub services: List<Shown>,
    /// The service whose servers are shown, instead of the services.
    pub detail: Option<Detail>,
    /// Only services whose id, or director's name, has this text.
    pub filter: String,
    pub dialog: Option<Dialog>,
    /// What has become of the last change.
    pub message: Option<Result<String, String>>,
}

/// A director and its last figures.
#[derive(Debug)]
pub(super) struct Director {
    pub name: String,
    pub latest: Latest<StatsFrame>,
}

/// A service with its servers.
#[derive(Debug)]
pub(super) struct Detail {
    pub shown: Shown,
    pub latest: Latest<ServiceFigures>,
    pub servers: List<ServerKey>,
}

/// The last figures, and why there are no newer ones.
#[derive(Debug)]
pub(super) struct Latest<T> {
    pub figures: Option<T>,
    /// When they were received.
    received: Option<Instant>,
    pub error: Option<String>,
}

/// A list of rows in which one is selected.
#[derive(Debug)]
pub(super) struct List<K> {
    pub order: Order,
    /// `None` until the user selects one: the first row then, whichever it is.
    selected: Option<K>,
    /// Its place when it was last shown, for the case that it disappears.
    place: usize,
    /// The first row that is shown.
    offset: usize,
    /// The number of rows that are shown.
    height: usize,
}

/// A server in the list of its service.
#[derive(Debug)]
pub(super) struct ServerRow<'a> {
    pub frame: &'a ServerFrame,
    pub figures: Figures,
    /// As it is configured; `None` if it was not at that time.
    pub server: Option<&'a Server>,
}

// === impl State ===

impl State {
    pub(super) fn new(names: Vec<String>, interval: Duration) -> Self {
        let director = |name| Director {
            name,
            latest: Latest::default(),
        };
        Self {
            directors: names.into_iter().map(director).collect(),
            interval,
            services: List::default(),
            detail: None,
            filter: String::new(),
            dialog: None,
            message: None,
        }
    }

    /// Takes figures, or what has become of a change.
    pub(super) fn update(&mut self, update: Update, now: Instant) {
        match update {
            Update::Frame(director, result) => {
                if let Some(director) = self.directors.get_mut(director) {
                    director.latest.set(result, now);
                }
            }
            Update::Service(shown, result) => {
                if let Some(detail) = self.detail.as_mut().filter(|one| one.shown == shown) {
                    detail.latest.set(result, now);
                }
            }
            Update::Changed(result) => self.message = Some(result),
            Update::Terminal(_) | Update::End(_) => {}
        }
    }

    /// The services that the filter selects, in their order.
    pub(super) fn rows(&self) -> Vec<(Shown, Figures, &ServiceFrame)> {
        let filter = self.filter.to_lowercase();
        let mut rows = Vec::new();
        for (index, director) in self.directors.iter().enumerate() {
            let has_name = director.name.to_lowercase().contains(&filter);
            let services = director.latest.figures.iter();
            for service in services.flat_map(|frame| &frame.services) {
                let shown = Shown {
                    director: index,
                    service: service.id,
                };
                if has_name || service.id.to_string().contains(&filter) {
                    rows.push((shown, Figures::from(service), service));
                }
            }
        }
        let order = self.services.order;
        let key = |shown: &Shown| (shown.service, shown.director);
        rows.sort_by(|a, b| order.compare((&key(&a.0), &a.1), (&key(&b.0), &b.1)));
        rows
    }

    /// The number of services of all directors.
    pub(super) fn service_count(&self) -> usize {
        let frames = self.directors.iter().flat_map(|one| &one.latest.figures);
        frames.map(|frame| frame.services.len()).sum()
    }
}

// === impl Detail ===

impl Detail {
    pub(super) fn new(shown: Shown) -> Self {
        Self {
            shown,
            latest: Latest::default(),
            servers: List::default(),
        }
    }

    /// The servers in their order.
    pub(super) fn rows(&self) -> Vec<ServerRow<'_>> {
        let Some(ServiceFigures { frame, servers }) = &self.latest.figures else {
            return Vec::new();
        };
        let servers: HashMap<_, _> = servers.iter().map(|server| (server.key, server)).collect();
        let rows = frame.servers.iter().map(|frame| ServerRow {
            frame,
            figures: Figures::from(frame),
            server: servers.get(&frame.id).copied(),
        });
        let mut rows: Vec<_> = rows.collect();
        let order = self.servers.order;
        rows.sort_by(|a, b| order.compare((&a.frame.id, &a.figures), (&b.frame.id, &b.figures)));
        rows
    }

    /// The keys of the servers in their order.
    pub(super) fn keys(&self) -> Vec<ServerKey> {
        self.rows().iter().map(|row| row.frame.id).collect()
    }
}

// === impl ServerRow ===

impl ServerRow<'_> {
    /// The intended weight.
    pub(super) fn weight(&self) -> u32 {
        self.server
            .map_or(self.frame.weight, |server| server.config.weight)
    }

    /// What holds the weight: a drain rather than a ramp.
    pub(super) fn hold(&self) -> Option<HoldKind> {
        let holds = self.server.and_then(|server| server.holds.as_deref());
        let mut kinds = holds.unwrap_or_default().iter().map(|hold| hold.kind);
        let first = kinds.clone().next();
        kinds.find(|kind| *kind == HoldKind::Drain).or(first)
    }
}

// === impl Latest ===

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self {
            figures: None,
            received: None,
            error: None,
        }
    }
}

impl<T> Latest<T> {
    pub(super) fn set(&mut self, result: Result<T, String>, now: Instant) {
        match result {
            Ok(figures) => {
                self.figures = Some(figures);
                self.received = Some(now);
                self.error = None;
            }
            Err(error) => self.error = Some(error),
        }
    }

    /// The age of the figures, if they are not current: there was an error, or two frames are missing.
    pub(super) fn age(&self, interval: Duration, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.received?);
        (self.error.is_some() || age > 3 * interval).then_some(age)
    }
}

// === impl List ===

impl<K> Default for List<K> {
    fn default() -> Self {
        Self {
            order: Order::default(),
            selected: None,
            place: 0,
            offset: 0,
            height: 1,
        }
    }
}

impl<K: Copy + PartialEq> List<K> {
    /// The place of the selected row. If it has disappeared, that of the row which took its place.
    fn find(&self, keys: &[K]) -> usize {
        let found = keys.iter().position(|key| Some(*key) == self.selected);
        found.unwrap_or(self.place.min(keys.len().saturating_sub(1)))
    }

    /// The selected row.
    pub(super) fn selected(&self, keys: &[K]) -> Option<K> {
        keys.get(self.find(keys)).copied()
    }

    /// Selects the row at a distance from the selected one, within the ends.
    pub(super) fn move_by(&mut self, distance: isize, keys: &[K]) {
        let last = keys.len().saturating_sub(1);
        self.place = self.find(keys).saturating_add_signed(distance).min(last);
        self.selected = keys.get(self.place).copied();
    }

    /// The number of rows of a page.
    pub(super) fn page(&self) -> isize {
        isize::try_from(self.height).unwrap_or(isize::MAX)
    }

    /// The rows to show in so many lines, and the place of the selected one.
    pub(super) fn show(&mut self, keys: &[K], height: usize) -> (std::ops::Range<usize>, usize) {
        self.height = height.max(1);
        self.place = self.find(keys);
        let first = (self.place + 1).saturating_sub(self.height);
        let last = keys.len().saturating_sub(self.height);
        self.offset = self.offset.clamp(first, self.place).min(last);
        (
            self.offset..keys.len().min(self.offset + height),
            self.place,
        )
    }
}

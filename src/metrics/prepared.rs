//! What is prepared once for all texts of a table.

use std::{ops::Range, time::SystemTime};

use super::{
    Creations,
    node_exporter::Backends,
    text::{Created, Texts, labels},
};
use crate::model::ServiceEntry;

/// Labels and order of the services of a table, and which of them have their servers shown.
#[derive(Debug, Default)]
pub struct Prepared {
    /// In the order of the texts: that of the ids.
    services: Vec<PreparedService>,
    service_labels: Texts,
    server_labels: Texts,
    /// Since when the counters of the shown servers are counted; empty if it is known of none.
    created: Vec<Created>,
    truncated: usize,
    pub(super) backends: Option<Backends>,
}

/// A service.
#[derive(Debug)]
pub(super) struct PreparedService {
    /// Its place in the table.
    pub(super) index: usize,
    /// The places of its servers among all that are shown; empty if they are not.
    pub(super) servers: Range<usize>,
    pub(super) created: Created,
}

/// How a table is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeOptions {
    /// The most servers that are shown. Services whose servers do not fit lose all of them. Default 10,000.
    pub max_servers: usize,
    /// Whether the families of node_exporter are shown, too. Default false.
    pub node_exporter_names: bool,
}

// === impl ScrapeOptions ===

impl Default for ScrapeOptions {
    fn default() -> Self {
        Self {
            max_servers: 10_000,
            node_exporter_names: false,
        }
    }
}

// === impl Prepared ===

impl Prepared {
    /// Prepares the texts of a table that was read after `read`.
    pub fn new(
        table: &[ServiceEntry],
        options: ScrapeOptions,
        creations: &Creations,
        read: SystemTime,
    ) -> Self {
        let mut order: Vec<_> = (0..table.len()).collect();
        order.sort_unstable_by_key(|index| table.get(*index).map(|entry| entry.service.key));
        let mut prepared = Self::default();
        let mut left = options.max_servers;
        for index in order {
            let Some(entry) = table.get(index) else {
                continue;
            };
            let is_shown = entry.servers.len() <= left;
            if is_shown {
                left -= entry.servers.len();
            } else {
                prepared.truncated += 1;
            }
            prepared.add(index, entry, is_shown, creations, read);
        }
        if prepared
            .created
            .iter()
            .all(|time| *time == Created::default())
        {
            prepared.created = Vec::new();
        }
        if options.node_exporter_names {
            let shown = prepared.services.iter();
            let shown = shown.filter(|service| !service.servers.is_empty());
            let shown = shown.filter_map(|service| table.get(service.index));
            prepared.backends = Some(Backends::new(shown));
        }
        prepared
    }

    fn add(
        &mut self,
        index: usize,
        entry: &ServiceEntry,
        is_shown: bool,
        creations: &Creations,
        read: SystemTime,
    ) {
        let key = entry.service.key;
        let id = key.to_string();
        self.service_labels
            .push(|out| labels(out, &[("service", &id)]));
        let shown = match is_shown {
            true => entry.servers.as_slice(),
            false => &[],
        };
        let first = self.server_labels.len();
        for server in shown {
            let server = server.key.to_string();
            self.server_labels
                .push(|out| labels(out, &[("service", &id), ("server", &server)]));
        }
        let keys = shown.iter().map(|server| server.key);
        let created = &mut self.created;
        let of_service = creations.of_service(key, keys, read, |time| created.push(time.into()));
        self.services.push(PreparedService {
            index,
            servers: first..self.server_labels.len(),
            created: of_service.into(),
        });
    }

    /// The number of services whose servers are not shown.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// Its memory in bytes, about.
    pub fn memory(&self) -> usize {
        self.services.capacity() * size_of::<PreparedService>()
            + self.service_labels.memory()
            + self.server_labels.memory()
            + self.created.capacity() * size_of::<Created>()
            + self.backends.as_ref().map_or(0, Backends::memory)
    }

    pub(super) fn service(&self, place: usize) -> Option<(&PreparedService, &[u8])> {
        let service = self.services.get(place)?;
        Some((service, self.service_labels.get(place)))
    }

    /// The labels of a shown server, and since when it is counted.
    pub(super) fn server(&self, place: usize) -> (&[u8], Created) {
        let created = self.created.get(place).copied().unwrap_or_default();
        (self.server_labels.get(place), created)
    }
}

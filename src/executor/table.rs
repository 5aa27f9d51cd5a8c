//! Services, with or without their servers.

use std::ops::Deref;

use crate::{
    budget::{Budget, Charged},
    model::{Error, Server, ServiceEntry},
    watch::Seen,
};

/// Services, with or without their servers, in the kernel's order. Requests share a table, and keep
/// it as long as they need it.
#[derive(Debug)]
pub struct Table {
    entries: Charged<Vec<ServiceEntry>>,
    /// The number of leading services whose servers have been read.
    read: usize,
}

// === impl Table ===

impl Table {
    /// The table, if there is memory for it beside those that requests in progress still use.
    pub(super) fn new(
        entries: Vec<ServiceEntry>,
        read: usize,
        budget: &Budget,
    ) -> Result<Self, Error> {
        let servers: usize = entries.iter().map(|entry| entry.servers.capacity()).sum();
        let bytes = entries.capacity() * size_of::<ServiceEntry>() + servers * size_of::<Server>();
        let charge = budget.charge(bytes)?;
        Ok(Self {
            entries: Charged::new(entries, charge),
            read,
        })
    }

    /// What it shows.
    pub(super) fn seen(&self) -> Seen<'_> {
        Seen::Table(&self.entries, self.read)
    }

    /// Whether it has the servers of the service at this index.
    pub fn has_servers_of(&self, index: usize) -> bool {
        index < self.read
    }

    /// Whether it has the servers of all services.
    pub fn is_complete(&self) -> bool {
        self.read == self.entries.len()
    }
}

impl Deref for Table {
    type Target = Vec<ServiceEntry>;

    fn deref(&self) -> &Vec<ServiceEntry> {
        &self.entries
    }
}

//! Filtering, sorting and paging of listings.

use std::{net::IpAddr, str::FromStr};

use super::types::SharedTable;
use crate::model::{Error, Include, Protocol, Server, ServiceEntry};

/// Which services, in what order, how many at a time.
#[derive(Clone, Debug, Default)]
pub struct ListServices {
    /// Which.
    pub filter: Filter,
    /// What is told of each.
    pub include: Include,
    /// In what order; default by id.
    pub order: Order,
    /// At most how many; `None` for the configured default.
    pub page_size: Option<u32>,
    /// `next_page_token` of the page before.
    pub page_token: Option<String>,
}

/// Which servers of a service, in what order, how many at a time.
#[derive(Clone, Debug, Default)]
pub struct ListServers {
    /// What is told of each.
    pub include: Include,
    /// In what order; default the kernel's.
    pub order: Order,
    /// At most how many; `None` for the configured default.
    pub page_size: Option<u32>,
    /// `next_page_token` of the page before.
    pub page_token: Option<String>,
}

/// Which services are wanted; absent fields let all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this protocol.
    pub protocol: Option<Protocol>,
    /// Only this virtual address.
    pub address: Option<IpAddr>,
    /// Only this port.
    pub port: Option<u16>,
    /// Only this firewall mark.
    pub fwmark: Option<u32>,
    /// Only this scheduler.
    pub scheduler: Option<String>,
}

/// The order of a listing. With `-` before its name in a request it is turned round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub by: OrderBy,
    /// Whether the largest comes first.
    pub descending: bool,
}

/// What a listing is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderBy {
    /// The listing's own default: services by id, servers as in the kernel.
    #[default]
    Default,
    /// `id`: protocol, address, port; firewall marks last.
    Id,
    /// `kernel`: the kernel's own order; for servers the one that schedulers use.
    Kernel,
    /// `stats.connections`, `stats.packets_in`, …: one of the five counters, by its place.
    Stats(usize),
    /// `rates.connections`, …: one of the five rates, by its place.
    Rates(usize),
}

/// A page of services.
#[derive(Clone, Debug)]
pub struct ServicePage {
    pub(super) table: SharedTable,
    pub(super) order: Vec<u32>,
    /// What is told of each.
    pub include: Include,
    /// Token of the page after this; `None` on the last.
    pub next_page_token: Option<String>,
    /// Whether the kernel estimates (setting `run_estimation`); known where counters or rates are
    /// included.
    pub estimation: Option<bool>,
}

/// A page of servers.
#[derive(Clone, Debug)]
pub struct ServerPage {
    /// The servers.
    pub servers: Vec<Server>,
    /// What is told of each.
    pub include: Include,
    /// Token of the page after this; `None` on the last.
    pub next_page_token: Option<String>,
    /// As in [`ServicePage::estimation`].
    pub estimation: Option<bool>,
}

// === impl ServicePage ===

impl ServicePage {
    /// How many services are on it.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether it has no service.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The service at a place on it.
    pub fn get(&self, place: usize) -> Option<&ServiceEntry> {
        self.table.get(*self.order.get(place)? as usize)
    }

    /// The services on it.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceEntry> {
        (0..self.len()).filter_map(|place| self.get(place))
    }

    /// The first `len` services of this page; the next page begins after them.
    #[must_use]
    pub fn cut(mut self, len: usize) -> Self {
        if len < self.order.len() {
            self.order.truncate(len);
        }
        self
    }
}

// === impl Order ===

impl FromStr for Order {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const FIELDS: [&str; 5] = [
            "connections",
            "packets_in",
            "packets_out",
            "bytes_in",
            "bytes_out",
        ];
        let (descending, name) = match text.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let place = |name: &str| FIELDS.iter().position(|field| *field == name);
        let by = match name.split_once('.') {
            None if name == "id" => Some(OrderBy::Id),
            None if name == "kernel" => Some(OrderBy::Kernel),
            Some(("stats", field)) => place(field).map(OrderBy::Stats),
            Some(("rates", field)) => place(field).map(OrderBy::Rates),
            _ => None,
        };
        by.map(|by| Self { by, descending }).ok_or_else(|| {
            Error::invalid(
                "sort",
                format!(
                    "{text:?} is not an order: id, kernel, stats.FIELD or rates.FIELD with FIELD \
                     {}; - before it turns it round",
                    FIELDS.join(", ")
                ),
            )
        })
    }
}

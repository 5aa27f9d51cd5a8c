//! Filtering, sorting and paging of listings.

use std::{fmt::Display, net::IpAddr, str::FromStr, sync::Arc};

use super::{
    Answer, App, AppOptions, RequestContext, mismatch,
    pages::{Pages, ServicePage},
};
use crate::{
    executor::{Seen, Told},
    model::{
        Error, Include, Protocol, Query, Rates, Server, ServerKey, ServiceEntry, ServiceKey, Stats,
    },
};

/// Which services, in what order, how many at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// A page of servers.
#[derive(Clone, Debug)]
pub struct ServerPage {
    /// The servers.
    pub servers: Vec<Server>,
    /// What is told of each.
    pub include: Include,
    more: bool,
    order: Order,
    /// As in [`ServicePage::estimation`].
    pub estimation: Option<bool>,
}

// === impl App ===

impl App {
    /// Lists services, a page at a time (ipvsadm -L).
    pub async fn list_services(
        &self,
        context: &RequestContext,
        list: ListServices,
    ) -> Result<Answer<Arc<ServicePage>>, Error> {
        let size = self.options.page_size(list.page_size)?;
        let order = list.order.or(OrderBy::Id);
        let token = list
            .page_token
            .as_deref()
            .map(|token| Token::parse(token, order));
        let token: Option<Token<ServiceKey>> = token.transpose()?;
        let estimation = self.estimation(context, list.include).await?;
        let query = if list.include.servers {
            Query::Table
        } else {
            Query::Services
        };
        let Told {
            value: Seen::Table(table),
            age,
            rendered,
        } = self
            .executor
            .ask(query, context.max_age, context.deadline)
            .await?
        else {
            return Err(mismatch());
        };
        let make = || ServicePage::of(table, &list, order, size, token, estimation);
        let value = match rendered {
            Some(rendered) => Pages::on(&rendered).get_or_render(&list, estimation, make)?,
            None => Arc::new(make()?),
        };
        Ok(Answer { value, age })
    }
}

impl AppOptions {
    fn page_size(&self, asked: Option<u32>) -> Result<usize, Error> {
        let size = asked
            .filter(|size| *size != 0)
            .unwrap_or(self.default_page_size);
        if size > self.max_page_size {
            return Err(Error::invalid(
                "page_size",
                format!(
                    "{size} is out of range: 1 to {}; 0 for the default",
                    self.max_page_size
                ),
            ));
        }
        Ok(size as usize)
    }
}

// === impl Filter ===

impl Filter {
    pub(super) fn lets_pass(&self, entry: &ServiceEntry) -> bool {
        let service = &entry.service;
        let scheduler = self.scheduler.as_deref();
        if scheduler.is_some_and(|scheduler| scheduler != service.config.scheduler.as_str()) {
            return false;
        }
        match service.key {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => {
                self.fwmark.is_none()
                    && self.protocol.is_none_or(|wanted| wanted == protocol)
                    && self.address.is_none_or(|wanted| wanted == address)
                    && self.port.is_none_or(|wanted| wanted == port)
            }
            ServiceKey::Fwmark { mark, .. } => {
                self.protocol.is_none()
                    && self.address.is_none()
                    && self.port.is_none()
                    && self.fwmark.is_none_or(|wanted| wanted == mark)
            }
        }
    }
}

// === impl ServerPage ===

impl ServerPage {
    /// The page that `list` asks for.
    pub(super) fn of(
        servers: &[Server],
        list: &ListServers,
        options: &AppOptions,
        estimation: Option<bool>,
    ) -> Result<Self, Error> {
        let size = options.page_size(list.page_size)?;
        let order = list.order.or(OrderBy::Kernel);
        let token = list
            .page_token
            .as_deref()
            .map(|token| Token::parse(token, order));
        let token: Option<Token<ServerKey>> = token.transpose()?;
        let mut places: Vec<usize> = (0..servers.len()).collect();
        let rank = |place: usize| {
            let server = &servers[place];
            (sort_value(order, &server.stats, &server.rates), server.key)
        };
        let more = page(&mut places, order, size, token, rank)?;
        let servers: Vec<Server> = places.into_iter().map(|place| servers[place]).collect();
        Ok(Self {
            servers,
            include: list.include,
            more,
            order,
            estimation,
        })
    }

    /// Token of the page after this; `None` on the last.
    pub fn next_page_token(&self) -> Option<String> {
        let last = self.servers.last().filter(|_| self.more)?;
        let value = sort_value(self.order, &last.stats, &last.rates);
        Some(
            Token {
                value,
                key: last.key,
            }
            .print(),
        )
    }

    /// The first `len` servers of this page, at least one; the next page begins after them.
    #[must_use]
    pub fn cut(mut self, len: usize) -> Self {
        let len = len.max(1);
        if len < self.servers.len() {
            self.servers.truncate(len);
            self.more = true;
        }
        self
    }
}

/// The last entry of the page before: where the next one begins, also when the table has changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<K> {
    pub(super) value: u64,
    pub(super) key: K,
}

impl<K: Display + FromStr> Token<K> {
    pub(super) fn print(&self) -> String {
        format!("{:x}~{}", self.value, self.key)
    }

    fn parse(text: &str, order: Order) -> Result<Self, Error> {
        text.split_once('~')
            .and_then(|(value, key)| {
                let value = u64::from_str_radix(value, 16).ok()?;
                // Another order has another value in its tokens, or none.
                let fits = value == 0 || matches!(order.by, OrderBy::Stats(_) | OrderBy::Rates(_));
                fits.then_some(Self {
                    value,
                    key: key.parse().ok()?,
                })
            })
            .ok_or_else(|| {
                Error::invalid("page_token", "is not a next_page_token of this listing")
                    .with_hint("leave it out to begin with the first page")
            })
    }
}

/// Sorts `places`, drops those up to the token and those after the page. Returns whether there are
/// more.
pub(super) fn page<K: Ord>(
    places: &mut Vec<usize>,
    order: Order,
    size: usize,
    token: Option<Token<K>>,
    rank: impl Fn(usize) -> (u64, K),
) -> Result<bool, Error> {
    let compare = |a: &(u64, K), b: &(u64, K)| {
        // By what was asked for, then by id, which always ascends.
        let by_value = if order.descending {
            b.0.cmp(&a.0)
        } else {
            a.0.cmp(&b.0)
        };
        let by_key = a.1.cmp(&b.1);
        match order.by {
            OrderBy::Id if order.descending => by_key.reverse(),
            _ => by_value.then(by_key),
        }
    };
    let after = token.map(|token| (token.value, token.key));
    let start = if order.by == OrderBy::Kernel {
        if order.descending {
            places.reverse();
        }
        match after {
            None => 0,
            // The kernel's order has no other way to find where the page before ended.
            Some((_, key)) => {
                let found = places.iter().position(|&place| rank(place).1 == key);
                1 + found.ok_or_else(|| {
                    Error::invalid(
                        "page_token",
                        "the entry that ended the page before has gone, and in the kernel's order \
                         nothing else tells where to go on",
                    )
                    .with_hint("begin with the first page, or sort by id")
                })?
            }
        }
    } else {
        places.sort_by(|&a, &b| compare(&rank(a), &rank(b)));
        after.map_or(0, |after| {
            places.partition_point(|&place| compare(&rank(place), &after).is_le())
        })
    };
    places.drain(..start);
    let more = places.len() > size;
    places.truncate(size);
    Ok(more)
}

/// What an order compares, 0 where that is the key alone.
pub(super) fn sort_value(order: Order, stats: &Stats, rates: &Rates) -> u64 {
    let pick = |five: [u64; 5], place: usize| five.get(place).copied().unwrap_or(0);
    match order.by {
        OrderBy::Default | OrderBy::Id | OrderBy::Kernel => 0,
        OrderBy::Stats(place) => pick(stats.values(), place),
        OrderBy::Rates(place) => pick(rates.values(), place),
    }
}

// === impl Order ===

impl Order {
    /// This order, with the listing's default in its place where none was asked for.
    fn or(self, default: OrderBy) -> Self {
        let by = if self.by == OrderBy::Default {
            default
        } else {
            self.by
        };
        Self { by, ..self }
    }
}

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

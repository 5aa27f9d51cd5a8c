//! Sorting and paging of lists. Pages are found again by the last entry of the previous page (keyset
//! pagination), so that changes of the table between two pages neither repeat nor skip others.

use std::{
    fmt::Display,
    hash::{Hash, Hasher},
    str::FromStr,
};

use crate::{
    budget::Charge,
    model::{Error, Rates, Stats, fingerprint},
};

/// The order of a list. Requests write it as a name; `-` before the name means descending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Order {
    /// What to sort by.
    pub by: OrderBy,
    /// Whether the order is descending.
    pub descending: bool,
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OrderBy {
    /// The default of the list: services by id, servers in the kernel's order.
    #[default]
    Default,
    /// `id`: protocol, address, port; firewall marks last.
    Id,
    /// `kernel`: the kernel's order. Schedulers use that of servers.
    Kernel,
    /// `stats.connections`, `stats.packets_in`, …: one of the five counters, by its index.
    Stats(usize),
    /// `rates.connections`, …: one of the five rates, by its index.
    Rates(usize),
}

/// The last entry of a page, where the next page starts.
///
/// As text it is `BINDING~VALUE~KEY`. The binding is a fingerprint of the request's filters, sort,
/// include and principal: a token is valid only with the same ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<K> {
    /// The value that the list is sorted by; 0 for an order by key.
    pub(super) value: u64,
    pub(super) key: K,
}

/// Which part of a list a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paging<K> {
    pub(super) order: Order,
    /// Most entries of the page.
    pub(super) size: usize,
    /// Where the page starts; `None` for the first one.
    pub(super) token: Option<Token<K>>,
    /// See [`Token`].
    pub(super) binding: u32,
}

/// An entry of a list that is ordered by its keys.
pub trait Keyed {
    /// The key.
    type Key: Display + FromStr;

    /// The key of this entry.
    fn key(&self) -> Self::Key;
}

/// A page of a list that is ordered by its keys.
#[derive(Debug)]
pub struct KeyPage<T> {
    /// The entries, by key.
    pub entries: Vec<T>,
    /// Whether others follow.
    more: bool,
    /// See [`Token`].
    binding: u32,
    /// For the entries, and for what is encoded of them.
    _charge: Charge,
}

/// The names of the counters in [`OrderBy`], in the order of [`Stats::values`].
const COUNTERS: [&str; 5] = [
    "connections",
    "packets_in",
    "packets_out",
    "bytes_in",
    "bytes_out",
];

/// The binding of a request's page tokens.
pub(super) fn binding(request: &impl Hash) -> u32 {
    let mut hasher = fingerprint();
    request.hash(&mut hasher);
    // The lower half is enough to detect a mistake.
    hasher.finish() as u32
}

// === impl Token ===

impl<K: Display + FromStr> Token<K> {
    pub(super) fn print(&self, binding: u32) -> String {
        format!("{binding:08x}~{:x}~{}", self.value, self.key)
    }

    pub(super) fn parse(text: &str, binding: u32) -> Result<Self, Error> {
        let mut parts = text.splitn(3, '~');
        let mut part = || parts.next().unwrap_or_default();
        let (bound, value, key) = (part(), part(), part());
        let token = u64::from_str_radix(value, 16).ok().zip(key.parse().ok());
        let invalid = |message| Error::invalid("page_token", message);
        match (u32::from_str_radix(bound, 16), token) {
            (Ok(bound), Some(_)) if bound != binding => Err(invalid(
                "was issued for a request with other filters, sort, include or principal",
            )
            .with_hint("repeat the parameters of the previous page, or omit page_token")),
            (Ok(_), Some((value, key))) => Ok(Self { value, key }),
            _ => Err(invalid("is not a next_page_token of this list")
                .with_hint("omit it to start with the first page")),
        }
    }
}

/// Sorts `indexes` and keeps those of one page: the first `size` after the token. Returns whether
/// entries follow. `rank` gives the sort value and the key of an entry.
pub(super) fn select<K: Ord>(
    indexes: &mut Vec<usize>,
    order: Order,
    size: usize,
    token: Option<Token<K>>,
    rank: impl Fn(usize) -> (u64, K),
) -> Result<bool, Error> {
    let compare = |a: &(u64, K), b: &(u64, K)| {
        // Entries of equal value ascend by key in both directions.
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
            indexes.reverse();
        }
        match after {
            None => 0,
            Some((_, key)) => {
                let last = indexes.iter().position(|&index| rank(index).1 == key);
                1 + last.ok_or_else(|| {
                    Error::invalid(
                        "page_token",
                        "the last entry of the previous page was deleted; the kernel's order has no \
                         other reference to continue from",
                    )
                    .with_hint("start with the first page, or sort by id")
                })?
            }
        }
    } else {
        indexes.sort_by(|&a, &b| compare(&rank(a), &rank(b)));
        after.map_or(0, |after| {
            indexes.partition_point(|&index| compare(&rank(index), &after).is_le())
        })
    };
    indexes.drain(..start);
    let more = indexes.len() > size;
    indexes.truncate(size);
    Ok(more)
}

/// The value that an order compares; 0 for an order by key.
pub(super) fn sort_value(order: Order, stats: &Stats, rates: &Rates) -> u64 {
    let pick = |values: [u64; 5], index: usize| values.get(index).copied().unwrap_or(0);
    match order.by {
        OrderBy::Default | OrderBy::Id | OrderBy::Kernel => 0,
        OrderBy::Stats(index) => pick(stats.values(), index),
        OrderBy::Rates(index) => pick(rates.values(), index),
    }
}

// === impl KeyPage ===

impl<T: Keyed> KeyPage<T> {
    pub(super) fn new(entries: Vec<T>, more: bool, binding: u32, charge: Charge) -> Self {
        Self {
            entries,
            more,
            binding,
            _charge: charge,
        }
    }

    /// Token of the next page; `None` on the last.
    pub fn next_page_token(&self) -> Option<String> {
        let last = self.entries.last().filter(|_| self.more)?;
        let token = Token {
            value: 0,
            key: last.key(),
        };
        Some(token.print(self.binding))
    }

    /// The page with its first `len` entries, at least one. The next page starts after them.
    #[must_use]
    pub fn cut(mut self, len: usize) -> Self {
        let len = len.max(1);
        if len < self.entries.len() {
            self.entries.truncate(len);
            self.more = true;
        }
        self
    }
}

// === impl Order ===

impl Order {
    /// This order, with the default of a list if the request names none.
    pub(super) fn or(self, default: OrderBy) -> Self {
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
        let (descending, name) = match text.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let index = |name: &str| COUNTERS.iter().position(|counter| *counter == name);
        let by = match name.split_once('.') {
            None if name == "id" => Some(OrderBy::Id),
            None if name == "kernel" => Some(OrderBy::Kernel),
            Some(("stats", counter)) => index(counter).map(OrderBy::Stats),
            Some(("rates", counter)) => index(counter).map(OrderBy::Rates),
            _ => None,
        };
        by.map(|by| Self { by, descending }).ok_or_else(|| {
            Error::invalid(
                "sort",
                format!(
                    "{text:?} is not an order: id, kernel, stats.FIELD or rates.FIELD, where FIELD \
                     is one of {}; prefix with - for descending order",
                    COUNTERS.join(", ")
                ),
            )
        })
    }
}

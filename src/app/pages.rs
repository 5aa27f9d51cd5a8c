//! A page of a listing, and the pages of one table that many ask for: each is made once, and so is
//! what the faces make of it.

use std::sync::{Arc, Mutex, PoisonError};

use super::list::{ListServices, Order, Token, page, sort_value};
use crate::{
    executor::RenderCache,
    model::{Error, Include, ServiceEntry, ServiceKey},
};

/// A page of services.
#[derive(Debug)]
pub struct ServicePage {
    table: Arc<Vec<ServiceEntry>>,
    places: Vec<usize>,
    more: bool,
    order: Order,
    /// What is told of each.
    pub include: Include,
    /// Whether the kernel estimates (setting `run_estimation`); known where counters or rates are
    /// included.
    pub estimation: Option<bool>,
    /// What is made of it for all who are told it; `None` where that is one.
    made: Option<RenderCache>,
}

/// The pages of one kept table.
#[derive(Debug, Default)]
pub(super) struct Pages(Mutex<Vec<Shared>>);

#[derive(Debug)]
struct Shared {
    list: ListServices,
    estimation: Option<bool>,
    page: Arc<ServicePage>,
}

/// How many pages of one table are shared: dashboards ask alike. Another one is made for who asks.
const MOST: usize = 4;
/// Services and servers of the largest page that is shared, some 600 bytes each as JSON: what is
/// made of it is kept in memory, where that of a larger one is streamed.
const LARGEST: usize = 2048;

// === impl ServicePage ===

impl ServicePage {
    /// The page of a table that `list` asks for.
    pub(super) fn of(
        table: Arc<Vec<ServiceEntry>>,
        list: &ListServices,
        order: Order,
        size: usize,
        token: Option<Token<ServiceKey>>,
        estimation: Option<bool>,
    ) -> Result<Self, Error> {
        let mut places: Vec<usize> = (0..table.len())
            .filter(|&i| list.filter.lets_pass(&table[i]))
            .collect();
        let rank = |place: usize| {
            let service = &table[place].service;
            (
                sort_value(order, &service.stats, &service.rates),
                service.key,
            )
        };
        let more = page(&mut places, order, size, token, rank)?;
        Ok(Self {
            table,
            places,
            more,
            order,
            include: list.include,
            estimation,
            made: None,
        })
    }

    /// Whether many are told this same page.
    pub fn is_shared(&self) -> bool {
        self.made.is_some()
    }

    /// What `make` makes of it; once for each type, where many are told the same page.
    pub fn get_or_render<T: Clone + Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> T {
        match &self.made {
            Some(rendered) => rendered.get_or_render(make),
            None => make(),
        }
    }

    /// How many services are on it.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has no service.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The service at a place on it.
    pub fn get(&self, place: usize) -> Option<&ServiceEntry> {
        self.table.get(*self.places.get(place)?)
    }

    /// The services on it.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceEntry> {
        self.places
            .iter()
            .filter_map(|place| self.table.get(*place))
    }

    /// Token of the page after this; `None` on the last.
    pub fn next_page_token(&self) -> Option<String> {
        self.token_after(self.len())
    }

    /// Token of the page after the first `len` services of this one, at least one.
    pub fn token_after(&self, len: usize) -> Option<String> {
        let more = self.more || len.max(1) < self.len();
        let last = self.get(len.clamp(1, self.len().max(1)) - 1)?;
        more.then(|| {
            let value = sort_value(self.order, &last.service.stats, &last.service.rates);
            let key = last.service.key;
            Token { value, key }.print()
        })
    }
}

// === impl Pages ===

impl Pages {
    /// Those of the table that this rendered is beside.
    pub(super) fn on(rendered: &RenderCache) -> Arc<Self> {
        rendered.get_or_render(Arc::default)
    }

    /// The page that `list` asks for; `make` makes it where nobody has asked so before.
    pub(super) fn get_or_render(
        &self,
        list: &ListServices,
        estimation: Option<bool>,
        make: impl FnOnce() -> Result<ServicePage, Error>,
    ) -> Result<Arc<ServicePage>, Error> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pages
            .iter()
            .find(|shared| shared.list == *list && shared.estimation == estimation);
        if let Some(shared) = found {
            return Ok(shared.page.clone());
        }
        let mut page = make()?;
        let entries: usize = page.iter().map(|entry| 1 + entry.servers.len()).sum();
        if pages.len() == MOST || entries > LARGEST {
            return Ok(Arc::new(page));
        }
        page.made = Some(RenderCache::default());
        let page = Arc::new(page);
        pages.push(Shared {
            list: list.clone(),
            estimation,
            page: page.clone(),
        });
        Ok(page)
    }
}

//! Pages of services, and the pages that many requests share: each is selected once, and rendered
//! once per representation.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{
    list_request::ListServices,
    paging::{Order, Paging, Token, select, sort_value},
};
use crate::{
    executor::Table,
    identity::Principal,
    model::{Error, Include, ServiceEntry, ServiceKey},
    watch::Revision,
};

/// A page of services.
#[derive(Clone, Debug)]
pub struct ServicePage {
    table: Arc<Table>,
    selection: Arc<Selection>,
    /// What each service includes.
    pub include: Include,
    /// Whether the kernel refreshes counters and rates (settings `run_estimation` and `est_cpulist`); known if either
    /// is included.
    pub estimation: Option<bool>,
    /// A revision such that the page has every change up to it. It may have later ones, too.
    pub revision: Revision,
    /// Renderings of this page for all requests that share it; `None` if none do.
    rendered: Option<Arc<RenderCache>>,
}

/// The services of a page.
#[derive(Debug)]
struct Selection {
    /// Indexes into the table.
    indexes: Vec<usize>,
    /// Whether services follow after this page.
    more: bool,
    order: Order,
    /// See [`Token`].
    binding: u32,
}

/// Pages of the tables that the executor keeps for requests that accept some age. Pages of older
/// tables are replaced.
#[derive(Debug, Default)]
pub(super) struct PageCache {
    with_servers: Mutex<SharedPages>,
    without_servers: Mutex<SharedPages>,
}

/// The shared pages of one table.
#[derive(Debug, Default)]
struct SharedPages {
    /// Not an `Arc`, so that the table is freed before its successor is read.
    table: Weak<Table>,
    pages: Vec<SharedPage>,
}

#[derive(Debug)]
struct SharedPage {
    list: ListServices,
    estimation: Option<bool>,
    revision: Revision,
    selection: Arc<Selection>,
    rendered: Arc<RenderCache>,
}

/// Renderings of a page, one per type.
///
/// A std mutex, held during rendering on purpose: requests that arrive meanwhile wait for the
/// result instead of rendering again.
#[derive(Debug, Default)]
struct RenderCache(Mutex<HashMap<TypeId, Box<dyn Any + Send>>>);

/// Shared pages per table. Dashboards send the same request; further pages are not shared.
const MAX_SHARED_PAGES: usize = 4;
/// Services and servers of the largest shared page, about 600 bytes each as JSON. Its renderings
/// stay in memory; larger pages are streamed.
const MAX_SHARED_ENTRIES: usize = 2048;

// === impl ServicePage ===

impl ServicePage {
    /// The page of a table that `list` requests, with the services that the principal sees.
    pub(super) fn new(
        table: Arc<Table>,
        list: &ListServices,
        principal: &Principal,
        paging: Paging<ServiceKey>,
        estimation: Option<bool>,
        revision: Revision,
    ) -> Result<Self, Error> {
        let Paging {
            order,
            size,
            token,
            binding,
        } = paging;
        let mut indexes: Vec<usize> = (0..table.len())
            .filter(|&i| list.filter.matches(&table[i]) && principal.sees(table[i].service.key))
            .collect();
        let rank = |index: usize| {
            let service = &table[index].service;
            (
                sort_value(order, &service.stats, &service.rates),
                service.key,
            )
        };
        let more = select(&mut indexes, order, size, token, rank)?;
        let selection = Selection {
            indexes,
            more,
            order,
            binding,
        };
        Ok(Self {
            table,
            selection: Arc::new(selection),
            include: list.include,
            estimation,
            revision,
            rendered: None,
        })
    }

    /// Whether other requests may share this page.
    pub fn is_shared(&self) -> bool {
        self.rendered.is_some()
    }

    /// The rendering of type `T`. A shared page is rendered once per type.
    pub fn get_or_render<T: Clone + Send + 'static>(&self, render: impl FnOnce() -> T) -> T {
        match &self.rendered {
            Some(rendered) => rendered.get_or_render(render),
            None => render(),
        }
    }

    /// Number of services on the page.
    pub fn len(&self) -> usize {
        self.selection.indexes.len()
    }

    /// Whether the page has no service.
    pub fn is_empty(&self) -> bool {
        self.selection.indexes.is_empty()
    }

    /// The service at a position on the page.
    pub fn get(&self, position: usize) -> Option<&ServiceEntry> {
        self.table.get(*self.selection.indexes.get(position)?)
    }

    /// Whether the servers of the service at a position are included, but have not been read.
    pub(super) fn lacks_servers_of(&self, position: usize) -> bool {
        let index = self.selection.indexes.get(position);
        self.include.servers && index.is_some_and(|index| !self.table.has_servers_of(*index))
    }

    /// Whether all services have been read as they are included. The servers of others are read while
    /// the page is sent: see [`PageEntries`](super::PageEntries).
    pub fn is_complete(&self) -> bool {
        self.table.is_complete() || !(0..self.len()).any(|at| self.lacks_servers_of(at))
    }

    /// The services on the page.
    pub fn iter(&self) -> impl Iterator<Item = &ServiceEntry> {
        let indexes = self.selection.indexes.iter();
        indexes.filter_map(|index| self.table.get(*index))
    }

    /// Token of the next page; `None` on the last.
    pub fn next_page_token(&self) -> Option<String> {
        self.token_after(self.len())
    }

    /// Token of the page after the first `len` services of this one, at least one.
    pub fn token_after(&self, len: usize) -> Option<String> {
        let Selection {
            more,
            order,
            binding,
            ..
        } = *self.selection;
        let more = more || len.max(1) < self.len();
        let last = self.get(len.clamp(1, self.len().max(1)) - 1)?;
        more.then(|| {
            let value = sort_value(order, &last.service.stats, &last.service.rates);
            let key = last.service.key;
            Token { value, key }.print(binding)
        })
    }
}

// === impl PageCache ===

impl PageCache {
    /// The page of a kept table that `list` requests. `select` makes it if no request has asked for
    /// it before.
    pub(super) fn get_or_select(
        &self,
        table: &Arc<Table>,
        list: &ListServices,
        estimation: Option<bool>,
        binding: u32,
        select: impl FnOnce() -> Result<ServicePage, Error>,
    ) -> Result<ServicePage, Error> {
        let shared = match list.include.servers {
            true => &self.with_servers,
            false => &self.without_servers,
        };
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(shared.table.as_ptr(), Arc::as_ptr(table)) {
            *shared = SharedPages {
                table: Arc::downgrade(table),
                pages: Vec::new(),
            };
        }
        let mut pages = shared.pages.iter();
        // The binding also differs by principal: its page token is valid for no other.
        let is_equal = |page: &&SharedPage| {
            page.list == *list && page.estimation == estimation && page.selection.binding == binding
        };
        if let Some(page) = pages.find(is_equal) {
            return Ok(ServicePage {
                table: table.clone(),
                selection: page.selection.clone(),
                include: list.include,
                estimation,
                revision: page.revision,
                rendered: Some(page.rendered.clone()),
            });
        }
        let mut page = select()?;
        if !page.is_complete() {
            return Ok(page);
        }
        let entries: usize = page.iter().map(|entry| 1 + entry.servers.len()).sum();
        if shared.pages.len() < MAX_SHARED_PAGES && entries <= MAX_SHARED_ENTRIES {
            let rendered = Arc::<RenderCache>::default();
            page.rendered = Some(rendered.clone());
            shared.pages.push(SharedPage {
                list: list.clone(),
                estimation,
                revision: page.revision,
                selection: page.selection.clone(),
                rendered,
            });
        }
        Ok(page)
    }
}

// === impl RenderCache ===

impl RenderCache {
    fn get_or_render<T: Clone + Send + 'static>(&self, render: impl FnOnce() -> T) -> T {
        let mut rendered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = rendered.get(&TypeId::of::<T>());
        if let Some(known) = known.and_then(|known| known.downcast_ref::<T>()) {
            return known.clone();
        }
        let new = render();
        rendered.insert(TypeId::of::<T>(), Box::new(new.clone()));
        new
    }
}

//! Lists of services and servers.

use std::sync::Arc;

use super::{
    Answer, App, AppOptions, ListServers, ListServices, Order, OrderBy, RequestContext,
    ServicePage,
    paging::{Paging, Token, binding, select, sort_value},
};
use crate::{
    budget::Charge,
    executor::{Cached, ListQuery, ServersQuery, ServicesQuery},
    model::{Error, Include, KeptFilter, Server, ServerKey, ServiceKey},
    watch::Revision,
};

/// A page of servers.
#[derive(Clone, Debug)]
pub struct ServerPage {
    /// The servers.
    pub servers: Vec<Server>,
    /// What each server includes.
    pub include: Include,
    /// Whether the kernel refreshes counters and rates (settings `run_estimation` and `est_cpulist`); known if either
    /// is included.
    pub estimation: Option<bool>,
    /// See [`ServicePage::revision`].
    pub revision: Revision,
    more: bool,
    order: Order,
    /// See [`Token`].
    binding: u32,
    /// For `servers`, which are a copy.
    _charge: Arc<Charge>,
}

// === impl App ===

impl App {
    /// A page of services (ipvsadm -L).
    pub async fn list_services(
        &self,
        context: &RequestContext,
        list: ListServices,
    ) -> Result<Answer<Arc<ServicePage>>, Error> {
        let size = self.options.page_size(list.page_size)?;
        self.check_filter(&list.filter.kept)?;
        let order = list.order.or(OrderBy::Id);
        let binding = binding(&(&list.filter, order, list.include, &context.principal));
        let token = list.page_token.as_deref();
        let token: Option<Token<ServiceKey>> = token
            .map(|token| Token::parse(token, binding))
            .transpose()?;
        let estimation = self.estimation(context, list.include).await?;
        self.keep_watch_cache();
        let read = match list.include.servers {
            true => {
                self.read_list(context, ListQuery(self.options.listed_servers))
                    .await?
            }
            false => self.read_list(context, ServicesQuery).await?,
        };
        let Cached {
            value,
            age,
            kept,
            revision,
        } = read;
        let revision = self.revision(revision);
        let select = || {
            let table = value.clone();
            let paging = Paging {
                order,
                size,
                token,
                binding,
            };
            ServicePage::new(
                table,
                &list,
                &context.principal,
                paging,
                estimation,
                revision,
            )
        };
        // A page that shows a part of the services is not shared with principals that see others.
        let is_shared = kept && context.principal.sees_everything();
        let page = match is_shared {
            true => self
                .pages
                .get_or_select(&value, &list, estimation, binding, select)?,
            false => select()?,
        };
        let value = Arc::new(page);
        Ok(Answer { value, age })
    }

    /// Fails if a filter asks for what is not known, because the daemon serves without its store.
    pub(super) fn check_filter(&self, filter: &KeptFilter) -> Result<(), Error> {
        match filter.is_everything() {
            true => Ok(()),
            false => self.tables.available(),
        }
    }

    /// A page of the servers of a service.
    pub async fn list_servers(
        &self,
        context: &RequestContext,
        service: ServiceKey,
        list: ListServers,
    ) -> Result<Answer<ServerPage>, Error> {
        let size = self.options.page_size(list.page_size)?;
        let order = list.order.or(OrderBy::Kernel);
        let binding = binding(&(service, order, list.include, &context.principal));
        let token = list.page_token.as_deref();
        let token = token
            .map(|token| Token::parse(token, binding))
            .transpose()?;
        let estimation = self.estimation(context, list.include).await?;
        self.keep_watch_cache();
        let read = self.read(context, ServersQuery(service)).await?;
        let (age, revision) = (read.age, self.revision(read.revision));
        let value = read
            .value
            .ok_or_else(|| Error::service_not_found(service))?;
        let bytes = size.min(value.len()) * size_of::<Server>();
        let mut page = ServerPage {
            servers: Vec::new(),
            include: list.include,
            estimation,
            revision,
            more: false,
            order,
            binding,
            _charge: Arc::new(self.budget.charge(bytes)?),
        };
        page.fill(&value, size, token)?;
        Ok(Answer { value: page, age })
    }
}

// === impl AppOptions ===

impl AppOptions {
    pub(super) fn page_size(&self, requested: Option<u32>) -> Result<usize, Error> {
        let size = requested
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

// === impl ServerPage ===

impl ServerPage {
    fn fill(
        &mut self,
        servers: &Arc<Vec<Server>>,
        size: usize,
        token: Option<Token<ServerKey>>,
    ) -> Result<(), Error> {
        let mut indexes: Vec<usize> = (0..servers.len()).collect();
        let rank = |index: usize| {
            let server = &servers[index];
            let value = sort_value(self.order, &server.stats, &server.rates);
            (value, server.key)
        };
        self.more = select(&mut indexes, self.order, size, token, rank)?;
        self.servers = indexes
            .into_iter()
            .map(|index| servers[index].clone())
            .collect();
        Ok(())
    }

    /// Token of the next page; `None` on the last.
    pub fn next_page_token(&self) -> Option<String> {
        let last = self.servers.last().filter(|_| self.more)?;
        let token = Token {
            value: sort_value(self.order, &last.stats, &last.rates),
            key: last.key,
        };
        Some(token.print(self.binding))
    }

    /// The page with its first `len` servers, at least one. The next page starts after them.
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

//! Reads.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{
    blocking::{Client, NDJSON, percent_encode},
    error::ClientError,
    etag::EntityTag,
    http1::Body,
    json::{
        Connection, ConnectionCount, ConnectionCounts, Info, NextPage, ServerJson, ServerPage,
        ServiceJson, ServicePage, StatsReport, SyncDaemons,
    },
};
use crate::model::{
    CountBy, Server, ServerKey, ServiceEntry, ServiceKey, Settings, SyncDaemon, SyncState, Timeouts,
};

/// What a read returns besides the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Include {
    /// Counters.
    pub stats: bool,
    /// Rates.
    pub rates: bool,
}

/// A single resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<T> {
    /// The resource.
    pub value: T,
    /// Entity tag, for the precondition of a write.
    pub etag: Option<EntityTag>,
    /// Age of the result; zero unless [`ClientOptions::max_age`](super::ClientOptions::max_age) is
    /// set.
    pub age: Duration,
}

/// Which connections a read returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionQuery {
    /// Query parameters of the API and their values: `protocol`, `client`, `virtual`,
    /// `fwmark`, `destination`, `state`, `templates`.
    pub filters: Vec<(&'static str, String)>,
    /// Largest number of connections; default and maximum [`ConnectionQuery::MAX`].
    pub limit: Option<u64>,
}

/// Which services and servers a [`StatsReport`] lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsQuery {
    /// Number of services and of servers, 0 to 100; default 10.
    pub top: Option<u32>,
    /// Order, such as `-rates.bytes_in`; `-` is descending. Default `-rates.connections`.
    pub sort: Option<String>,
}

/// Connections, read from the daemon one by one.
#[derive(Debug)]
pub struct Connections<'a> {
    client: &'a Client,
    body: Body,
    line: Vec<u8>,
    /// How many more are accepted.
    remaining: u64,
}

/// Requested page size. A daemon that is configured with a lower limit rejects it.
const PAGE_SIZE: usize = 100_000;
/// A page token is in the last bytes of a page.
const TOKEN_TAIL: usize = 512;

// === impl Include ===

impl Include {
    /// `include` of a read of services; their servers are always included.
    fn of_services(self) -> &'static str {
        match (self.stats, self.rates) {
            (false, false) => "servers",
            (true, false) => "servers,stats",
            (false, true) => "servers,rates",
            (true, true) => "servers,stats,rates",
        }
    }

    /// `include` of a read of servers.
    fn of_servers(self) -> &'static str {
        match (self.stats, self.rates) {
            (false, false) => "none",
            (true, false) => "stats",
            (false, true) => "rates",
            (true, true) => "stats,rates",
        }
    }
}

// === impl ConnectionQuery ===

impl ConnectionQuery {
    /// The largest number of connections that the daemon returns at a time.
    pub const MAX: u64 = 10_000_000;

    /// The path with its query.
    pub fn path(&self) -> String {
        let mut path = "/v1/connections?".to_owned();
        for (name, value) in &self.filters {
            path += &format!("{name}={}&", percent_encode(value));
        }
        if let Some(limit) = self.limit {
            path += &format!("limit={limit}&");
        }
        path.pop();
        path
    }
}

// === impl Client ===

impl Client {
    /// Reads information about daemon and kernel.
    pub fn info(&self) -> Result<Info, ClientError> {
        Ok(self.get("/v1/info")?.0)
    }

    /// Reads all services with their servers, by id or in the kernel's order.
    pub fn services(
        &self,
        include: Include,
        kernel_order: bool,
    ) -> Result<Vec<ServiceEntry>, ClientError> {
        let mut services = Vec::new();
        for page in self.service_pages(include, kernel_order)? {
            services.append(&mut serde_json::from_slice::<ServicePage>(&page)?.services);
        }
        Ok(services)
    }

    /// Reads all services as the daemon's JSON: one page unless the table is very large.
    pub fn service_pages(
        &self,
        include: Include,
        kernel_order: bool,
    ) -> Result<Vec<Vec<u8>>, ClientError> {
        let sort = if kernel_order { "kernel" } else { "id" };
        let include = include.of_services();
        self.pages(&format!("/v1/services?include={include}&sort={sort}"))
    }

    /// Reads a service with its servers.
    pub fn service(
        &self,
        key: ServiceKey,
        include: Include,
    ) -> Result<Resource<ServiceEntry>, ClientError> {
        let resource = self.resource::<ServiceJson>(&service_path(key, include))?;
        Ok(resource.map(ServiceEntry::from))
    }

    /// Reads all servers of a service in the kernel's order, which schedulers use.
    pub fn servers(
        &self,
        service: ServiceKey,
        include: Include,
    ) -> Result<Vec<Server>, ClientError> {
        let include = include.of_servers();
        let mut servers = Vec::new();
        for page in self.pages(&format!("/v1/services/{service}/servers?include={include}"))? {
            servers.append(&mut serde_json::from_slice::<ServerPage>(&page)?.servers);
        }
        Ok(servers)
    }

    /// Reads a server.
    pub fn server(
        &self,
        service: ServiceKey,
        server: ServerKey,
        include: Include,
    ) -> Result<Resource<Server>, ClientError> {
        let include = include.of_servers();
        let path = format!("/v1/services/{service}/servers/{server}?include={include}");
        Ok(self.resource::<ServerJson>(&path)?.map(Server::from))
    }

    /// Reads the timeouts.
    pub fn timeouts(&self) -> Result<Resource<Timeouts>, ClientError> {
        self.resource("/v1/timeouts")
    }

    /// Reads the sync daemons that run.
    pub fn sync_daemons(&self) -> Result<Vec<SyncDaemon>, ClientError> {
        Ok(self.get::<SyncDaemons>("/v1/sync-daemons")?.0.sync_daemons)
    }

    /// Reads the sync daemon of one state.
    pub fn sync_daemon(&self, state: SyncState) -> Result<Resource<SyncDaemon>, ClientError> {
        self.resource(&format!("/v1/sync-daemons/{state}"))
    }

    /// Reads the settings that this kernel has.
    pub fn settings(&self) -> Result<Settings, ClientError> {
        Ok(self.get("/v1/settings")?.0)
    }

    /// Reads totals, and the services and servers with the highest values.
    pub fn stats(&self, query: &StatsQuery) -> Result<StatsReport, ClientError> {
        let mut path = "/v1/stats?".to_owned();
        if let Some(top) = query.top {
            path += &format!("top={top}&");
        }
        if let Some(sort) = &query.sort {
            path += &format!("sort={}&", percent_encode(sort));
        }
        path.pop();
        Ok(self.get(&path)?.0)
    }

    /// Reads connections one by one.
    pub fn connections(&self, query: &ConnectionQuery) -> Result<Connections<'_>, ClientError> {
        let query = ConnectionQuery {
            limit: query.limit.or(Some(ConnectionQuery::MAX)),
            ..query.clone()
        };
        let response = self.stream(&query.path(), NDJSON, self.silence())?;
        Ok(Connections {
            client: self,
            body: response.body,
            line: Vec::new(),
            remaining: query.limit.unwrap_or(ConnectionQuery::MAX),
        })
    }

    /// Counts all connections that match the filters of `query`, by group; the largest group first.
    pub fn count_connections(
        &self,
        query: &ConnectionQuery,
        by: CountBy,
    ) -> Result<Vec<ConnectionCount>, ClientError> {
        let by = match by {
            CountBy::Protocol => "protocol",
            CountBy::Client => "client",
            CountBy::Virtual => "virtual",
            CountBy::Destination => "destination",
            CountBy::State => "state",
        };
        let mut query = query.clone();
        query.limit = None;
        query.filters.push(("count_by", by.to_owned()));
        Ok(self.get::<ConnectionCounts>(&query.path())?.0.counts)
    }

    /// Reads all pages of a list.
    pub(super) fn pages(&self, path: &str) -> Result<Vec<Vec<u8>>, ClientError> {
        self.pages_while(path, PAGE_SIZE, |_| Ok(true))
    }

    /// Reads all pages of a list. Returns their elements, and the pages as the daemon sent them.
    pub(super) fn elements<P: DeserializeOwned, T>(
        &self,
        path: &str,
        mut elements: impl FnMut(P) -> Vec<T>,
    ) -> Result<(Vec<T>, Vec<Vec<u8>>), ClientError> {
        let pages = self.pages(path)?;
        let mut all = Vec::new();
        for page in &pages {
            all.append(&mut elements(serde_json::from_slice(page)?));
        }
        Ok((all, pages))
    }

    /// Reads pages of a list with up to `page_size` elements, as long as `wants_more` holds of each.
    pub(super) fn pages_while(
        &self,
        path: &str,
        page_size: usize,
        mut wants_more: impl FnMut(&[u8]) -> Result<bool, ClientError>,
    ) -> Result<Vec<Vec<u8>>, ClientError> {
        let separator = if path.contains('?') { "&" } else { "?" };
        let mut size = format!("page_size={}&", page_size.clamp(1, PAGE_SIZE));
        let mut pages = Vec::new();
        let mut token = String::new();
        let deadline = self.deadline();
        let mut bytes = 0;
        loop {
            let query = format!("{size}{token}");
            let query = query.trim_end_matches('&');
            let separator = if query.is_empty() { "" } else { separator };
            let page = match self.get_until(&format!("{path}{separator}{query}"), deadline) {
                // The daemon has a lower limit. Its default size is always allowed.
                Err(ClientError::Refused(problem))
                    if !size.is_empty()
                        && problem.violations.iter().any(|v| v.field == "page_size") =>
                {
                    size.clear();
                    continue;
                }
                page => page?.0,
            };
            bytes += page.len();
            self.check_size(bytes)?;
            // The token is one of the last three fields; a page without it is parsed only once.
            let tail = page.len().saturating_sub(TOKEN_TAIL);
            let has_token = page[tail..]
                .windows(15)
                .any(|text| text == b"next_page_token");
            let next = match has_token {
                true => serde_json::from_slice::<NextPage>(&page)?.next_page_token,
                false => None,
            };
            let wants_more = wants_more(&page)?;
            pages.push(page);
            match next {
                Some(next) if wants_more => {
                    token = format!("page_token={}", percent_encode(&next));
                }
                _ => return Ok(pages),
            }
        }
    }

    pub(super) fn resource<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Resource<T>, ClientError> {
        let (json, response) = self.get_until(path, self.deadline())?;
        Ok(Resource {
            value: serde_json::from_slice(&json)?,
            etag: response.etag,
            age: response.age,
        })
    }
}

/// The path of a service with its query.
pub(crate) fn service_path(key: ServiceKey, include: Include) -> String {
    format!("/v1/services/{key}?include={}", include.of_services())
}

// === impl Resource ===

impl<T> Resource<T> {
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> Resource<U> {
        Resource {
            value: f(self.value),
            etag: self.etag,
            age: self.age,
        }
    }
}

// === impl Connections ===

impl Iterator for Connections<'_> {
    type Item = Result<Connection, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let deadline = self.client.deadline();
        match self
            .client
            .read_line(&mut self.body, &mut self.line, deadline)
        {
            Ok(true) => Some(serde_json::from_slice(&self.line).map_err(ClientError::from)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

//! What can be read.

use std::io::{BufRead, Write};

use super::{
    Client, ClientError, Connection, Info, escape,
    http1::Body,
    json::{ServiceJson, ServicePage, SyncDaemons},
};
use crate::{
    ipvsadm::ListFormat,
    model::{ServiceEntry, ServiceKey, SyncDaemon, Timeouts},
};

/// What is told of services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Include {
    /// Counters.
    pub stats: bool,
    /// Rates.
    pub rates: bool,
}

/// Which connections are wanted; absent fields let all pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionQuery {
    /// Pairs of the API's own parameters and their values.
    pub filters: Vec<(&'static str, String)>,
    /// At most how many.
    pub limit: Option<u64>,
}

/// Connections as they come.
#[derive(Debug)]
pub struct Connections<'a> {
    client: &'a Client,
    body: Body,
    line: Vec<u8>,
}

/// The most that a page can have where the daemon's settings do not say less.
const PAGE: u32 = 100_000;

// === impl Include ===

impl Include {
    fn query(self) -> &'static str {
        match (self.stats, self.rates) {
            (false, false) => "servers",
            (true, false) => "servers,stats",
            (false, true) => "servers,rates",
            (true, true) => "servers,stats,rates",
        }
    }
}

// === impl ConnectionQuery ===

impl ConnectionQuery {
    /// The most connections that the daemon tells at a time.
    pub const MOST: u64 = 10_000_000;

    /// The path with its query.
    pub fn path(&self) -> String {
        let mut path = "/v1/connections?".to_owned();
        for (name, value) in &self.filters {
            path += &format!("{name}={}&", escape(value));
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
    /// What daemon and kernel are.
    pub fn info(&self) -> Result<Info, ClientError> {
        Ok(serde_json::from_slice(&self.get("/v1/info")?)?)
    }

    /// All services with their servers, by id, or in the kernel's order.
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

    /// The same as the daemon sends it: one page in all but the largest tables.
    pub fn service_pages(
        &self,
        include: Include,
        kernel_order: bool,
    ) -> Result<Vec<Vec<u8>>, ClientError> {
        #[derive(serde::Deserialize)]
        struct Next {
            next_page_token: Option<String>,
        }
        let sort = if kernel_order { "kernel" } else { "id" };
        let include = include.query();
        let path = format!("/v1/services?include={include}&sort={sort}");
        let mut size = format!("&page_size={PAGE}");
        let mut pages = Vec::new();
        let mut token = String::new();
        loop {
            let page = match self.get(&format!("{path}{size}{token}")) {
                // The daemon allows less: what it likes, then.
                Err(ClientError::Refused(problem))
                    if !size.is_empty()
                        && problem.violations.iter().any(|v| v.field == "page_size") =>
                {
                    size.clear();
                    continue;
                }
                page => page?,
            };
            // The token comes last; a page without one need not be read twice.
            let tail = page.len().saturating_sub(512);
            let more = page[tail..]
                .windows(15)
                .any(|text| text == b"next_page_token");
            let next = match more {
                true => serde_json::from_slice::<Next>(&page)?.next_page_token,
                false => None,
            };
            pages.push(page);
            match next {
                Some(next) => token = format!("&page_token={}", escape(&next)),
                None => return Ok(pages),
            }
        }
    }

    /// One service with its servers.
    pub fn service(&self, key: ServiceKey, include: Include) -> Result<ServiceEntry, ClientError> {
        let json = self.get(&service_path(key, include))?;
        let service: ServiceJson = serde_json::from_slice(&json)?;
        Ok(service.into())
    }

    /// The timeouts.
    pub fn timeouts(&self) -> Result<Timeouts, ClientError> {
        Ok(serde_json::from_slice(&self.get("/v1/timeouts")?)?)
    }

    /// The sync daemons.
    pub fn sync_daemons(&self) -> Result<Vec<SyncDaemon>, ClientError> {
        let json = self.get("/v1/sync-daemons")?;
        Ok(serde_json::from_slice::<SyncDaemons>(&json)?.sync_daemons)
    }

    /// Connections, one by one.
    pub fn connections(&self, query: &ConnectionQuery) -> Result<Connections<'_>, ClientError> {
        let query = ConnectionQuery {
            limit: query.limit.or(Some(ConnectionQuery::MOST)),
            ..query.clone()
        };
        let body = self.send("GET", &query.path(), "application/x-ndjson", None)?;
        Ok(Connections {
            client: self,
            body,
            line: Vec::new(),
        })
    }

    /// Writes the table as command lines of ipvsadm; with `restorable` they give the kernel's own
    /// order of real servers again.
    pub fn write_rules(&self, out: &mut dyn Write, restorable: bool) -> Result<(), ClientError> {
        let order = if restorable { "restorable" } else { "sorted" };
        self.write_text(out, &format!("/v1/rules?order={order}"))
    }

    /// Writes the table in columns, as `ipvsadm -L -n` does.
    pub fn write_listing(
        &self,
        out: &mut dyn Write,
        format: ListFormat,
    ) -> Result<(), ClientError> {
        let ListFormat {
            mode,
            exact,
            numeric: _,
            unsorted,
        } = format;
        let order = if unsorted { "kernel" } else { "sorted" };
        let columns = mode.name();
        let path = format!("/v1/listing?columns={columns}&exact={exact}&order={order}");
        self.write_text(out, &path)
    }

    /// Text as it comes: a long one is never in memory as a whole.
    fn write_text(&self, out: &mut dyn Write, path: &str) -> Result<(), ClientError> {
        let mut body = self.send("GET", path, "text/plain", None)?;
        loop {
            let part = body.fill_buf().map_err(|error| self.broken(error))?;
            if part.is_empty() {
                return Ok(());
            }
            out.write_all(part).map_err(ClientError::Output)?;
            let length = part.len();
            body.consume(length);
        }
    }
}

/// Where a service is.
pub(crate) fn service_path(key: ServiceKey, include: Include) -> String {
    format!("/v1/services/{key}?include={}", include.query())
}

// === impl Connections ===

impl Iterator for Connections<'_> {
    type Item = Result<Connection, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.client.next_line(&mut self.body, &mut self.line) {
            Ok(true) => Some(serde_json::from_slice(&self.line).map_err(ClientError::from)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

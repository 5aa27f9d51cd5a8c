//! The services of a page one after the other. The servers of a large table are read in parts, as the
//! client takes the page.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;

use super::{App, RequestContext, ServicePage, access::SessionWatch};
use crate::{
    budget::Budget,
    executor::{ServersOf, ServersOfQuery},
    model::{Error, Server, Service},
};

/// The services of a page, with their servers if they are included. Memory: that of the page, and
/// [`MAX_SERVERS_AT_ONCE`](crate::executor::MAX_SERVERS_AT_ONCE) servers and one service.
pub struct PageEntries {
    page: Arc<ServicePage>,
    app: App,
    context: RequestContext,
    /// Time that each read may take. `None`: all of them have the deadline of the request.
    part_timeout: Option<Duration>,
    /// The position up to which `part` has what the page lacks.
    end: usize,
    part: Part,
    reading: Option<BoxFuture<'static, Result<Part, Error>>>,
    /// Ends a list that the client takes for long when its credential ceases to be valid.
    watch: SessionWatch,
}

/// Servers that were read for a page.
#[derive(Default)]
struct Part {
    /// The positions of their services.
    positions: Vec<usize>,
    /// The servers of the leading ones of these services.
    servers: Option<Arc<ServersOf>>,
}

/// Services that one read is for, at most. It ends after about
/// [`MAX_SERVERS_AT_ONCE`](crate::executor::MAX_SERVERS_AT_ONCE) servers.
const SERVICES_AT_ONCE: usize = 256;

// === impl App ===

impl App {
    /// The services of a page that this request has made, to be read by its deadline.
    pub fn entries(&self, context: &RequestContext, page: Arc<ServicePage>) -> PageEntries {
        PageEntries {
            page,
            app: self.clone(),
            context: context.clone(),
            part_timeout: None,
            end: 0,
            part: Part::default(),
            reading: None,
            watch: SessionWatch::of(context),
        }
    }
}

// === impl PageEntries ===

impl PageEntries {
    /// The page.
    pub fn page(&self) -> &Arc<ServicePage> {
        &self.page
    }

    /// Lets each further read take this time, instead of ending all of them at the deadline of the
    /// request: for a response whose head has been sent, because the client decides how long the rest
    /// takes.
    pub fn limit_each_part(&mut self, timeout: Duration) {
        self.part_timeout = Some(timeout);
    }

    /// The memory that the response may use while it is not sent yet.
    pub fn budget(&self) -> Budget {
        self.app.budget_of(&self.context)
    }

    /// Reads the servers of the service at a position, unless the page has them. Positions ascend.
    pub fn poll_load(&mut self, position: usize, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while position >= self.end && self.page.lacks_servers_of(position) {
            let reading = match &mut self.reading {
                Some(reading) => reading,
                None => {
                    self.watch.check()?;
                    self.part = Part::default();
                    self.reading.insert(self.read(position))
                }
            };
            let part = ready!(reading.as_mut().poll(cx));
            self.reading = None;
            self.part = part?;
            self.end = self.part.end().unwrap_or(position) + 1;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads the servers of the services from a position on.
    fn read(&self, position: usize) -> BoxFuture<'static, Result<Part, Error>> {
        let lacking = (position..self.page.len()).filter(|at| self.page.lacks_servers_of(*at));
        let positions: Vec<_> = lacking.take(SERVICES_AT_ONCE).collect();
        let services = positions.iter().filter_map(|at| self.page.get(*at));
        let query = ServersOfQuery(services.map(|entry| entry.service.key).collect());
        let app = self.app.clone();
        let context = RequestContext {
            deadline: match self.part_timeout {
                Some(timeout) => Instant::now() + timeout,
                None => self.context.deadline,
            },
            max_age: Duration::ZERO,
            ..self.context.clone()
        };
        Box::pin(async move {
            let servers = app.read_list(&context, query).await?.value;
            Ok(Part {
                positions,
                servers: Some(servers),
            })
        })
    }

    /// The service at a position that has been loaded; `None` if it was deleted meanwhile.
    pub fn get(&self, position: usize) -> Option<(&Service, &[Server])> {
        let entry = self.page.get(position)?;
        let servers = match self.page.lacks_servers_of(position) {
            true => self.part.get(position)?,
            false => &entry.servers,
        };
        Some((&entry.service, servers))
    }
}

impl fmt::Debug for PageEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageEntries")
            .field("page", &self.page)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

// === impl Part ===

impl Part {
    /// The position of the last service that was read.
    fn end(&self) -> Option<usize> {
        let count = self.servers.as_ref()?.len();
        self.positions.get(count.checked_sub(1)?).copied()
    }

    fn get(&self, position: usize) -> Option<&[Server]> {
        let index = self.positions.binary_search(&position).ok()?;
        self.servers.as_ref()?.get(index)?.as_deref()
    }
}

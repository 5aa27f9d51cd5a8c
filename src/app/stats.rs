//! Totals, and the services and servers with the highest values.

use serde::Serialize;

use super::{Answer, App, Order, OrderBy, RequestContext, paging::sort_value};
use crate::{
    executor::{EstimationQuery, TableQuery, TotalsQuery},
    model::{
        Error, KeptFilter, Rates, Server, ServerKey, Service, ServiceEntry, ServiceKey, Stats,
    },
};

/// What [`App::stats`] reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsRequest {
    /// Number of top services and top servers, 0 to 100.
    pub top: usize,
    /// The counter or rate that ranks them.
    pub by: Order,
    /// Of which services.
    pub filter: KeptFilter,
}

/// Totals and top services and servers, for dashboards.
#[derive(Clone, Debug, Serialize)]
pub struct StatsReport {
    /// Counters of everything since the last zero, deleted services included
    /// (`/proc/net/ip_vs_stats`); with a filter, the sum over the services that match.
    pub stats: Stats,
    /// Rates of everything.
    pub rates: Rates,
    /// Whether the kernel refreshes counters and rates (settings `run_estimation` and `est_cpulist`).
    pub estimation: bool,
    /// Number of virtual services.
    pub service_count: usize,
    /// Number of real servers. A server of several services counts for each.
    pub server_count: usize,
    /// Established connections of all services.
    pub active_connections: u64,
    /// Other connections of all services.
    pub inactive_connections: u64,
    /// The services with the highest values.
    pub top_services: Vec<TopService>,
    /// The servers with the highest values.
    pub top_servers: Vec<TopServer>,
}

/// A top service.
#[derive(Clone, Debug, Serialize)]
pub struct TopService {
    /// Id.
    pub id: ServiceKey,
    /// Counters.
    pub stats: Stats,
    /// Rates.
    pub rates: Rates,
}

/// A top server.
#[derive(Clone, Debug, Serialize)]
pub struct TopServer {
    /// Id of its service.
    pub service: ServiceKey,
    /// Id.
    pub id: ServerKey,
    /// Established connections.
    pub active_connections: u32,
    /// Other connections.
    pub inactive_connections: u32,
    /// Counters.
    pub stats: Stats,
    /// Rates.
    pub rates: Rates,
}

/// The largest [`StatsRequest::top`].
const MAX_TOP: usize = 100;

impl App {
    /// Totals and the top services and servers.
    pub async fn stats(
        &self,
        context: &RequestContext,
        request: StatsRequest,
    ) -> Result<Answer<StatsReport>, Error> {
        if request.top > MAX_TOP {
            return Err(Error::invalid(
                "top",
                format!("{} is out of range: 0 to {MAX_TOP}", request.top),
            ));
        }
        if !matches!(request.by.by, OrderBy::Stats(_) | OrderBy::Rates(_)) {
            return Err(Error::invalid(
                "sort",
                "must be stats.FIELD or rates.FIELD here",
            ));
        }
        self.check_filter(&request.filter)?;
        let table = Answer::from(self.read(context, TableQuery).await?);
        let totals = self.read(context, TotalsQuery).await?.value;
        let estimation = self.read(context, EstimationQuery).await?.value;
        let report = report(&table.value, &request, totals, estimation);
        Ok(table.map(|_| report))
    }
}

fn report(
    table: &[ServiceEntry],
    request: &StatsRequest,
    totals: (Stats, Rates),
    estimation: bool,
) -> StatsReport {
    let filter = &request.filter;
    let entries = || {
        let is_selected = |entry: &&ServiceEntry| filter.matches(&entry.service.kept);
        table.iter().filter(is_selected)
    };
    let (stats, rates) = match filter.is_everything() {
        true => totals,
        false => sums(entries().map(|entry| &entry.service)),
    };
    let servers = || {
        entries().flat_map(|entry| {
            let key = entry.service.key;
            entry.servers.iter().map(move |server| (key, server))
        })
    };
    let sum = |of: fn(&Server) -> u32| servers().map(|(_, server)| u64::from(of(server))).sum();
    let services = entries().map(|entry| &entry.service);
    let top_services = top(request, services, |service| {
        sort_value(request.by, &service.stats, &service.rates)
    });
    let top_servers = top(request, servers(), |(_, server)| {
        sort_value(request.by, &server.stats, &server.rates)
    });
    StatsReport {
        stats,
        rates,
        estimation,
        service_count: entries().count(),
        server_count: servers().count(),
        active_connections: sum(|server| server.active_connections),
        inactive_connections: sum(|server| server.inactive_connections),
        top_services: top_services
            .into_iter()
            .map(|service| TopService {
                id: service.key,
                stats: service.stats,
                rates: service.rates,
            })
            .collect(),
        top_servers: top_servers
            .into_iter()
            .map(|(service, server)| TopServer {
                service,
                id: server.key,
                active_connections: server.active_connections,
                inactive_connections: server.inactive_connections,
                stats: server.stats,
                rates: server.rates,
            })
            .collect(),
    }
}

/// The sums of counters and of rates.
fn sums<'a>(services: impl Iterator<Item = &'a Service>) -> (Stats, Rates) {
    let sums = (Stats::default(), Rates::default());
    services.fold(sums, |(stats, rates), service| {
        (stats.plus(&service.stats), rates.plus(&service.rates))
    })
}

/// The first items in the requested order, without sorting all of them.
fn top<T>(
    request: &StatsRequest,
    items: impl Iterator<Item = T>,
    value: impl Fn(&T) -> u64,
) -> Vec<T> {
    let Order { descending, .. } = request.by;
    let rank = |item: &T| {
        let value = value(item);
        if descending { u64::MAX - value } else { value }
    };
    let mut items: Vec<T> = items.collect();
    if items.len() > request.top && request.top > 0 {
        items.select_nth_unstable_by_key(request.top - 1, rank);
    }
    items.truncate(request.top);
    items.sort_by_key(rank);
    items
}

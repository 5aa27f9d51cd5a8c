//! What is told of the whole: info and statistics.

use super::{
    Answer, App, InfoReport, KernelReport, Order, OrderBy, RequestContext, SchedulerReport,
    StatsReport, StatsRequest, TopServer, TopService,
    list::sort_value,
    settings::{estimates, path},
};
use crate::{
    codec,
    executor::Seen,
    model::{Error, Info, Query, Reason, SCHEDULERS},
};

const TOTALS: &str = "net/ip_vs_stats";
/// Most of the busiest that can be asked for.
const MAX_TOP: usize = 100;

/// Optional features, each by the setting that shows it.
const FEATURES: [(&str, &str); 4] = [
    ("conntrack", "conntrack"),
    ("debug", "debug_level"),
    ("estimation_threads", "est_nice"),
    ("resizable_tables", "conn_lfactor"),
];

impl App {
    pub(super) async fn info_of_kernel(
        &self,
        context: &RequestContext,
    ) -> Result<Answer<Info>, Error> {
        self.ask(context, Query::Info, |seen| match seen {
            Seen::Info(info) => Some(info),
            _ => None,
        })
        .await
    }

    /// What daemon and kernel are and have (the header line of ipvsadm -L, and more).
    pub async fn info(&self, context: &RequestContext) -> Result<Answer<InfoReport>, Error> {
        let answer = self.info_of_kernel(context).await?;
        let mut paths = vec![
            "sys/kernel/osrelease".to_owned(),
            "modules".to_owned(),
            path("run_estimation"),
        ];
        paths.extend(FEATURES.iter().map(|(_, setting)| path(setting)));
        let mut texts = self
            .executor
            .read_files(paths, context.max_age, context.deadline)
            .await?
            .into_iter();
        let mut text = || texts.next().flatten();
        let release = text().unwrap_or_default().trim().to_owned();
        let modules = text().unwrap_or_default();
        let estimation = estimates(text().as_deref());
        let features = FEATURES
            .iter()
            .filter(|_| text().is_some())
            .map(|(feature, _)| (*feature).to_owned())
            .collect();
        let loaded: Vec<&str> = modules
            .lines()
            .filter_map(|line| line.split(' ').next()?.strip_prefix("ip_vs_"))
            .collect();
        let (major, minor, patch) = answer.value.version;
        let report = InfoReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            namespace: self.options.namespace.clone(),
            kernel: KernelReport {
                kind: self.options.kernel.clone(),
                release,
                ipvs_version: format!("{major}.{minor}.{patch}"),
                connection_table_size: answer.value.connection_table_size,
                estimation,
                features,
            },
            schedulers: SCHEDULERS
                .iter()
                .filter(|(name, _)| *name != "none")
                .map(|(name, description)| SchedulerReport {
                    name: (*name).to_owned(),
                    description: (*description).to_owned(),
                    loaded: loaded.contains(name),
                })
                .collect(),
            persistence_engines: loaded
                .iter()
                .filter_map(|module| Some(module.strip_prefix("pe_")?.to_owned()))
                .collect(),
        };
        Ok(answer.map(|_| report))
    }

    /// Totals and the busiest services and servers, for dashboards.
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
                "takes stats.FIELD or rates.FIELD here",
            ));
        }
        let answer = self.table(context).await?;
        let paths = vec![TOTALS.to_owned(), path("run_estimation")];
        let mut texts = self
            .executor
            .read_files(paths, context.max_age, context.deadline)
            .await?
            .into_iter();
        let totals = texts.next().flatten();
        let (stats, rates) = totals.as_deref().and_then(codec::totals).ok_or_else(|| {
            Error::new(
                Reason::Internal,
                "the totals in /proc/net/ip_vs_stats cannot be read",
            )
        })?;
        let table = &answer.value;
        let servers = || {
            table.iter().flat_map(|entry| {
                entry
                    .servers
                    .iter()
                    .map(move |server| (entry.service.key, server))
            })
        };
        let top_services = top(
            request,
            table.iter().map(|entry| &entry.service),
            |service| sort_value(request.by, &service.stats, &service.rates),
        );
        let top_servers = top(request, servers(), |(_, s)| {
            sort_value(request.by, &s.stats, &s.rates)
        });
        let report = StatsReport {
            stats,
            rates,
            estimation: estimates(texts.next().flatten().as_deref()),
            service_count: table.len(),
            server_count: servers().count(),
            active_connections: servers()
                .map(|(_, s)| u64::from(s.active_connections))
                .sum(),
            inactive_connections: servers()
                .map(|(_, s)| u64::from(s.inactive_connections))
                .sum(),
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
        };
        Ok(answer.map(|_| report))
    }
}

/// The first of `items` in the order asked for, without sorting all of them.
fn top<T>(
    request: StatsRequest,
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

//! GetStats: totals, and the services and servers with the most traffic.

use super::{
    api::Api,
    convert::{Fields, age, count, kept_filter, number, order},
};
use crate::{
    app::{RequestContext, StatsReport, StatsRequest, TopServer, TopService},
    model::Error,
    proto::v1 as pb,
};

/// Default of `top`.
const DEFAULT_TOP: u32 = 10;
/// Largest `top`.
const MAX_TOP: u32 = 100;
/// Default of `sort`.
const DEFAULT_SORT: &str = "-rates.connections";

pub(super) async fn get(
    api: Api,
    request: pb::GetStatsRequest,
    context: RequestContext,
) -> Result<pb::GetStatsResponse, Error> {
    let pb::GetStatsRequest {
        top,
        sort,
        max_age: _,
        owner,
        label,
    } = request;
    let top = number(top.unwrap_or(DEFAULT_TOP), "top", MAX_TOP);
    let by = order(&sort, DEFAULT_SORT.parse()?);
    let mut fields = Fields::default();
    let (top, by) = (fields.take(top), fields.take(by));
    let filter = kept_filter(&mut fields, owner, label);
    fields.finish()?;
    let request = StatsRequest {
        top: top.unwrap_or_default(),
        by: by.unwrap_or_default(),
        filter,
    };
    let answer = api.app.stats(&context, request).await?;
    let age = age(&answer);
    let StatsReport {
        stats,
        rates,
        estimation,
        service_count,
        server_count,
        active_connections,
        inactive_connections,
        top_services,
        top_servers,
    } = answer.value;
    Ok(pb::GetStatsResponse {
        stats: Some((&stats).into()),
        rates: Some((&rates).into()),
        estimation,
        service_count: count(service_count),
        server_count: count(server_count),
        active_connections: count(active_connections),
        inactive_connections: count(inactive_connections),
        top_services: top_services.iter().map(pb::TopService::from).collect(),
        top_servers: top_servers.iter().map(pb::TopServer::from).collect(),
        age,
    })
}

impl From<&TopService> for pb::TopService {
    fn from(service: &TopService) -> Self {
        let TopService { id, stats, rates } = service;
        Self {
            id: id.to_string(),
            stats: Some(stats.into()),
            rates: Some(rates.into()),
        }
    }
}

impl From<&TopServer> for pb::TopServer {
    fn from(server: &TopServer) -> Self {
        let TopServer {
            service,
            id,
            active_connections,
            inactive_connections,
            stats,
            rates,
        } = server;
        Self {
            service: service.to_string(),
            id: id.to_string(),
            active_connections: *active_connections,
            inactive_connections: *inactive_connections,
            stats: Some(stats.into()),
            rates: Some(rates.into()),
        }
    }
}

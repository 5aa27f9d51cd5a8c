//! Totals and the busiest.

use super::{
    Api,
    convert::{age, aged, count, number, order},
};
use crate::{
    app::{RequestContext, StatsReport, StatsRequest, TopServer, TopService},
    model::Error,
    proto::v1 as pb,
};

/// How many of the busiest are told unless the request says.
const DEFAULT_TOP: i64 = 10;
/// How many are told at most.
const MAX_TOP: i64 = 100;
/// What they are the busiest by unless the request says.
const DEFAULT_SORT: &str = "-rates.connections";

pub(super) async fn get(
    api: Api,
    request: pb::GetStatsRequest,
    context: RequestContext,
) -> Result<pb::GetStatsResponse, Error> {
    let pb::GetStatsRequest { top, sort, max_age } = request;
    let request = StatsRequest {
        top: number(top.unwrap_or(DEFAULT_TOP), "top", 0, MAX_TOP)?,
        by: order(&sort, DEFAULT_SORT.parse()?)?,
    };
    let answer = api.app.stats(&aged(context, max_age)?, request).await?;
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
        active_connections,
        inactive_connections,
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
            active_connections: (*active_connections).into(),
            inactive_connections: (*inactive_connections).into(),
            stats: Some(stats.into()),
            rates: Some(rates.into()),
        }
    }
}

//! `/v1/health`: the health of servers.

use std::time::Duration;

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{
    conditional::{ConditionalRead, Unconditional},
    context::Write,
    extract::Json,
    path::{ServerPath, ServicePath},
    problem::Problem,
    query::{NoParams, Query, query},
    reply, schema,
    state::Api,
    values::{LabelTerms, OwnerName, kept_filter},
};
use crate::{
    app::ListHealth,
    model::{HealthReport, HealthResultDraft, OverrideDraft},
};

query! {
    /// Query parameters of a list of health.
    ListHealthQuery {
        /// Only services that the table of this owner declares; `_unmanaged`: those that no table declares.
        owner: OwnerName = "k8s",
        /// Only services with these labels: `team=web`, `env!=dev`, `team` (any value), `!team` (without it). All terms
        /// must hold, at most 32.
        label: LabelTerms = ["team=web", "env!=dev"],
        /// Maximum page size in services; 0 stands for the default of 1000. Values above
        /// `limits.max_page_size` of the daemon's configuration (default 100000) are rejected.
        page_size: u32,
        /// `next_page_token` of the previous page, with otherwise the same parameters.
        page_token: String,
    }
}

/// A page of services that are checked.
#[derive(Serialize)]
struct HealthList<'a> {
    services: &'a [HealthReport],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// List the health of servers
///
/// Lists the services with a health check by id, in pages, each with the health of its servers.
#[utoipa::path(
    get, path = "/v1/health", operation_id = "listHealth", tag = "health checks",
    params(Query<ListHealthQuery>, ConditionalRead),
    responses((status = 200, description = "A page of services.", body = schema::ServiceHealthList))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListHealthQuery>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let ListHealthQuery {
        owner,
        label,
        page_size,
        page_token,
    } = query;
    let request = ListHealth {
        filter: kept_filter(owner, label),
        page_size,
        page_token,
    };
    let page = api.app.list_health(&read.context, &request).await?;
    let list = HealthList {
        services: &page.entries,
        next_page_token: page.next_page_token(),
    };
    Ok(reply::resource(&read, Duration::ZERO, None, &list)?)
}

/// Get the health of the servers of a service
///
/// Gets the health of the servers of a service that has a health check.
#[utoipa::path(
    get, path = "/v1/health/{service}", operation_id = "getServiceHealth", tag = "health checks",
    params(ServicePath, ConditionalRead),
    responses(
        (status = 200, description = "The health of the servers.", body = schema::ServiceHealth),
        schema::NotFound,
    )
)]
pub(super) async fn get(
    State(api): State<Api>,
    ServicePath(service): ServicePath,
    _: Query<NoParams>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let report = api.app.service_health(&read.context, service).await?;
    Ok(reply::resource(&read, Duration::ZERO, None, &report)?)
}

/// Report the health of a server
///
/// Takes the result of a health check that the client has made, of a server of a service whose health check has the
/// type `external`. `rise` and `fall` count results. The audit trail has those that take a server out or bring it back.
#[utoipa::path(
    put, path = "/v1/health/{service}/{server}", operation_id = "reportHealth", tag = "health checks",
    params(ServerPath, Write),
    request_body(
        content = schema::HealthResult, content_type = "application/json", description = "The result.",
        example = json!({"healthy": false, "reason": "replication lag of 90 s"})
    ),
    responses(
        (status = 200, description = "The health of the server.", body = schema::ServerHealth),
        schema::NotFound, schema::NotExternal,
    )
)]
pub(super) async fn report(
    State(api): State<Api>,
    write: Write,
    ServerPath(service, server): ServerPath,
    _: Unconditional,
    Json(draft): Json<HealthResultDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let result = draft.check()?;
    let reported = api.app.report_health(&context, service, server, &result);
    Ok(reply::plain(&reported.await?)?)
}

/// Override the health of a server
///
/// Forces a server up or down, whatever its checks say, until the override is deleted or its time is over. Checks go
/// on meanwhile. A server that is forced down gets no new connections (a hold of the kind `manual`); one that is forced
/// up is not taken out by its checks. Replaces another override.
#[utoipa::path(
    put, path = "/v1/health/{service}/{server}/override", operation_id = "putHealthOverride", tag = "health checks",
    params(ServerPath, Write),
    request_body(
        content = schema::HealthOverride, content_type = "application/json", description = "The override.",
        example = json!({"state": "down", "expires_seconds": 600})
    ),
    responses(
        (status = 200, description = "The health of the server.", body = schema::ServerHealth),
        schema::NotFound,
    )
)]
pub(super) async fn put_override(
    State(api): State<Api>,
    write: Write,
    ServerPath(service, server): ServerPath,
    _: Unconditional,
    Json(draft): Json<OverrideDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let request = Some(draft.check()?);
    let overridden = api.app.override_health(&context, service, server, request);
    Ok(reply::plain(&overridden.await?)?)
}

/// Delete the override of a server
///
/// Ends the override of the health of a server: its checks decide again. Nothing changes if there is none.
#[utoipa::path(
    delete, path = "/v1/health/{service}/{server}/override", operation_id = "deleteHealthOverride",
    tag = "health checks", params(ServerPath, Write),
    responses(
        (status = 200, description = "The health of the server.", body = schema::ServerHealth),
        schema::NotFound,
    )
)]
pub(super) async fn delete_override(
    State(api): State<Api>,
    write: Write,
    ServerPath(service, server): ServerPath,
    _: Unconditional,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let ended = api.app.override_health(&context, service, server, None);
    Ok(reply::plain(&ended.await?)?)
}

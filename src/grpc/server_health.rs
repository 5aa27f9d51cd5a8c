//! Methods of the health of servers.

use super::{
    api::Api,
    convert::{Fields, count, fitting, kept_filter, non_empty, server_key, service_key, timestamp},
};
use crate::{
    app::{ListHealth, RequestContext},
    model::{
        Error, HealthReport, HealthResultDraft, HealthTransition, OverrideDraft, ServerHealthReport,
    },
    proto::v1 as pb,
};

pub(super) async fn list_health(
    api: Api,
    request: pb::ListHealthRequest,
    context: RequestContext,
) -> Result<pb::ListHealthResponse, Error> {
    let pb::ListHealthRequest {
        page_size,
        page_token,
        owner,
        label,
    } = request;
    let mut fields = Fields::default();
    let filter = kept_filter(&mut fields, owner, label);
    fields.finish()?;
    let list = ListHealth {
        filter,
        page_size,
        page_token: non_empty(page_token),
    };
    let page = api.app.list_health(&context, &list).await?;
    let services = page.entries.iter().map(pb::ServiceHealth::from);
    let services = fitting(services, api.options.max_response_bytes);
    let page = page.cut(services.len());
    Ok(pb::ListHealthResponse {
        services,
        next_page_token: page.next_page_token().unwrap_or_default(),
    })
}

pub(super) async fn get_health(
    api: Api,
    request: pb::GetHealthRequest,
    context: RequestContext,
) -> Result<pb::GetHealthResponse, Error> {
    let pb::GetHealthRequest { service } = request;
    let service = service_key(&service, "service")?;
    let report = api.app.service_health(&context, service).await?;
    Ok(pb::GetHealthResponse {
        health: Some((&report).into()),
    })
}

pub(super) async fn set_health_override(
    api: Api,
    request: pb::SetHealthOverrideRequest,
    context: RequestContext,
) -> Result<pb::SetHealthOverrideResponse, Error> {
    let pb::SetHealthOverrideRequest {
        service,
        server,
        state,
        expires_seconds,
        dry_run: _,
    } = request;
    let (service, server) = (
        service_key(&service, "service")?,
        server_key(&server, "server")?,
    );
    let draft = OverrideDraft {
        state,
        expires_seconds: expires_seconds.map(i64::from),
    };
    let request = Some(draft.check()?);
    let overridden = api.app.override_health(&context, service, server, request);
    Ok(pb::SetHealthOverrideResponse {
        health: Some((&overridden.await?).into()),
    })
}

pub(super) async fn delete_health_override(
    api: Api,
    request: pb::DeleteHealthOverrideRequest,
    context: RequestContext,
) -> Result<pb::DeleteHealthOverrideResponse, Error> {
    let pb::DeleteHealthOverrideRequest {
        service,
        server,
        dry_run: _,
    } = request;
    let (service, server) = (
        service_key(&service, "service")?,
        server_key(&server, "server")?,
    );
    let ended = api.app.override_health(&context, service, server, None);
    Ok(pb::DeleteHealthOverrideResponse {
        health: Some((&ended.await?).into()),
    })
}

pub(super) async fn report_health(
    api: Api,
    request: pb::ReportHealthRequest,
    context: RequestContext,
) -> Result<pb::ReportHealthResponse, Error> {
    let pb::ReportHealthRequest {
        service,
        server,
        healthy,
        reason,
        dry_run: _,
    } = request;
    let (service, server) = (
        service_key(&service, "service")?,
        server_key(&server, "server")?,
    );
    let result = HealthResultDraft { healthy, reason }.check()?;
    let reported = api.app.report_health(&context, service, server, &result);
    Ok(pb::ReportHealthResponse {
        health: Some((&reported.await?).into()),
    })
}

impl From<&HealthReport> for pb::ServiceHealth {
    fn from(report: &HealthReport) -> Self {
        Self {
            service: report.service.to_string(),
            healthy_count: count(report.healthy_count),
            below_min: report.below_min,
            storm: report.storm,
            limited: report.limited,
            fallback: report.fallback,
            servers: report.servers.iter().map(pb::ServerHealth::from).collect(),
        }
    }
}

impl From<&ServerHealthReport> for pb::ServerHealth {
    fn from(report: &ServerHealthReport) -> Self {
        Self {
            server: report.server.to_string(),
            state: report.state.as_str().to_owned(),
            since_time: Some(timestamp(report.since_time)),
            last_check_time: report.last_check_time.map(timestamp),
            latency_seconds: report.latency_seconds,
            reason: report.reason.clone(),
            override_expire_time: report.override_expire_time.map(timestamp),
            transitions: report.transitions.iter().map(Into::into).collect(),
        }
    }
}

impl From<&HealthTransition> for pb::HealthTransition {
    fn from(transition: &HealthTransition) -> Self {
        Self {
            time: Some(timestamp(transition.time)),
            state: transition.state.as_str().to_owned(),
            reason: transition.reason.clone(),
        }
    }
}

//! `/v1/sync-daemons`: connection synchronisation.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;

use super::{
    conditional::{ConditionalRead, IfMatch, IfMatchOrAbsent},
    context::Write,
    extract::Json,
    parameters::DeleteQuery,
    path::SyncDaemonPath,
    problem::Problem,
    query::{NoParams, Query},
    reply::{self, Outcome},
    schema,
    state::Api,
};
use crate::model::{Error, Reason, SyncDaemonDraft, SyncDaemonView};

/// The running sync daemons.
#[derive(Serialize)]
struct SyncDaemonList {
    sync_daemons: Vec<SyncDaemonView>,
}

/// List sync daemons
///
/// Lists the running sync daemons: none, master, backup or both (`ipvsadm -L --daemon`).
#[utoipa::path(
    get, path = "/v1/sync-daemons", operation_id = "listSyncDaemons", tag = "sync daemons",
    params(ConditionalRead),
    responses((status = 200, description = "The sync daemons.", body = schema::SyncDaemonList))
)]
pub(super) async fn list(
    State(api): State<Api>,
    _: Query<NoParams>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let answer = api.app.sync_daemons(&read.context).await?;
    let sync_daemons = answer.value.into_iter().map(SyncDaemonView::from).collect();
    let list = SyncDaemonList { sync_daemons };
    Ok(reply::resource(&read, answer.age, None, &list)?)
}

/// Get a sync daemon
///
/// Gets the sync daemon with this role, if it runs.
#[utoipa::path(
    get, path = "/v1/sync-daemons/{state}", operation_id = "getSyncDaemon", tag = "sync daemons",
    params(SyncDaemonPath, ConditionalRead),
    responses(
        (status = 200, description = "The sync daemon.", body = schema::SyncDaemon),
        schema::NotFound,
    )
)]
pub(super) async fn get(
    State(api): State<Api>,
    SyncDaemonPath(state): SyncDaemonPath,
    _: Query<NoParams>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let answer = api.app.sync_daemons(&read.context).await?;
    let mut running = answer.value.into_iter();
    let daemon = running
        .find(|daemon| daemon.state == state)
        .ok_or_else(|| {
            Error::new(
                Reason::SyncDaemonNotRunning,
                format!("the {state} sync daemon is not running"),
            )
        })?;
    let view = SyncDaemonView::from(daemon);
    Ok(reply::resource(&read, answer.age, Some(view.etag), &view)?)
}

/// Start or replace a sync daemon
///
/// Starts the sync daemon with this role (`ipvsadm --start-daemon`). If it runs with another
/// configuration, or its interface was deleted and created again (`interface_state` is `replaced`),
/// it is restarted; otherwise it is left running. Idempotent.
#[utoipa::path(
    put, path = "/v1/sync-daemons/{state}", operation_id = "startSyncDaemon", tag = "sync daemons",
    params(SyncDaemonPath, Write, IfMatchOrAbsent),
    request_body(
        content = schema::SyncDaemon, content_type = "application/json", description = "The sync daemon.",
        example = json!({"interface": "eth0", "sync_id": 1})
    ),
    responses(
        (status = 200, description = "Running.", body = schema::SyncDaemon),
        (status = 201, description = "Started.", body = schema::SyncDaemon),
        schema::Unprocessable,
    )
)]
pub(super) async fn put(
    State(api): State<Api>,
    write: Write,
    SyncDaemonPath(state): SyncDaemonPath,
    IfMatchOrAbsent(guard): IfMatchOrAbsent,
    Json(draft): Json<SyncDaemonDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let app = &api.app;
    let written = app.start_sync_daemon(&context, state, draft, true, guard);
    let written = written.await?;
    let view = SyncDaemonView::from(written.value);
    let outcome = Outcome {
        location: Some(format!("/v1/sync-daemons/{state}")),
        created: written.created,
        changed: written.changed,
        ..Outcome::default()
    };
    Ok(reply::written(outcome, Some(view.etag), &view)?)
}

/// Stop a sync daemon
///
/// Stops the sync daemon with this role (`ipvsadm --stop-daemon`).
#[utoipa::path(
    delete, path = "/v1/sync-daemons/{state}", operation_id = "stopSyncDaemon",
    tag = "sync daemons",
    params(SyncDaemonPath, Write<DeleteQuery>, IfMatch),
    responses((status = 204, description = "Stopped."), schema::NotFound)
)]
pub(super) async fn delete(
    State(api): State<Api>,
    write: Write<DeleteQuery>,
    SyncDaemonPath(state): SyncDaemonPath,
    IfMatch(guard): IfMatch,
) -> Result<StatusCode, Problem> {
    let (context, query) = write.start();
    let app = &api.app;
    let stopped = app.stop_sync_daemon(&context, state, query.allow_missing(), guard);
    stopped.await?;
    Ok(StatusCode::NO_CONTENT)
}

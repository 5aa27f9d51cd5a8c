//! `/v1/sync-daemons`: connection synchronisation.

use axum::{extract::State, response::Response};
use http::StatusCode;

use super::{
    Api,
    conditional::{IfMatch, IfMatchOrAbsent, Reading},
    context::Caller,
    extract::{InSyncDaemon, Json},
    problem::Problem,
    query::{NoQuery, Query},
    reply::{self, Outcome},
    schema::{self, SyncDaemonList},
    services::OfDelete,
};
use crate::model::{Error, Reason, SyncDaemonDraft, SyncDaemonView, SyncState};

/// List sync daemons
///
/// The sync daemons that run: none, master, backup or both (`ipvsadm -L --daemon`).
#[utoipa::path(
    get, path = "/v1/sync-daemons", operation_id = "listSyncDaemons", tag = "sync daemons",
    params(schema::ReadHeaders),
    responses((status = 200, description = "The daemons.", body = SyncDaemonList))
)]
pub(super) async fn list(
    State(api): State<Api>,
    _: NoQuery,
    reading: Reading,
) -> Result<Response, Problem> {
    let answer = api.app.sync_daemons(&reading.context).await?;
    let sync_daemons = answer.value.into_iter().map(SyncDaemonView::from).collect();
    let list = SyncDaemonList { sync_daemons };
    Ok(reply::resource(&reading, answer.age, None, &list)?)
}

/// Get a sync daemon
///
/// The sync daemon of one state, if it runs.
#[utoipa::path(
    get, path = "/v1/sync-daemons/{state}", operation_id = "getSyncDaemon", tag = "sync daemons",
    params(("state" = SyncState, Path, description = "`master` or `backup`."), schema::ReadHeaders),
    responses(
        (status = 200, description = "The daemon.", body = SyncDaemonView),
        schema::NotFound,
    )
)]
pub(super) async fn get(
    State(api): State<Api>,
    InSyncDaemon(state): InSyncDaemon,
    _: NoQuery,
    reading: Reading,
) -> Result<Response, Problem> {
    let answer = api.app.sync_daemons(&reading.context).await?;
    let mut running = answer.value.into_iter();
    let daemon = running
        .find(|daemon| daemon.state == state)
        .ok_or_else(|| {
            Error::new(
                Reason::SyncDaemonNotRunning,
                format!("the {state} sync daemon does not run"),
            )
        })?;
    let view = SyncDaemonView::from(daemon);
    Ok(reply::resource(
        &reading,
        answer.age,
        Some(view.etag),
        &view,
    )?)
}

/// Put a sync daemon
///
/// Declares a sync daemon: starts it, starts it anew if it runs otherwise, and leaves it alone if
/// it runs so already (`ipvsadm --start-daemon`).
#[utoipa::path(
    put, path = "/v1/sync-daemons/{state}", operation_id = "putSyncDaemon", tag = "sync daemons",
    params(
        ("state" = SyncState, Path, description = "`master` or `backup`."),
        schema::IfMatchHeader, schema::IfNoneMatchHeader
    ),
    request_body(
        content = SyncDaemonDraft, content_type = "application/json", description = "The daemon.",
        example = json!({"interface": "eth0", "sync_id": 1})
    ),
    responses(
        (status = 200, description = "It runs so now.", body = schema::WrittenSyncDaemon),
        (status = 201, description = "It was started.", body = schema::WrittenSyncDaemon),
        schema::Unprocessable,
    )
)]
pub(super) async fn put(
    State(api): State<Api>,
    caller: Caller,
    InSyncDaemon(state): InSyncDaemon,
    _: NoQuery,
    IfMatchOrAbsent(guard): IfMatchOrAbsent,
    Json(draft): Json<SyncDaemonDraft>,
) -> Result<Response, Problem> {
    let context = caller.context();
    let app = &api.app;
    let written = app.start_sync_daemon(&context, state, draft, true, guard);
    let written = written.await?;
    let view = SyncDaemonView::from(written.value);
    let outcome = Outcome {
        location: Some(format!("/v1/sync-daemons/{state}")),
        created: written.created,
        changed: written.changed,
    };
    Ok(reply::written(outcome, Some(view.etag), &view)?)
}

/// Stop a sync daemon
///
/// Stops the sync daemon of one state (`ipvsadm --stop-daemon`).
#[utoipa::path(
    delete, path = "/v1/sync-daemons/{state}", operation_id = "deleteSyncDaemon",
    tag = "sync daemons",
    params(
        ("state" = SyncState, Path, description = "`master` or `backup`."),
        schema::AllowMissingParam, schema::IfMatchHeader
    ),
    responses((status = 204, description = "It does not run."), schema::NotFound)
)]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    InSyncDaemon(state): InSyncDaemon,
    Query(OfDelete { allow_missing }): Query<OfDelete>,
    IfMatch(guard): IfMatch,
) -> Result<StatusCode, Problem> {
    let context = caller.context();
    let app = &api.app;
    let stopped = app.stop_sync_daemon(&context, state, allow_missing, guard);
    stopped.await?;
    Ok(StatusCode::NO_CONTENT)
}

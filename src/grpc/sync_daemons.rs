//! Methods of connection synchronisation daemons.

use super::{api::Api, convert::age};
use crate::{
    app::{Guard, RequestContext},
    model::{Error, Mask, SyncDaemonConfig, SyncDaemonDraft, SyncDaemonView, SyncState, both},
    proto::v1 as pb,
};

pub(super) async fn list(
    api: Api,
    request: pb::ListSyncDaemonsRequest,
    context: RequestContext,
) -> Result<pb::ListSyncDaemonsResponse, Error> {
    let pb::ListSyncDaemonsRequest { max_age: _ } = request;
    let answer = api.app.sync_daemons(&context).await?;
    let daemons = answer.value.iter().copied().map(SyncDaemonView::from);
    Ok(pb::ListSyncDaemonsResponse {
        sync_daemons: daemons.map(pb::SyncDaemon::from).collect(),
        age: age(&answer),
    })
}

pub(super) async fn start(
    api: Api,
    request: pb::StartSyncDaemonRequest,
    context: RequestContext,
) -> Result<pb::StartSyncDaemonResponse, Error> {
    let pb::StartSyncDaemonRequest {
        sync_daemon,
        replace,
        etag,
        dry_run: _,
    } = request;
    let daemon = sync_daemon.ok_or_else(|| Error::invalid("sync_daemon", "is required"))?;
    let state = state(&daemon.state);
    let draft = draft(daemon);
    // An invalid state does not hide the other fields.
    let checked = *state.as_ref().unwrap_or(&SyncState::Master);
    let (state, _) = both(state, draft.config(checked))?;
    let written = api
        .app
        .start_sync_daemon(&context, state, draft, replace, Guard::of_field(&etag)?)
        .await?;
    Ok(pb::StartSyncDaemonResponse {
        sync_daemon: Some(SyncDaemonView::from(written.value).into()),
        created: written.created,
        changed: written.changed,
    })
}

pub(super) async fn stop(
    api: Api,
    request: pb::StopSyncDaemonRequest,
    context: RequestContext,
) -> Result<pb::StopSyncDaemonResponse, Error> {
    let pb::StopSyncDaemonRequest {
        state: text,
        allow_missing,
        etag,
        dry_run: _,
    } = request;
    let changed = api
        .app
        .stop_sync_daemon(
            &context,
            state(&text)?,
            allow_missing,
            Guard::of_field(&etag)?,
        )
        .await?;
    Ok(pb::StopSyncDaemonResponse { changed })
}

fn state(text: &str) -> Result<SyncState, Error> {
    if text.is_empty() {
        return Err(Error::invalid("state", "is required: master or backup"));
    }
    text.parse()
}

// === pb::SyncDaemon ===

impl From<SyncDaemonConfig> for pb::SyncDaemon {
    fn from(config: SyncDaemonConfig) -> Self {
        let SyncDaemonConfig {
            state,
            interface,
            sync_id,
            max_length,
            multicast_group,
            multicast_port,
            multicast_ttl,
        } = config;
        Self {
            state: state.to_string(),
            interface: Some(interface.to_string()),
            sync_id: Some(sync_id),
            max_length: max_length.map(u32::from),
            multicast_group: Some(multicast_group.to_string()),
            multicast_port: Some(multicast_port.into()),
            multicast_ttl: Some(multicast_ttl.into()),
            ..Self::default()
        }
    }
}

impl From<SyncDaemonView> for pb::SyncDaemon {
    fn from(view: SyncDaemonView) -> Self {
        let SyncDaemonView { daemon, etag } = view;
        Self {
            interface_state: daemon.interface_state.to_string(),
            etag: etag.to_string(),
            ..SyncDaemonConfig::from(daemon).into()
        }
    }
}

/// Converts a message to a draft, which does not include the state.
pub(super) fn draft(daemon: pb::SyncDaemon) -> SyncDaemonDraft {
    let pb::SyncDaemon {
        state: _,
        interface,
        sync_id,
        max_length,
        multicast_group,
        multicast_port,
        multicast_ttl,
        interface_state: _,
        etag: _,
    } = daemon;
    let mask = Mask::Present;
    let mut draft = SyncDaemonDraft::default();
    draft.interface = mask.field("interface", interface);
    draft.sync_id = mask.field("sync_id", sync_id.map(i64::from));
    draft.max_length = mask.field("max_length", max_length.map(i64::from));
    draft.multicast_group = mask.field("multicast_group", multicast_group);
    draft.multicast_port = mask.field("multicast_port", multicast_port.map(i64::from));
    draft.multicast_ttl = mask.field("multicast_ttl", multicast_ttl.map(i64::from));
    draft
}

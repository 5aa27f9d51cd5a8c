//! Connection synchronisation daemons, as declared state.

use super::{Answer, App, Guard, RequestContext, Written, mismatch};
use crate::{
    executor::{Change, Plan, Seen, Step},
    model::{Errno, Error, Op, Query, Reason, SyncDaemon, SyncDaemonDraft, SyncState},
};

impl App {
    /// The sync daemons that run, master first (ipvsadm -L --daemon).
    pub async fn sync_daemons(
        &self,
        context: &RequestContext,
    ) -> Result<Answer<Vec<SyncDaemon>>, Error> {
        self.ask(context, Query::SyncDaemons, |seen| match seen {
            Seen::SyncDaemons(daemons) => Some(daemons),
            _ => None,
        })
        .await
    }

    /// Starts a sync daemon (ipvsadm --start-daemon). One that runs already is refused, unless
    /// `replace`: then it is stopped and started again if it differs, and left alone if not.
    pub async fn start_sync_daemon(
        &self,
        context: &RequestContext,
        state: SyncState,
        draft: SyncDaemonDraft,
        replace: bool,
        guard: Guard,
    ) -> Result<Written<SyncDaemon>, Error> {
        let config = draft.config(state)?;
        let decide = move |seen: Option<&Seen>| {
            let running = running(seen, state)?;
            guard.check(running.map(|daemon| vec![daemon.etag()]).as_deref())?;
            let start = Step::new(Op::StartSyncDaemon(config), Op::StopSyncDaemon(state));
            let Some(running) = running else {
                return Ok(Plan::of([start]).creating());
            };
            if !replace {
                return Err(Error::new(
                    Reason::SyncDaemonRunning,
                    format!("a {state} sync daemon runs already"),
                )
                .with_errno(Errno::EEXIST)
                .with_hint("stop it first, or ask for it to be replaced"));
            }
            if config.matches(running) {
                return Ok(Plan::nothing());
            }
            // The kernel changes none that runs. If the new one is refused, the old one comes back.
            let stop = Step::new(
                Op::StopSyncDaemon(state),
                Op::StartSyncDaemon((*running).into()),
            );
            Ok(Plan::staged([vec![stop], vec![start]]))
        };
        let query = Some(Query::SyncDaemons);
        let change = Change {
            look: query,
            decide: Box::new(decide),
            read_back: query,
        };
        let changed = self.executor.change(change, context.deadline).await?;
        let value = *running(changed.seen.as_ref(), state)?.ok_or_else(|| not_running(state))?;
        Ok(Written {
            value,
            created: changed.created,
            changed: changed.changed,
        })
    }

    /// Stops a sync daemon (ipvsadm --stop-daemon). `false` where it did not run, which
    /// `allow_missing` must allow.
    pub async fn stop_sync_daemon(
        &self,
        context: &RequestContext,
        state: SyncState,
        allow_missing: bool,
        guard: Guard,
    ) -> Result<bool, Error> {
        let decide = move |seen: Option<&Seen>| {
            let running = running(seen, state)?;
            if running.is_none() && allow_missing {
                return Ok(Plan::nothing());
            }
            guard.check(running.map(|daemon| vec![daemon.etag()]).as_deref())?;
            running.ok_or_else(|| not_running(state))?;
            Ok(Plan::of([Op::StopSyncDaemon(state).into()]))
        };
        let look = Some(Query::SyncDaemons);
        let change = Change {
            look,
            decide: Box::new(decide),
            read_back: None,
        };
        Ok(self
            .executor
            .change(change, context.deadline)
            .await?
            .changed)
    }
}

fn running(seen: Option<&Seen>, state: SyncState) -> Result<Option<&SyncDaemon>, Error> {
    match seen {
        Some(Seen::SyncDaemons(daemons)) => Ok(daemons.iter().find(|daemon| daemon.state == state)),
        _ => Err(mismatch()),
    }
}

fn not_running(state: SyncState) -> Error {
    Error::new(
        Reason::SyncDaemonNotRunning,
        format!("no {state} sync daemon runs"),
    )
}

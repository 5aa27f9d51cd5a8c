//! Connection synchronisation daemons, as declared state.

use super::{Answer, App, Guard, RequestContext, Written};
use crate::{
    executor::{Nothing, Plan, Step, SyncDaemonsQuery, Transaction},
    identity::Verb,
    model::{Errno, Error, Op, SyncDaemon, SyncDaemonDraft, SyncState},
};

impl App {
    /// The running sync daemons, the master first (ipvsadm -L --daemon).
    pub async fn sync_daemons(
        &self,
        context: &RequestContext,
    ) -> Result<Answer<Vec<SyncDaemon>>, Error> {
        Ok(self.read(context, SyncDaemonsQuery).await?.into())
    }

    /// Starts a sync daemon (ipvsadm --start-daemon). Fails with `SYNC_DAEMON_RUNNING` if it runs.
    /// With `replace` it is restarted instead if its configuration differs or its interface has been
    /// replaced, and otherwise left running.
    pub async fn start_sync_daemon(
        &self,
        context: &RequestContext,
        state: SyncState,
        draft: SyncDaemonDraft,
        replace: bool,
        guard: Guard,
    ) -> Result<Written<SyncDaemon>, Error> {
        let config = draft.config(state)?;
        let is_resumed = context.resumed;
        let plan = move |daemons: &Vec<SyncDaemon>| {
            let running = running(daemons, state);
            let is_done = is_resumed && running.is_some_and(|daemon| config.matches(daemon));
            if !is_done {
                guard.check(running.map(|daemon| vec![daemon.etag()]).as_deref())?;
            }
            let start = Step::new(Op::StartSyncDaemon(config), Op::StopSyncDaemon(state));
            let Some(running) = running else {
                return Ok(Plan::of([start]).creating());
            };
            if !replace && !is_done {
                return Err(Error::sync_daemon_running(state).with_errno(Errno::EEXIST));
            }
            if config.lacks_interface(running) {
                return Err(Error::no_interface(config.interface));
            }
            if config.runs_as(running) {
                return Ok(Plan::nothing());
            }
            // The kernel cannot reconfigure a running daemon. If the new one fails to start, the old
            // one is started again.
            let stop = Step::new(
                Op::StopSyncDaemon(state),
                Op::StartSyncDaemon((*running).into()),
            );
            Ok(Plan::staged([vec![stop], vec![start]]))
        };
        let transaction = Transaction::repeated(SyncDaemonsQuery, plan, SyncDaemonsQuery)
            .about(format!("sync_daemon {state}"))
            .named("start_sync_daemon");
        let written = Written::from(
            self.write(context, Verb::StartSyncDaemon, transaction)
                .await?,
        );
        written.try_map(|daemons| {
            running(&daemons, state)
                .copied()
                .ok_or_else(|| Error::sync_daemon_not_running(state))
        })
    }

    /// Stops a sync daemon (ipvsadm --stop-daemon). If it does not run, returns `false` with
    /// `allow_missing` and fails otherwise.
    pub async fn stop_sync_daemon(
        &self,
        context: &RequestContext,
        state: SyncState,
        allow_missing: bool,
        guard: Guard,
    ) -> Result<bool, Error> {
        let allow_missing = allow_missing || context.resumed;
        let plan = move |daemons: &Vec<SyncDaemon>| {
            let running = running(daemons, state);
            if running.is_none() && allow_missing {
                return Ok(Plan::nothing());
            }
            guard.check(running.map(|daemon| vec![daemon.etag()]).as_deref())?;
            let running = running.ok_or_else(|| Error::sync_daemon_not_running(state))?;
            let start = Op::StartSyncDaemon((*running).into());
            Ok(Plan::of([Step::new(Op::StopSyncDaemon(state), start)]))
        };
        let transaction = Transaction::repeated(SyncDaemonsQuery, plan, Nothing)
            .about(format!("sync_daemon {state}"))
            .named("stop_sync_daemon");
        Ok(self
            .write(context, Verb::StopSyncDaemon, transaction)
            .await?
            .changed())
    }
}

fn running(daemons: &[SyncDaemon], state: SyncState) -> Option<&SyncDaemon> {
    daemons.iter().find(|daemon| daemon.state == state)
}

//! What a table declares beside services: the timeouts and the sync daemons of the director.

use serde::{Deserialize, Serialize};

use super::{
    Error, SyncDaemon, SyncDaemonConfig, SyncDaemonDraft, SyncState, Timeouts, TimeoutsDraft,
};

/// The timeouts and the sync daemons that a table declares. A director has one of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Director {
    /// The timeouts; `None`: not declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// The sync daemons that run, at most one of each role, the master first; `None`: not declared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_daemons: Option<Vec<SyncDaemonConfig>>,
}

/// The timeouts and the sync daemons that the kernel has. What is not compared is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectorState {
    /// The timeouts.
    pub timeouts: Option<Timeouts>,
    /// The sync daemons that run.
    pub sync_daemons: Option<Vec<SyncDaemon>>,
}

// === impl Director ===

impl Director {
    /// Nothing.
    pub const NONE: Self = Self {
        timeouts: None,
        sync_daemons: None,
    };

    /// What a request declares. Timeouts that it does not name are the kernel's defaults.
    pub fn of_drafts(
        timeouts: Option<&TimeoutsDraft>,
        sync_daemons: Option<&[SyncDaemonDraft]>,
    ) -> Result<Self, Error> {
        let mut violations = Vec::new();
        let timeouts = timeouts.map(|draft| {
            let timeouts = draft.update(Timeouts::DEFAULT);
            timeouts.map_err(|error| violations.extend(error.below("timeouts").violations))
        });
        let sync_daemons = sync_daemons.map(|listed| {
            let mut configs: Vec<SyncDaemonConfig> = Vec::new();
            for (index, draft) in listed.iter().enumerate() {
                match listed_config(draft, &configs) {
                    Ok(config) => configs.push(config),
                    Err(error) => {
                        let error = error.below(&format!("sync_daemons[{index}]"));
                        violations.extend(error.violations);
                    }
                }
            }
            configs.sort_by_key(|config| config.state);
            configs
        });
        match violations.is_empty() {
            true => Ok(Self {
                timeouts: timeouts.and_then(Result::ok),
                sync_daemons,
            }),
            false => Err(Error::from_violations(violations)),
        }
    }

    /// Whether it declares nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// The daemon of a role that is to run.
    pub fn daemon(&self, state: SyncState) -> Option<&SyncDaemonConfig> {
        let mut daemons = self.sync_daemons.iter().flatten();
        daemons.find(|daemon| daemon.state == state)
    }
}

// === impl DirectorState ===

impl DirectorState {
    /// The daemon of a role that runs.
    pub fn daemon(&self, state: SyncState) -> Option<&SyncDaemon> {
        let mut daemons = self.sync_daemons.iter().flatten();
        daemons.find(|daemon| daemon.state == state)
    }
}

/// The configuration of a daemon of a list, after others of it.
fn listed_config(
    draft: &SyncDaemonDraft,
    others: &[SyncDaemonConfig],
) -> Result<SyncDaemonConfig, Error> {
    let required = || Error::invalid("state", "is required: master or backup");
    let state = draft.state.as_deref().ok_or_else(required)?;
    let state: SyncState = state.parse()?;
    match others.iter().any(|other| other.state == state) {
        true => Err(Error::invalid(
            "state",
            format!("{state} is declared twice"),
        )),
        false => draft.config(state),
    }
}

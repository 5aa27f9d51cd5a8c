//! Arguments of overrides and results of health checks.

use clap::{ValueEnum, builder::RangedI64ValueParser};

use crate::model::{HealthResult, HealthResultDraft, ServerKey, ServiceKey};

#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct ForceArgs {
    /// Id of the service, such as tcp-192.0.2.1-80
    pub service: ServiceKey,
    /// Id of the server, such as 192.168.10.1-80
    pub server: ServerKey,
    /// up, down, or auto: its checks decide
    pub state: ForcedState,
    /// Seconds until the checks decide again [default: until it is set to auto]
    #[arg(long, value_name = "SECONDS", value_parser = RangedI64ValueParser::<u32>::new().range(1..))]
    pub expires: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ForcedState {
    Up,
    Down,
    Auto,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ReportArgs {
    /// Id of the service, such as tcp-192.0.2.1-80; its health check has the type external
    pub service: ServiceKey,
    /// Id of the server, such as 192.168.10.1-80
    pub server: ServerKey,
    /// up or down
    pub state: ReportedState,
    /// What is shown with the state, at most 256 bytes
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportedState {
    Up,
    Down,
}

/// A reason, as the daemon accepts it.
fn reason(text: &str) -> Result<String, String> {
    let draft = HealthResultDraft {
        healthy: Some(true),
        reason: Some(text.to_owned()),
    };
    let checked = draft.check().map_err(|error| {
        let mut violations = error.violations.into_iter();
        violations.next().map_or(error.detail, |one| one.message)
    });
    checked.map(|HealthResult { reason, .. }| reason.unwrap_or_default())
}

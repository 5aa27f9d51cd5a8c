//! Commands whose reply was lost: which of them are done, and how to check the others.

use super::{error::CliError, target::Target};
use crate::{
    client::{Client, ClientError, Include, Refused},
    ipvsadm::service_option,
    model::{Op, Reason},
};

/// Adds to the error of a command whose outcome is unknown how to check it. `op` is the command, if
/// there is only one.
pub(super) fn explain(error: CliError, target: &Target, op: Option<&Op>) -> CliError {
    let listing = match op {
        Some(Op::SetTimeouts(_)) => "-L --timeout".to_owned(),
        Some(Op::StartSyncDaemon(_) | Op::StopSyncDaemon(_)) => "-L --daemon".to_owned(),
        Some(Op::SetSetting { .. }) => "settings".to_owned(),
        Some(Op::ZeroAll) => "-L -n --stats".to_owned(),
        Some(Op::ZeroService(key)) => format!("-L -n --stats {}", service_option(*key)),
        Some(op) => match op.service() {
            Some(key) => format!("-L -n {}", service_option(key)),
            None => "-L -n".to_owned(),
        },
        None => "-L -n".to_owned(),
    };
    explain_with(error, target, &listing)
}

/// As [`explain`], with the command that reads what may have changed.
pub(super) fn explain_with(error: CliError, target: &Target, listing: &str) -> CliError {
    match error {
        CliError::Client(source @ ClientError::OutcomeUnknown { .. }) => CliError::OutcomeUnknown {
            source,
            check: format!("ipvsctl {} {listing}", target.selector()),
        },
        error => error,
    }
}

/// Sends a change that can be repeated, once more if its reply is lost.
pub(super) fn idempotent<T>(change: impl Fn() -> Result<T, ClientError>) -> Result<T, ClientError> {
    match change() {
        // If the second attempt fails, what became of the first is still unknown.
        Err(first) if first.is_lost() => change().map_err(|_| first),
        result => result,
    }
}

/// Whether a command that was repeated and rejected has been carried out the first time: its object
/// is as the command wants it.
pub(super) fn is_done(client: &Client, op: &Op, refused: &Refused) -> Result<bool, ClientError> {
    let Some(reason) = refused.reason.known() else {
        return Ok(false);
    };
    Ok(match (op, reason) {
        (Op::CreateService(key, config, _), Reason::ServiceExists) => {
            client
                .service(*key, Include::default())?
                .value
                .service
                .config
                == *config
        }
        (Op::CreateServer(service, key, config), Reason::ServerExists) => {
            let server = client.server(*service, *key, Include::default())?;
            server.value.config == *config
        }
        (Op::StartSyncDaemon(config), Reason::SyncDaemonRunning) => {
            config.matches(&client.sync_daemon(config.state)?.value)
        }
        (Op::DeleteService(_), Reason::ServiceNotFound)
        | (Op::DeleteServer(..), Reason::ServerNotFound)
        | (Op::StopSyncDaemon(_), Reason::SyncDaemonNotRunning) => true,
        _ => false,
    })
}

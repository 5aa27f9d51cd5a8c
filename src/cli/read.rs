//! Commands that only read.

use std::io::Write;

use serde::{Deserialize, de::IgnoredAny};

use super::{
    access::{self, AuditReport},
    args::{HealthArgs, KeptArgs},
    connections::{self, ConnectionReport},
    error::CliError,
    export, health, holds, info, list,
    options::Format,
    output::{eprint_line, write_json},
    probe, settings, tables,
};
use crate::{
    client::{Client, ClientError, Problem},
    ipvsadm::{List, ListFormat, errno_message, write_sync_daemons, write_timeouts},
    model::{Owner, Reason, Timeouts},
};

/// A command that only reads.
#[derive(Clone, Debug)]
pub(super) enum ReadCommand {
    /// `-L`
    List(List),
    /// `-S`
    Save { numeric: bool },
    /// `save`: preserves the order of servers.
    SaveRestorable,
    /// `save --full`: timeouts, sync daemons and settings as well.
    SaveFull,
    /// `info`
    Info,
    /// `probe`
    Probe { ready: bool },
    /// `settings`, with the names to show.
    Settings(Vec<String>),
    /// `connections`
    Connections(ConnectionReport),
    /// `whoami`
    Whoami,
    /// `can-i`
    CanI {
        verb: String,
        service: Option<String>,
    },
    /// `audit`
    Audit(AuditReport),
    /// `tables`
    Tables,
    /// `tables show`
    DeclaredTable(Owner),
    /// `tables operations`
    Operations(Owner),
    /// `drains`
    Drains(KeptArgs),
    /// `ramps`
    Ramps(KeptArgs),
    /// `health`
    Health(HealthArgs),
    /// `export`, of one owner or of all services.
    Export(Option<Owner>),
}

/// The response of `/v1/sync-daemons`.
#[derive(Deserialize)]
struct SyncDaemonList {
    #[serde(rename = "sync_daemons")]
    _sync_daemons: Vec<IgnoredAny>,
}

/// Executes a command on one director; returns the exit code.
pub(super) fn execute(
    client: &Client,
    command: &ReadCommand,
    format: Format,
    out: &mut dyn Write,
) -> Result<u8, CliError> {
    let problem = match write(client, command, format, out) {
        Ok(code) => return Ok(code),
        Err(CliError::Client(ClientError::Refused(problem))) => problem,
        Err(error) => return Err(error),
    };
    let Some(message) = message(command, &problem) else {
        return Err(ClientError::Refused(problem).into());
    };
    out.flush()?;
    eprint_line(&message);
    Ok(1)
}

/// ipvsadm's message for an error of the daemon, if ipvsadm has one.
fn message(command: &ReadCommand, problem: &Problem) -> Option<String> {
    if problem.reason == Reason::ServiceNotFound {
        return Some("No such service".to_owned());
    }
    if !matches!(command, ReadCommand::List(_)) || problem.reason == Reason::KernelUnavailable {
        return None;
    }
    Some(errno_message(None, problem.errno?).into_owned())
}

fn write(
    client: &Client,
    command: &ReadCommand,
    format: Format,
    out: &mut dyn Write,
) -> Result<u8, CliError> {
    match command {
        ReadCommand::CanI { verb, service } => {
            return access::can_i(client, verb, service.as_deref(), format, out);
        }
        ReadCommand::List(list) => write_list(client, *list, format, out),
        ReadCommand::Save { numeric } if format == Format::Table => {
            list::save(client, *numeric, out)
        }
        ReadCommand::SaveRestorable if format == Format::Table => {
            client.write_rules(out, true).map_err(CliError::from)
        }
        ReadCommand::Save { .. } | ReadCommand::SaveRestorable => {
            list::table(client, ListFormat::default(), format, out)
        }
        ReadCommand::SaveFull => list::full(client, format, out),
        ReadCommand::Info => info::show(client, format, out),
        ReadCommand::Probe { ready } => probe::show(client, *ready, format, out),
        ReadCommand::Settings(names) => settings::show(client, names, format, out),
        ReadCommand::Connections(report) => report.write(client, format, out),
        ReadCommand::Whoami => access::whoami(client, format, out),
        ReadCommand::Audit(report) => report.write(client, format, out),
        ReadCommand::Tables => tables::list(client, format, out),
        ReadCommand::DeclaredTable(owner) => tables::show(client, owner, format, out),
        ReadCommand::Operations(owner) => tables::operations(client, owner, format, out),
        ReadCommand::Drains(kept) => holds::list_drains(client, kept, format, out),
        ReadCommand::Ramps(kept) => holds::list_ramps(client, kept, format, out),
        ReadCommand::Health(args) => health::list(client, args, format, out),
        ReadCommand::Export(owner) => export::write(client, owner.as_ref(), format, out),
    }
    .map(|()| 0)
}

fn write_list(
    client: &Client,
    list: List,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    match list {
        List::Table(columns) => list::table(client, columns, format, out),
        List::Service(key, columns) => list::service(client, key, columns, format, out),
        List::Connections {
            numeric,
            engine_data,
        } => connections::list(client, numeric, engine_data, format, out),
        List::Timeouts if format == Format::Table => {
            Ok(write_timeouts(out, client.timeouts()?.value)?)
        }
        List::SyncDaemons if format == Format::Table => {
            Ok(write_sync_daemons(out, &client.sync_daemons()?)?)
        }
        List::Timeouts => {
            let (_, json) = client.get::<Timeouts>("/v1/timeouts")?;
            write_json(out, format, &json)
        }
        List::SyncDaemons => {
            let (_, json) = client.get::<SyncDaemonList>("/v1/sync-daemons")?;
            write_json(out, format, &json)
        }
    }
}

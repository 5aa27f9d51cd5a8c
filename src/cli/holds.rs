//! `ipvsctl drain`, `undrain`, `drains`, `ramp`, `unramp` and `ramps`.

use std::io::Write;

use super::{
    args::KeptArgs,
    error::CliError,
    hold_args::{DrainArgs, Ended, RampArgs},
    options::{Format, Options},
    outcome::{explain_with, idempotent},
    output::{Stdout, write_json, write_pages, write_table},
    target::Target,
    wait::{Ongoing, Wait},
};
use crate::{
    client::{Client, ClientError, Drain, KeptQuery, Ramp, WriteOptions},
    model::{DrainRequest, DrainTarget, HoldId, RampRequest},
};

/// Exit code: connections were left at the deadline.
const DEADLINE: u8 = 4;
/// Exit code: something else has ended the drain or ramp.
const ENDED: u8 = 5;
/// Exit code: the time to wait is over.
const WAITED: u8 = 6;

/// Drains servers; returns the exit code.
pub(super) fn drain(args: DrainArgs, options: &Options, out: &mut Stdout) -> Result<u8, CliError> {
    options.reject_all()?;
    let DrainArgs {
        server,
        services,
        deadline,
        then,
        dry_run,
        wait,
    } = args;
    let request = DrainRequest {
        target: server,
        services: Some(services).filter(|services| !services.is_empty()),
        deadline_seconds: deadline,
        then,
    };
    let target = Target::select(options)?;
    let write = WriteOptions {
        dry_run,
        ..WriteOptions::default()
    };
    let created = change(&target, "drains", || {
        target.client.create_drain(&request, &write)
    })?;
    let waits = !wait.no_wait && !dry_run;
    let (drain, json) = match waits {
        true => {
            let id = created.0.id;
            let wait = Wait {
                read: || target.client.drain(id),
                limit: wait.wait_timeout,
                goes_on: format!(
                    "the drain {id} goes on: repeat the command to wait again, or end it with \
                     `ipvsctl {} undrain {id}`",
                    target.selector()
                ),
            };
            wait.run(created)?
        }
        false => created,
    };
    match options.format {
        Format::Table => write_drain(&drain, dry_run, out)?,
        format => write_json(out, format, &json)?,
    }
    Ok(if waits {
        exit_code(&drain, &drain.state)
    } else {
        0
    })
}

/// Changes the weight of a server in steps; returns the exit code.
pub(super) fn ramp(args: RampArgs, options: &Options, out: &mut Stdout) -> Result<u8, CliError> {
    options.reject_all()?;
    let RampArgs {
        service,
        server,
        to,
        over,
        steps,
        wait,
    } = args;
    let request = RampRequest {
        service,
        server,
        to,
        over_seconds: over,
        steps,
    };
    let target = Target::select(options)?;
    let created = change(&target, "ramps", || {
        target
            .client
            .create_ramp(&request, &WriteOptions::default())
    })?;
    let (ramp, json) = match wait.no_wait {
        true => created,
        false => {
            let id = created.0.id;
            let wait = Wait {
                read: || target.client.ramp(id),
                limit: wait.wait_timeout,
                goes_on: format!(
                    "the ramp {id} goes on; `ipvsctl {} unramp {id}` sets the weight {to} at once",
                    target.selector()
                ),
            };
            wait.run(created)?
        }
    };
    let code = if wait.no_wait {
        0
    } else {
        exit_code(&ramp, &ramp.state)
    };
    match options.format {
        Format::Table => write_ramps(&[ramp], out)?,
        format => write_json(out, format, &json)?,
    }
    Ok(code)
}

/// Ends drains; returns the exit code.
pub(super) fn undrain(drain: Ended, options: &Options, out: &mut Stdout) -> Result<u8, CliError> {
    options.reject_all()?;
    let target = Target::select(options)?;
    let ids = match drain {
        Ended::Drain(id) => vec![id],
        Ended::Server(server) => drains_of(&target.client, server)?,
    };
    let (mut ended, mut pages) = (Vec::new(), Vec::new());
    let mut result = Ok(0);
    for id in ids {
        let delete = || target.client.delete_drain(id, &WriteOptions::default());
        match change(&target, "drains", delete) {
            Ok((drain, json)) => {
                ended.push(drain);
                pages.push([b"{\"drains\":[", &json[..], b"]}"].concat());
            }
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    match options.format {
        _ if ended.is_empty() => {}
        Format::Table => write_drains(&ended, out)?,
        format => write_pages(out, format, "drains", &pages)?,
    }
    result
}

/// The drains that hold a server, or any port of an address.
fn drains_of(client: &Client, server: DrainTarget) -> Result<Vec<HoldId>, CliError> {
    let (drains, _) = client.drains()?;
    let is_of = |drain: &&Drain| match drain.server {
        DrainTarget::Server(key) => server.covers(key),
        address => server == address,
    };
    let active = || drains.iter().filter(|drain| drain.is_active());
    let ids: Vec<_> = active().filter(is_of).map(|drain| drain.id).collect();
    if !ids.is_empty() {
        return Ok(ids);
    }
    let address = DrainTarget::Address(server.address());
    let wider = active().find(|drain| drain.server == address);
    Err(CliError::NotDrained {
        server,
        wider: wider.map(|drain| drain.id),
    })
}

/// Ends a ramp; returns the exit code.
pub(super) fn unramp(id: HoldId, options: &Options, out: &mut Stdout) -> Result<u8, CliError> {
    options.reject_all()?;
    let target = Target::select(options)?;
    let (ramp, json) = change(&target, "ramps", || {
        target.client.delete_ramp(id, &WriteOptions::default())
    })?;
    match options.format {
        Format::Table => write_ramps(&[ramp], out)?,
        format => write_json(out, format, &json)?,
    }
    Ok(0)
}

/// Lists the drains.
pub(super) fn list_drains(
    client: &Client,
    kept: &KeptArgs,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (drains, pages) = client.select_drains(&kept.clone().into())?;
    match format {
        Format::Table => write_drains(&drains, out),
        format => write_pages(out, format, "drains", &pages),
    }
}

/// Lists the ramps.
pub(super) fn list_ramps(
    client: &Client,
    kept: &KeptArgs,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (ramps, pages) = client.select_ramps(&kept.clone().into())?;
    match format {
        Format::Table => write_ramps(&ramps, out),
        format => write_pages(out, format, "ramps", &pages),
    }
}

impl From<KeptArgs> for KeptQuery {
    fn from(KeptArgs { owner, label }: KeptArgs) -> Self {
        Self { owner, label }
    }
}

/// Sends a change that can be repeated. `check` is the command that shows whether it was made.
fn change<T>(
    target: &Target,
    check: &str,
    send: impl Fn() -> Result<T, ClientError>,
) -> Result<T, CliError> {
    idempotent(send).map_err(|error| explain_with(error.into(), target, check))
}

fn exit_code(waited: &impl Ongoing, state: &str) -> u8 {
    match state {
        _ if waited.is_ongoing() => WAITED,
        "drained" | "done" => 0,
        "deadline_reached" => DEADLINE,
        _ => ENDED,
    }
}

/// Writes the servers of a drain, and how far it is.
fn write_drain(drain: &Drain, dry_run: bool, out: &mut dyn Write) -> Result<(), CliError> {
    const HEADINGS: [&str; 7] = [
        "SERVICE",
        "SERVER",
        "WEIGHT",
        "ACTIVE",
        "INACTIVE",
        "PERSISTENT",
        "STATE",
    ];
    let Drain {
        id, server, state, ..
    } = drain;
    let rows: Vec<_> = drain
        .members
        .iter()
        .map(|member| {
            vec![
                member.service.to_string(),
                member.server.to_string(),
                member.weight.to_string(),
                member.active_connections.to_string(),
                member.inactive_connections.to_string(),
                member.persistent_connections.to_string(),
                member.state.clone(),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => writeln!(out, "no service has {server}")?,
        false => write_table(out, &HEADINGS, &rows)?,
    }
    let summary = match drain.is_active() {
        _ if dry_run => "nothing was changed".to_owned(),
        true => format!("`ipvsctl undrain {id}` ends the drain"),
        false if drain.then == "remove" && is_over(drain) => "the servers were removed".to_owned(),
        false => format!("the drain {id} has ended"),
    };
    Ok(writeln!(out, "{server}: {state}; {summary}")?)
}

/// Whether a drain does not wait for connections any more.
fn is_over(drain: &Drain) -> bool {
    matches!(drain.state.as_str(), "drained" | "deadline_reached")
}

fn write_drains(drains: &[Drain], out: &mut dyn Write) -> Result<(), CliError> {
    const HEADINGS: [&str; 10] = [
        "ID",
        "SERVER",
        "TABLE",
        "STATE",
        "SERVERS",
        "ACTIVE",
        "INACTIVE",
        "PERSISTENT",
        "CREATED",
        "ENDED",
    ];
    let row = |drain: &Drain| {
        let [active, inactive, persistent] = connections(drain);
        vec![
            drain.id.to_string(),
            drain.server.to_string(),
            drain.table.clone().unwrap_or_default(),
            drain.state.clone(),
            drain.members.len().to_string(),
            active.to_string(),
            inactive.to_string(),
            persistent.to_string(),
            drain.create_time.clone(),
            drain.end_time.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = drains.iter().map(row).collect();
    Ok(write_table(out, &HEADINGS, &rows)?)
}

fn write_ramps(ramps: &[Ramp], out: &mut dyn Write) -> Result<(), CliError> {
    const HEADINGS: [&str; 9] = [
        "ID", "SERVICE", "SERVER", "FROM", "WEIGHT", "TO", "STATE", "CREATED", "ENDED",
    ];
    let row = |ramp: &Ramp| {
        vec![
            ramp.id.to_string(),
            ramp.service.to_string(),
            ramp.server.to_string(),
            ramp.from.to_string(),
            ramp.weight.to_string(),
            ramp.to.to_string(),
            ramp.state.clone(),
            ramp.create_time.clone(),
            ramp.end_time.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = ramps.iter().map(row).collect();
    Ok(write_table(out, &HEADINGS, &rows)?)
}

/// Active and inactive connections, and persistence templates, of all servers of a drain.
fn connections(drain: &Drain) -> [u64; 3] {
    let mut sums = [0; 3];
    for member in &drain.members {
        sums[0] += u64::from(member.active_connections);
        sums[1] += u64::from(member.inactive_connections);
        sums[2] += u64::from(member.persistent_connections);
    }
    sums
}

// === impl Drain ===

impl Ongoing for Drain {
    fn is_ongoing(&self) -> bool {
        // Servers that are to be removed: until they are.
        self.is_active() && (self.state == "draining" || self.then == "remove")
    }

    fn progress(&self) -> String {
        let [active, inactive, persistent] = connections(self);
        let drained = self.members.iter().filter(|one| one.state == "drained");
        format!(
            "{active} active, {inactive} inactive, {persistent} persistent; {} of {} servers drained",
            drained.count(),
            self.members.len()
        )
    }

    fn notes(&self) -> &[String] {
        &self.blockers
    }
}

// === impl Ramp ===

impl Ongoing for Ramp {
    fn is_ongoing(&self) -> bool {
        self.is_active() && self.state == "ramping"
    }

    fn progress(&self) -> String {
        let Self {
            weight, from, to, ..
        } = self;
        format!("weight {weight} on the way from {from} to {to}")
    }

    fn notes(&self) -> &[String] {
        &[]
    }
}

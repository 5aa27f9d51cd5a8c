//! `ipvsctl apply`, `batch`, `diff` and `tables`.

use std::io::Write;

use super::{
    batch_file,
    error::CliError,
    options::{Format, Options},
    outcome::{self, idempotent},
    output::{Stdout, write_json, write_pages, write_table},
    plan,
    table_args::{ApplyArgs, BatchArgs, DeleteTableArgs, DiffArgs, Limits, SetTableArgs},
    table_file::TableFile,
    target::Target,
};
use crate::{
    client::{
        Applied, ApplyOptions, Client, ClientError, DeleteOptions, Precondition, TableOverview,
        TableSettingsSpec, WriteOptions,
    },
    model::{Owner, Reconcile},
};

/// Exit code of a plan that changes something.
const CHANGES: u8 = 2;

/// Makes the services of an owner what a file declares; returns the exit code.
pub(super) fn apply(args: ApplyArgs, options: &Options, out: &mut Stdout) -> Result<u8, CliError> {
    options.reject_all()?;
    let ApplyArgs {
        file,
        owner,
        dry_run,
        on_failure,
        expect_plan,
        limits,
    } = args;
    let Limits {
        max_deletes,
        adopt,
        keep_weights,
    } = limits;
    let table = TableFile::read(&file)?;
    let owner = table.owner(owner)?;
    let json = table.json(keep_weights)?;
    let apply_options = ApplyOptions {
        dry_run,
        on_failure,
        max_deletes,
        adopt,
        expect_plan,
        precondition: Precondition::None,
    };
    let target = Target::select(options)?;
    let mut applied = idempotent(|| {
        target
            .client
            .apply_table_json(&owner, &json, &apply_options)
    });
    if let Err(ClientError::Refused(problem)) = &mut applied {
        problem.detail = table.locate(&problem.detail);
    }
    report(applied, &target, &check(&owner), options, out)
}

/// Executes the operations of a file; returns the exit code.
pub(super) fn batch(args: BatchArgs, options: &Options, out: &mut Stdout) -> Result<u8, CliError> {
    options.reject_all()?;
    let BatchArgs {
        file,
        dry_run,
        on_failure,
    } = args;
    let batch = batch_file::read(&file, on_failure)?;
    let target = Target::select(options)?;
    let applied = target.client.apply_batch_json(&batch, dry_run);
    report(applied, &target, "-L -n", options, out)
}

/// Shows what an apply would change, or the drift of the declared table; returns the exit code.
pub(super) fn diff(args: DiffArgs, options: &Options, out: &mut Stdout) -> Result<u8, CliError> {
    if options.all {
        return Err(CliError::AllHasNoPlan);
    }
    let DiffArgs {
        file,
        owner,
        limits,
    } = args;
    if let Some(file) = file {
        let args = ApplyArgs {
            file,
            owner,
            dry_run: true,
            on_failure: Default::default(),
            expect_plan: None,
            limits,
        };
        return apply(args, options, out);
    }
    let owner = owner.ok_or(CliError::NoOwner)?;
    let target = Target::select(options)?;
    let drift = target.client.drift(&owner).map(|(_, json)| json);
    report(drift, &target, &check(&owner), options, out)
}

/// Changes how a declared table is kept; returns the exit code.
pub(super) fn set(args: SetTableArgs, options: &Options, out: &mut Stdout) -> Result<u8, CliError> {
    options.reject_all()?;
    let SetTableArgs {
        owner,
        reconcile,
        keep_weights,
        removal,
        drain_deadline,
        if_match,
    } = args;
    let settings = TableSettingsSpec {
        reconcile,
        keep_weights,
        removal,
        drain_deadline_seconds: drain_deadline,
    };
    let write_options = WriteOptions {
        precondition: Precondition::from(if_match),
        ..WriteOptions::default()
    };
    let target = Target::select(options)?;
    let set = || {
        let client = &target.client;
        client.update_table_json(&owner, &settings, &write_options)
    };
    let updated = idempotent(set)
        .map_err(|error| outcome::explain_with(error.into(), &target, &check(&owner)));
    let json = updated?;
    match options.format {
        Format::Table => {
            let table: TableOverview = serde_json::from_slice(&json)?;
            write_table(out, &HEADINGS, &[row(table)])?;
        }
        format => write_json(out, format, &json)?,
    }
    Ok(0)
}

/// Deletes a declared table; returns the exit code.
pub(super) fn delete(
    args: DeleteTableArgs,
    options: &Options,
    out: &mut Stdout,
) -> Result<u8, CliError> {
    options.reject_all()?;
    let DeleteTableArgs {
        owner,
        confirm,
        removal,
        if_match,
    } = args;
    let delete_options = DeleteOptions {
        precondition: Precondition::from(if_match),
        ..DeleteOptions::default()
    };
    let target = Target::select(options)?;
    let delete = || {
        let client = &target.client;
        client.delete_table_json(&owner, confirm, removal, &delete_options)
    };
    let deleted = idempotent(delete).map(Option::unwrap_or_default);
    report(deleted, &target, &check(&owner), options, out)
}

/// The command that shows whether an apply was carried out.
fn check(owner: &Owner) -> String {
    format!("tables show {owner}")
}

/// Writes what an apply or a batch did, also one that failed; returns the exit code. `check` is the command
/// that shows what it changed.
fn report(
    result: Result<Vec<u8>, ClientError>,
    target: &Target,
    check: &str,
    options: &Options,
    out: &mut Stdout,
) -> Result<u8, CliError> {
    let mut write = |applied: &Applied, json: &[u8]| match options.format {
        Format::Table => Ok(plan::write(out, applied, options.color)?),
        format => write_json(out, format, json),
    };
    match result {
        Ok(json) => {
            let applied: Applied = serde_json::from_slice(&json)?;
            write(&applied, &json)?;
            let has_plan = applied.outcome == "planned" && applied.operations_total > 0;
            Ok(if has_plan { CHANGES } else { 0 })
        }
        Err(ClientError::Refused(problem)) => {
            if let Some(applied) = problem.applied() {
                write(&applied, &problem.json)?;
                out.flush()?;
            }
            Err(ClientError::Refused(problem).into())
        }
        Err(error) => Err(outcome::explain_with(error.into(), target, check)),
    }
}

const HEADINGS: [&str; 8] = [
    "OWNER",
    "GENERATION",
    "STATE",
    "RECONCILE",
    "SERVICES",
    "SERVERS",
    "LAST OUTCOME",
    "LAST APPLY",
];

fn row(table: TableOverview) -> Vec<String> {
    let (outcome, time) = match table.status.last_apply {
        Some(last) => (last.outcome, last.end_time),
        None => Default::default(),
    };
    let reconcile = table.settings.reconcile;
    vec![
        table.owner,
        table.generation.to_string(),
        table.status.state,
        reconcile.map_or("", Reconcile::as_str).to_owned(),
        table.service_count.to_string(),
        table.server_count.to_string(),
        outcome,
        time,
    ]
}

/// Lists the declared tables.
pub(super) fn list(client: &Client, format: Format, out: &mut dyn Write) -> Result<(), CliError> {
    let (tables, pages) = client.tables()?;
    match format {
        Format::Table => {
            let rows: Vec<_> = tables.into_iter().map(row).collect();
            Ok(write_table(out, &HEADINGS, &rows)?)
        }
        format => write_pages(out, format, "tables", &pages),
    }
}

/// Prints the operations of the last apply.
pub(super) fn operations(
    client: &Client,
    owner: &Owner,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (last, pages) = client.table_operations(owner)?;
    match format {
        Format::Table => Ok(plan::write_operations(out, &last)?),
        format => write_pages(out, format, "operations", &pages),
    }
}

/// Prints a declared table.
pub(super) fn show(
    client: &Client,
    owner: &Owner,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let format = match format {
        Format::Table => Format::Yaml,
        format => format,
    };
    let (_, json) = client.get::<Declared>(&format!("/v1/tables/{owner}"))?;
    write_json(out, format, &json)
}

/// What makes a response a table.
#[derive(serde::Deserialize)]
struct Declared {
    #[serde(rename = "services")]
    _services: Vec<serde::de::IgnoredAny>,
}

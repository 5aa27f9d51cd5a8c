//! `ipvsctl whoami`, `can-i` and `audit`.

use std::io::Write;

use serde::Deserialize;
use serde_json::to_writer;
use yaml_serde::Value;

use super::{
    args::AuditArgs,
    error::CliError,
    options::Format,
    output::{write_json, write_table},
};
use crate::client::{AuditQuery, AuditRecord, Client, Principal};

/// What `ipvsctl audit` reads.
#[derive(Clone, Debug)]
pub(super) struct AuditReport {
    query: AuditQuery,
    /// Whether JSON is one array, not a line for each record: of one of several directors.
    as_array: bool,
}

/// Records in the order of their fields.
#[derive(Deserialize)]
struct Records {
    records: Vec<Value>,
}

/// Shows the principal of the requests of this client.
pub(super) fn whoami(client: &Client, format: Format, out: &mut dyn Write) -> Result<(), CliError> {
    let (principal, json) = client.get::<Principal>("/v1/whoami")?;
    if format != Format::Table {
        return write_json(out, format, &json);
    }
    let Principal {
        name,
        kind,
        role,
        scope,
        scope_reads,
    } = principal;
    let role = role
        .as_deref()
        .unwrap_or("none: every operation is refused");
    for (name, value) in [("name", name.as_str()), ("kind", &kind), ("role", role)] {
        writeln!(out, "{name:<6} {value}")?;
    }
    let rules = match &scope {
        None => vec!["everything".to_owned()],
        Some(rules) if rules.is_empty() => vec!["nothing".to_owned()],
        Some(rules) => rules.iter().map(ToString::to_string).collect(),
    };
    for (index, rule) in rules.iter().enumerate() {
        let name = if index == 0 { "scope" } else { "or" };
        writeln!(out, "{name:<6} {rule}")?;
    }
    if scope.is_some() {
        let reads = if scope_reads {
            "within the scope"
        } else {
            "everything"
        };
        writeln!(out, "{:<6} {reads}", "reads")?;
    }
    Ok(())
}

/// Asks whether an operation is allowed. The exit code is 1 if it is not.
pub(super) fn can_i(
    client: &Client,
    verb: &str,
    service: Option<&str>,
    format: Format,
    out: &mut dyn Write,
) -> Result<u8, CliError> {
    // Hyphens as in other words of the command line.
    let (decision, json) = client.decision(&verb.replace('-', "_"), service)?;
    match format {
        Format::Table if decision.allowed => writeln!(out, "yes")?,
        Format::Table => writeln!(out, "no - {}", decision.reason)?,
        _ => write_json(out, format, &json)?,
    }
    Ok(u8::from(!decision.allowed))
}

/// A cell of a table: empty without a value.
fn cell(value: Option<String>) -> String {
    value.unwrap_or_default()
}

// === impl AuditReport ===

impl AuditReport {
    pub(super) fn new(args: AuditArgs, as_array: bool) -> Self {
        let AuditArgs {
            since,
            until,
            principal,
            service,
            limit,
        } = args;
        let query = AuditQuery {
            since_time: since.map(|time| time.to_string()),
            until_time: until.map(|time| time.to_string()),
            principal,
            service,
            limit: Some(limit),
        };
        Self { query, as_array }
    }

    pub(super) fn write(
        &self,
        client: &Client,
        format: Format,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        if format == Format::Table {
            return write_records(client.audit(&self.query)?, out);
        }
        let mut records = Vec::new();
        for page in client.audit_pages(&self.query)? {
            records.append(&mut serde_json::from_slice::<Records>(&page)?.records);
        }
        records.truncate(self.query.limit.unwrap_or(usize::MAX));
        if format == Format::Yaml || self.as_array {
            return write_json(out, format, &serde_json::to_vec(&records)?);
        }
        for record in records {
            to_writer(&mut *out, &record)?;
            writeln!(out)?;
        }
        Ok(())
    }
}

fn write_records(records: Vec<AuditRecord>, out: &mut dyn Write) -> Result<(), CliError> {
    const HEADINGS: [&str; 6] = [
        "TIME",
        "PRINCIPAL",
        "OPERATION",
        "SERVICE",
        "SERVER",
        "OUTCOME",
    ];
    let rows: Vec<_> = records
        .into_iter()
        .map(|record| {
            vec![
                record.time,
                record.principal,
                record.operation,
                cell(record.service),
                cell(record.server),
                record.outcome,
            ]
        })
        .collect();
    Ok(write_table(out, &HEADINGS, &rows)?)
}

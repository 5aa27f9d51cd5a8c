//! The plan of an apply as text: a line for each operation.

use std::io::{self, Write};

use serde_json::Value;

use super::{
    options::Color,
    output::{Paint, Stdout},
};
use crate::client::{Applied, ApplySummary, LastOperations, TableOperation};

/// Members of a resource that its id has.
const IDENTITY: [&str; 7] = [
    "id", "protocol", "address", "port", "fwmark", "family", "state",
];

/// Writes the operations and the outcome.
pub(super) fn write(out: &mut Stdout, applied: &Applied, color: Color) -> io::Result<()> {
    for operation in &applied.operations {
        let (text, paint) = line(operation);
        out.write_line(&text, Some(&paint), color)?;
    }
    let shown = applied.operations.len() as u64;
    if applied.operations_total > shown {
        let rest = applied.operations_total - shown;
        out.write_line(&format!("and {rest} operations more"), None, color)?;
    }
    out.write_line(&summary(applied), None, color)
}

/// Writes the operations of the last apply, and how it ended.
pub(super) fn write_operations(out: &mut dyn Write, last: &LastOperations) -> io::Result<()> {
    for operation in &last.operations {
        writeln!(out, "{}", line(operation).0)?;
    }
    let (outcome, count) = (&last.outcome, last.operations.len());
    writeln!(
        out,
        "{outcome}: {count} operations; apply {}",
        last.apply_id
    )
}

/// An operation as text, and its color.
fn line(operation: &TableOperation) -> (String, Paint) {
    let (sign, paint) = match operation.op.split('_').next() {
        Some("create" | "start") => ('+', Paint::GREEN),
        Some("delete" | "stop") => ('-', Paint::RED),
        _ => ('~', Paint::YELLOW),
    };
    (format!("{sign} {}", describe(operation)), paint)
}

fn describe(operation: &TableOperation) -> String {
    let resource = match operation.op.split_once('_') {
        Some((_, resource)) => resource.replace('_', " "),
        None => operation.op.clone(),
    };
    let service = operation.service.map(|key| key.to_string());
    let server = operation.server.map(|key| key.to_string());
    let (before, after) = (fields(&operation.before), fields(&operation.after));
    // Of a sync daemon.
    let state = before
        .iter()
        .chain(&after)
        .find(|(name, _)| name == "state");
    let state = state.map(|(_, state)| state.clone());
    let names = [Some(resource), service, server, state]
        .into_iter()
        .flatten();
    let changes = match (&operation.before, &operation.after) {
        (Some(_), Some(_)) => changes(&before, &after),
        (None, Some(_)) => created(&after),
        // A deletion.
        _ => Vec::new(),
    };
    let mut line = names.collect::<Vec<_>>().join(" ");
    if !changes.is_empty() {
        line += &format!(" {}", changes.join(", "));
    }
    match (&operation.error, operation.result.as_str()) {
        (Some(error), result) => line += &format!(": {result}: {}", error.detail),
        (None, "planned" | "done") => {}
        (None, result) => line += &format!(": {result}"),
    }
    if let Some(drain) = operation.drain {
        line += &format!(" (drain {drain})");
    }
    if !operation.lost.is_empty() {
        line += &format!(" (lost: {})", operation.lost.join(", "));
    }
    line
}

/// The members below the name of the resource, with the values as text. Those of a member that has
/// members have its name, too.
fn fields(value: &Option<Value>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for member in value.iter().filter_map(Value::as_object) {
        for resource in member.values() {
            collect(resource, "", &mut found);
        }
    }
    found
}

fn collect(value: &Value, name: &str, found: &mut Vec<(String, String)>) {
    let text = match value {
        Value::Object(members) => {
            for (member, value) in members {
                match name {
                    "" => collect(value, member, found),
                    name => collect(value, &format!("{name}.{member}"), found),
                }
            }
            return;
        }
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values = values.iter().map(|value| match value {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            });
            values.collect::<Vec<_>>().join(",")
        }
        value => value.to_string(),
    };
    found.push((name.to_owned(), text));
}

/// What is not the default.
fn created(fields: &[(String, String)]) -> Vec<String> {
    let is_default = |name: &str, value: &str| match value {
        "" | "false" | "null" => true,
        "0" => name.ends_with("_threshold"),
        _ => IDENTITY.contains(&name),
    };
    let shown = fields
        .iter()
        .filter(|(name, value)| !is_default(name, value));
    shown
        .map(|(name, value)| format!("{name} {value}"))
        .collect()
}

fn changes(before: &[(String, String)], after: &[(String, String)]) -> Vec<String> {
    let value = |fields: &[(String, String)], name: &str| {
        let field = fields.iter().find(|(other, _)| other == name);
        let value = field.map(|(_, value)| value.clone());
        value
            .filter(|value| !value.is_empty())
            .unwrap_or_else(|| "none".to_owned())
    };
    let names = after.iter().map(|(name, _)| name);
    let only_before = before.iter().map(|(name, _)| name);
    let only_before = only_before.filter(|name| !after.iter().any(|(other, _)| other == *name));
    names
        .chain(only_before)
        .map(|name| (name, value(before, name), value(after, name)))
        // Of a field with fields of its own, all are there.
        .filter(|(_, before, after)| before != after)
        .map(|(name, before, after)| format!("{name} {before} -> {after}"))
        .collect()
}

fn summary(applied: &Applied) -> String {
    let ApplySummary {
        create,
        update,
        delete,
        unchanged,
        draining,
    } = applied.summary;
    let draining = match draining {
        0 => String::new(),
        draining => format!(", {draining} draining"),
    };
    let (outcome, plan) = (&applied.outcome, &applied.plan);
    match outcome.as_str() {
        "unchanged" => format!("unchanged: {unchanged} objects{draining}"),
        "applied" => {
            let counts = format!(
                "applied: {create} created, {update} edited, {delete} deleted, {unchanged} unchanged{draining}"
            );
            match applied.owner.is_empty() {
                true => counts,
                false => format!("{counts}; generation {}", applied.generation),
            }
        }
        "planned" => format!(
            "planned: {create} to create, {update} to edit, {delete} to delete, {unchanged} unchanged{draining}; \
             plan {plan}"
        ),
        _ => {
            let count = |result: &str| {
                let operations = applied.operations.iter();
                operations.filter(|one| one.result == result).count()
            };
            let counts = ["done", "failed", "undone", "skipped", "draining"]
                .map(|result| (count(result), result));
            let counts = counts.into_iter().filter(|(count, _)| *count > 0);
            let counts: Vec<_> = counts
                .map(|(count, result)| format!("{count} {result}"))
                .collect();
            format!(
                "{outcome}: {}; apply {}",
                counts.join(", "),
                applied.apply_id
            )
        }
    }
}

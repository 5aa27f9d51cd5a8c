//! `ipvsctl watch`: prints changes as they happen.

use std::io::Write;

use serde_json::{Map, Value};

use super::{
    args::WatchArgs,
    error::CliError,
    options::{Format, Options},
    output::{eprint_line, write_json},
    target::Target,
};
use crate::client::{KeptQuery, WatchEvent, WatchQuery};

/// Prints events until the watch ends, which is a failure.
pub(super) fn run(args: WatchArgs, options: &Options, out: &mut dyn Write) -> Result<u8, CliError> {
    options.reject_all()?;
    let format = options.format;
    let target = Target::select(options)?;
    for event in target.client.watch(&args.into())? {
        let event = event?;
        match format {
            Format::Table => write_line(&event, out)?,
            Format::Json => write_json(out, format, &event.json)?,
            Format::Yaml => {
                out.write_all(b"---\n")?;
                write_json(out, format, &event.json)?;
            }
        }
        out.flush()?;
    }
    eprint_line("the director has ended the watch");
    Ok(1)
}

/// A line for people: when, what, which object, what has changed, and who did it.
fn write_line(event: &WatchEvent, out: &mut dyn Write) -> Result<(), CliError> {
    if event.kind == "bookmark" {
        return Ok(());
    }
    let mut words = Vec::new();
    words.extend(event.time.clone());
    words.push(event.kind.clone());
    words.extend(record(event));
    words.extend(event.service.clone());
    words.extend(event.server.clone());
    words.extend(event.reason.clone());
    words.extend(changes(event));
    words.extend(match (&event.origin, &event.principal) {
        (Some(origin), Some(principal)) => Some(format!("({origin}, {principal})")),
        (Some(origin), None) => Some(format!("({origin})")),
        (None, _) => None,
    });
    Ok(writeln!(out, "{}", words.join(" "))?)
}

/// The kind and the name of a drain, a ramp or a table.
fn record(event: &WatchEvent) -> Option<String> {
    let (kind, object) = event
        .after
        .as_ref()
        .or(event.before.as_ref())?
        .iter()
        .next()?;
    let name = match kind.as_str() {
        "drain" | "ramp" => object.get("id")?,
        "table" => object.get("owner")?,
        _ => return None,
    };
    Some(format!("{kind} {}", name.as_str()?))
}

/// The fields of a modified object that differ: `weight 1 -> 5`.
fn changes(event: &WatchEvent) -> Vec<String> {
    let (Some(before), Some(after)) = (&event.before, &event.after) else {
        return Vec::new();
    };
    let (before, after) = (fields(before), fields(after));
    let (Some(before), Some(after)) = (before, after) else {
        return Vec::new();
    };
    let names = before.keys().chain(after.keys());
    let mut names: Vec<_> = names.filter(|name| *name != "etag").collect();
    names.sort();
    names.dedup();
    let text = |value: Option<&Value>| match value {
        None => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) if list.iter().any(Value::is_object) => {
            format!("[{}]", list.len())
        }
        Some(value) => value.to_string(),
    };
    let differing = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name));
    differing
        .map(|name| {
            let (before, after) = (text(before.get(name)), text(after.get(name)));
            format!("{name} {before} -> {after}")
        })
        .collect()
}

/// The fields of an object, which is under its kind.
fn fields(object: &Map<String, Value>) -> Option<&Map<String, Value>> {
    object.values().next()?.as_object()
}

// === impl WatchQuery ===

impl From<WatchArgs> for WatchQuery {
    fn from(args: WatchArgs) -> Self {
        let WatchArgs {
            initial,
            from_revision,
            resources,
            protocol,
            address,
            port,
            fwmark,
            scheduler,
            kept,
        } = args;
        let texts = [
            ("from_revision", from_revision),
            ("resources", resources),
            ("protocol", protocol),
            ("address", address),
            ("port", port.map(|port| port.to_string())),
            ("fwmark", fwmark.map(|mark| mark.to_string())),
            ("scheduler", scheduler),
            ("initial", initial.then(|| "true".to_owned())),
        ];
        let present = texts
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .chain(KeptQuery::from(kept).parameters());
        Self {
            parameters: present.collect(),
        }
    }
}

//! `ipvsctl settings`.

use std::{collections::BTreeMap, io::Write};

use serde_json::Value;

use super::{
    error::CliError,
    options::Format,
    outcome,
    output::{write_json, write_table},
    target::Target,
};
use crate::{
    client::{Client, WriteOptions},
    model::{SETTINGS, SettingSpec, SettingValue, Settings},
};

/// Shows the named settings, or all.
pub(super) fn show(
    client: &Client,
    names: &[String],
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (mut settings, _) = client.get::<BTreeMap<String, Value>>("/v1/settings")?;
    if settings.is_empty() {
        return Err(CliError::NoSettings);
    }
    if !names.is_empty() {
        check_names(names, settings.keys().map(String::as_str))?;
        settings.retain(|name, _| names.contains(name));
    }
    if format != Format::Table {
        return write_json(out, format, &serde_json::to_vec(&settings)?);
    }
    if let ([_], Some(value)) = (names, settings.values().next()) {
        // Only the value, for use in scripts.
        return Ok(writeln!(out, "{}", text(value))?);
    }
    let rows: Vec<_> = settings
        .iter()
        .map(|(name, value)| {
            let doc = SettingSpec::find(name).map_or("", |spec| spec.doc);
            vec![name.clone(), text(value), doc.to_owned()]
        })
        .collect();
    Ok(write_table(out, &["NAME", "VALUE", "DESCRIPTION"], &rows)?)
}

/// Splits `NAME=VALUE` arguments; empty if all arguments are names. A mixture is an error.
pub(super) fn assignments(args: &[String]) -> Result<Vec<(&str, &str)>, CliError> {
    let (assignments, names): (Vec<_>, Vec<_>) = args.iter().partition(|arg| arg.contains('='));
    if !assignments.is_empty() && !names.is_empty() {
        let names = names.into_iter().cloned().collect();
        return Err(CliError::SettingsWithoutValue(names));
    }
    Ok(assignments
        .into_iter()
        .filter_map(|arg| arg.split_once('='))
        .collect())
}

/// Fails with all names that are not `known`.
fn check_names<'a>(
    names: impl IntoIterator<Item = impl AsRef<str>>,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), CliError> {
    let is_unknown = |name: &str| known.clone().all(|known| known != name);
    let names = names.into_iter().map(|name| name.as_ref().to_owned());
    let unknown: Vec<_> = names.filter(|name| is_unknown(name)).collect();
    match unknown.is_empty() {
        true => Ok(()),
        false => Err(CliError::UnknownSettings {
            unknown,
            known: known.map(str::to_owned).collect(),
        }),
    }
}

/// Changes settings. If the reply is lost, the request is sent again, once.
pub(super) fn set(target: &Target, assignments: &[(&str, &str)]) -> Result<(), CliError> {
    let known = SETTINGS.iter().map(|spec| spec.name);
    check_names(assignments.iter().map(|(name, _)| name), known)?;
    let mut settings = Settings::new();
    for (name, value) in assignments {
        let Some(spec) = SettingSpec::find(name) else {
            continue;
        };
        let value = match *value {
            "true" | "on" | "yes" => SettingValue::Bool(true),
            "false" | "off" | "no" => SettingValue::Bool(false),
            // The format of the file in /proc/sys, with a comma instead of a blank.
            value => spec.parse(&value.replace(',', " ")),
        };
        settings.insert((*name).to_owned(), value);
    }
    let update = || {
        target
            .client
            .update_settings(&settings, &WriteOptions::default())
    };
    match outcome::idempotent(update) {
        Ok(_) => Ok(()),
        Err(error) => Err(outcome::explain_with(error.into(), target, "settings")),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

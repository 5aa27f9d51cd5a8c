//! `ipvsctl settings`.

use std::{collections::BTreeMap, io::Write};

use serde_json::Value;

use super::{
    CliError,
    output::{Format, write_json, write_table},
};
use crate::{
    client::{Client, WriteOptions},
    model::{SettingSpec, SettingValue, Settings},
};

/// Shows the settings of these names, or all.
pub(super) fn show(
    client: &Client,
    names: &[String],
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let answer = client.get("/v1/settings")?;
    let mut settings: BTreeMap<String, Value> = serde_json::from_slice(&answer)?;
    if !names.is_empty() {
        for name in names {
            if !settings.contains_key(name) {
                return Err(CliError::Setting(name.clone()));
            }
        }
        settings.retain(|name, _| names.contains(name));
    }
    if format != Format::Table {
        return write_json(out, format, &serde_json::to_vec(&settings)?);
    }
    if let ([_], Some(value)) = (names, settings.values().next()) {
        // One alone is for scripts.
        return Ok(writeln!(out, "{}", text(value))?);
    }
    let rows: Vec<_> = settings
        .iter()
        .map(|(name, value)| {
            let doc = SettingSpec::find(name).map_or("", |spec| spec.doc);
            vec![name.clone(), text(value), doc.to_owned()]
        })
        .collect();
    Ok(write_table(out, &["NAME", "VALUE", "WHAT IT DOES"], &rows)?)
}

/// Sets settings, each `NAME=VALUE`.
pub(super) fn set(client: &Client, wishes: &[(&str, &str)]) -> Result<(), CliError> {
    let mut settings = Settings::new();
    for (name, value) in wishes {
        let spec = SettingSpec::find(name).ok_or_else(|| CliError::Setting((*name).to_owned()))?;
        let value = match *value {
            "true" | "on" | "yes" => SettingValue::Bool(true),
            "false" | "off" | "no" => SettingValue::Bool(false),
            // As the file below /proc would have it; two numbers may have a comma between them.
            value => spec.parse(&value.replace(',', " ")),
        };
        settings.insert((*name).to_owned(), value);
    }
    client.update_settings(&settings, &WriteOptions::default())?;
    Ok(())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

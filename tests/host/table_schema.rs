//! The JSON Schema of table files, which is made of the OpenAPI document. `tests/table_schema.py` validates files
//! with it.
#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

use std::{collections::BTreeSet, process::Command};

use ipvsd::model::{
    HealthCheckDraft, PersistenceDraft, ServerDraft, ServiceDraft, TableDraft, TunnelDraft,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

const FILE: &str = "openapi/table.schema.json";
const PREFIX: &str = "#/components/schemas/";

/// The schema `Table` of the OpenAPI document with those that it refers to. What only responses have is
/// ignored in a file, whatever its value.
fn schema() -> Value {
    let document = serde_json::to_value(ipvsd::http::openapi()).unwrap();
    let components = &document["components"]["schemas"];
    let mut root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A table for ipvsctl apply",
    });
    let mut waiting = BTreeSet::new();
    let mut definitions = Map::new();
    let mut table = components["Table"].clone();
    adapt(&mut table, &mut waiting);
    root.as_object_mut()
        .unwrap()
        .append(table.as_object_mut().unwrap());
    while let Some(name) = waiting.pop_first() {
        if !definitions.contains_key(&name) {
            let mut definition = components[&name].clone();
            adapt(&mut definition, &mut waiting);
            definitions.insert(name, definition);
        }
    }
    // In a file, the owner is that of the table.
    root["properties"]["owner"] = json!({
        "type": "string",
        "description": components["Table"]["properties"]["owner"]["description"],
        "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$",
    });
    let service = &mut definitions["Service"];
    service["properties"]["servers"]["type"] = json!("array");
    service["properties"]["servers"]["description"] =
        json!("All real servers, in the kernel's order, which schedulers use; `[]` for none.");
    service["required"] = json!(["servers"]);
    service["anyOf"] = json!([
        {"required": ["id"]},
        {"required": ["protocol", "address"]},
        {"required": ["fwmark"]},
    ]);
    definitions["Server"]["anyOf"] = json!([{"required": ["id"]}, {"required": ["address"]}]);
    root["$defs"] = Value::Object(definitions);
    root
}

/// Makes references to definitions, and notes their names in `found`.
fn adapt(schema: &mut Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) if members.get("readOnly") == Some(&json!(true)) => {
            members.retain(|name, _| matches!(name.as_str(), "description" | "readOnly"));
        }
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref") {
                let name = reference.strip_prefix(PREFIX).unwrap().to_owned();
                *reference = format!("#/$defs/{name}");
                found.insert(name);
            }
            members.values_mut().for_each(|value| adapt(value, found));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| adapt(item, found)),
        _ => {}
    }
}

#[test]
fn the_committed_schema_is_up_to_date() {
    let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("IPVSD_WRITE_OPENAPI").is_some() {
        std::fs::write(FILE, text).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(FILE).unwrap();
    assert!(committed == text, "run `make openapi` and commit {FILE}");
}

#[test]
fn ipvsctl_prints_the_schema() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipvsctl"));
    let output = command.arg("schema").output().unwrap();
    assert!(output.status.success());
    let committed = std::fs::read_to_string(FILE).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), committed);
}

/// The fields that a type accepts, which the error of an unknown one lists.
fn fields<T: DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(json!({"?": 0})).err().unwrap();
    let text = error.to_string();
    let (_, known) = text.split_once("expected").unwrap();
    let known = known.split('`').skip(1).step_by(2);
    known.map(str::to_owned).collect()
}

#[test]
fn the_schema_has_the_fields_of_the_parser() {
    let schema = schema();
    for (place, fields) in [
        ("", fields::<TableDraft>()),
        ("/$defs/Service", fields::<ServiceDraft>()),
        ("/$defs/Server", fields::<ServerDraft>()),
        ("/$defs/Persistence", fields::<PersistenceDraft>()),
        ("/$defs/HealthCheck", fields::<HealthCheckDraft>()),
        ("/$defs/Tunnel", fields::<TunnelDraft>()),
    ] {
        let object = schema.pointer(place).unwrap();
        let properties = object["properties"].as_object().unwrap();
        let properties: BTreeSet<_> = properties.keys().cloned().collect();
        assert_eq!(properties, fields, "{place}");
        assert_eq!(object["additionalProperties"], false, "{place}");
    }
}

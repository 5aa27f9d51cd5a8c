//! Holds the committed OpenAPI document to the code.
#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

use std::collections::HashSet;

use serde_json::Value;

const REGENERATE: &str = "run `make openapi` (cargo run -- openapi json > openapi/ipvsd.v1.json; \
                          cargo run -- openapi yaml > openapi/ipvsd.v1.yaml) and commit the result";

fn document() -> Value {
    serde_json::to_value(ipvsd::http::openapi()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let mut operations = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            operations.push((format!("{method} {path}"), operation.clone()));
        }
    }
    operations
}

#[test]
fn the_committed_document_is_what_the_code_says() {
    let openapi = ipvsd::http::openapi();
    let json = format!("{}\n", openapi.to_pretty_json().unwrap());
    let yaml = openapi.to_yaml().unwrap();
    if std::env::var_os("IPVSD_WRITE_OPENAPI").is_some() {
        std::fs::write("openapi/ipvsd.v1.json", json).unwrap();
        std::fs::write("openapi/ipvsd.v1.yaml", yaml).unwrap();
        return;
    }
    let committed = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed("openapi/ipvsd.v1.json") == json, "{REGENERATE}");
    assert!(committed("openapi/ipvsd.v1.yaml") == yaml, "{REGENERATE}");
}

#[test]
fn every_operation_is_fully_described() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = HashSet::new();
    for (name, operation) in operations(&document) {
        let text = |field: &str| operation[field].as_str().unwrap_or_default().to_owned();
        assert!(!text("summary").is_empty(), "{name} has no summary");
        assert!(!text("description").is_empty(), "{name} has no description");
        let id = text("operationId");
        assert!(
            id.starts_with(|c: char| c.is_ascii_lowercase()),
            "{name}: {id}"
        );
        assert!(
            id.bytes().all(|b| b.is_ascii_alphanumeric()),
            "{name}: {id}"
        );
        assert!(ids.insert(id), "{name}: its operationId is taken");
        assert!(operation["tags"][0].is_string(), "{name} has no tag");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let described = parameter["description"].as_str().unwrap_or_default();
            assert!(!described.is_empty(), "{name}: {parameter}");
        }
        if name.contains("/v1/") {
            for status in ["400", "429", "500", "503", "504"] {
                assert!(
                    !operation["responses"][status].is_null(),
                    "{name}: {status}"
                );
            }
        }
        if !operation["requestBody"].is_null() {
            for status in ["413", "415"] {
                assert!(
                    !operation["responses"][status].is_null(),
                    "{name}: {status}"
                );
            }
        }
    }
    assert!(ids.len() >= 28, "{}", ids.len());
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    found.push(reference);
                }
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_schema_and_property_is_described_and_inputs_are_closed() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        if name.ends_with("Input") && schema["type"] == "object" {
            assert_eq!(schema["additionalProperties"], false, "{name} is open");
        }
        for (property, schema) in schema["properties"].as_object().into_iter().flatten() {
            assert!(
                schema.to_string().contains("\"description\"") || schema["$ref"].is_string(),
                "{name}.{property} is not described"
            );
        }
    }
}

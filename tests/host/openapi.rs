//! Compares the committed OpenAPI document with the code, and checks its completeness.
#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

use std::collections::HashSet;

use serde_json::Value;

const REGENERATE: &str = "run `make openapi` (cargo run -- openapi --format json > openapi/ipvsd.v1.json; \
                          cargo run -- openapi --format yaml > openapi/ipvsd.v1.yaml) and commit the result";

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
fn the_committed_document_is_up_to_date() {
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
fn every_operation_is_described() {
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
        let id = operation["parameters"].as_array().into_iter().flatten();
        let id = id.filter(|parameter| parameter["name"] == "X-Request-Id");
        let required: Vec<_> = id.map(|id| id["required"] == true).collect();
        let content = operation["requestBody"]["content"].to_string();
        let expected = match name.starts_with("get ") {
            true => vec![],
            false => vec![!content.contains("json")],
        };
        assert_eq!(required, expected, "{name}: X-Request-Id");
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
fn every_reference_resolves() {
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
fn every_property_is_described() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        for (property, schema) in schema["properties"].as_object().into_iter().flatten() {
            assert!(
                schema.to_string().contains("\"description\"") || schema["$ref"].is_string(),
                "{name}.{property} is not described"
            );
        }
    }
}

/// The schemas of request bodies, by reference.
fn request_schemas(document: &Value) -> HashSet<String> {
    let mut found = HashSet::new();
    for (_, operation) in operations(document) {
        let content = operation["requestBody"]["content"].as_object().cloned();
        for media_type in content.unwrap_or_default().values() {
            if let Some(reference) = media_type["schema"]["$ref"].as_str() {
                found.insert(reference.trim_start_matches('#').to_owned());
            }
        }
    }
    found
}

#[test]
fn request_schemas_are_closed_and_every_write_has_dry_run() {
    let document = document();
    let found = request_schemas(&document);
    assert!(found.len() >= 5, "{found:?}");
    for pointer in found {
        let schema = document.pointer(&pointer).unwrap();
        if schema["oneOf"].is_null() {
            assert_eq!(schema["additionalProperties"], false, "{pointer} is open");
        }
    }
    for (name, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().cloned();
        let mut parameters = parameters.unwrap_or_default().into_iter();
        let dry_run = parameters.any(|parameter| parameter["name"] == "dry_run");
        assert_eq!(dry_run, !name.starts_with("get "), "{name}");
    }
}

#[test]
fn lists_of_words_are_comma_separated_arrays_of_enums() {
    let document = document();
    let mut count = 0;
    for (name, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if !["include", "sort"]
                .iter()
                .any(|list| parameter["name"] == *list)
            {
                continue;
            }
            count += 1;
            assert_eq!(parameter["style"], "form", "{name}");
            assert_eq!(parameter["explode"], false, "{name}");
            let items = parameter["schema"]["items"]["$ref"].as_str().unwrap();
            let items = document.pointer(items.trim_start_matches('#')).unwrap();
            assert!(items["enum"].as_array().unwrap().len() >= 3, "{name}");
        }
    }
    assert_eq!(count, 8);
}

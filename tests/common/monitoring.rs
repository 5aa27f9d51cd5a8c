//! The rules in `deploy/prometheus` and the board in `deploy/grafana`.
#![allow(
    dead_code,
    reason = "each suite is a program of its own and uses a part of this"
)]

use std::{fs, path::Path};

use serde_json::Value;

/// The data source of each query of the board: what its variable selects.
pub const DATA_SOURCE: &str = "${datasource}";

/// A recording rule, or an alert.
#[derive(Debug)]
pub struct Rule {
    pub name: String,
    pub is_alert: bool,
    pub rule: Value,
}

/// A query of the board.
#[derive(Debug)]
pub struct BoardQuery {
    /// The title of its panel.
    pub panel: String,
    pub expression: String,
    /// Whether it is evaluated at one time.
    pub is_instant: bool,
}

/// The text of a file of the repository.
#[track_caller]
pub fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// A YAML or JSON file of the repository.
#[track_caller]
pub fn parse(path: &str) -> Value {
    yaml_serde::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The items of a list; none if it is missing.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[track_caller]
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The files that the example configuration of Prometheus names.
pub fn rule_files() -> Vec<String> {
    let config = parse("deploy/prometheus/prometheus.yml");
    let files = list(&config["rule_files"]).iter();
    files
        .map(|file| format!("deploy/prometheus/{}", text(file)))
        .collect()
}

/// The rules of these files.
pub fn rules() -> Vec<Rule> {
    let files: Vec<_> = rule_files().iter().map(|file| parse(file)).collect();
    let groups = files.iter().flat_map(|file| list(&file["groups"]));
    let rules = groups.flat_map(|group| list(&group["rules"]));
    rules
        .map(|rule| {
            let alert = rule["alert"].as_str();
            Rule {
                name: alert.unwrap_or_else(|| text(&rule["record"])).to_owned(),
                is_alert: alert.is_some(),
                rule: rule.clone(),
            }
        })
        .collect()
}

/// The board of Grafana.
pub fn board() -> Value {
    parse("deploy/grafana/ipvsd.json")
}

/// The panels of a board, those in rows included.
pub fn panels(board: &Value) -> impl Iterator<Item = &Value> {
    let panels = list(&board["panels"]).iter();
    panels.flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"])))
}

/// The queries of a board.
pub fn queries(board: &Value) -> Vec<BoardQuery> {
    let queries = panels(board).flat_map(|panel| {
        let targets = list(&panel["targets"]).iter();
        targets.map(|target| BoardQuery {
            panel: text(&panel["title"]).to_owned(),
            expression: text(&target["expr"]).to_owned(),
            is_instant: target["instant"] == true,
        })
    });
    queries.collect()
}

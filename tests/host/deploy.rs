//! The rules and the board in `deploy/`: that they are complete and described. `tests/conformance` checks them with
//! the tools of Prometheus and Grafana, and `tests/kernel/monitoring.rs` with real data.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::common::monitoring::{
    DATA_SOURCE, board, list, panels, parse, queries, read, rules, text,
};

const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

/// Columns of a board.
const COLUMNS: u64 = 24;

/// The variables that queries may use: those of the board, and those that Grafana sets.
const OF_GRAFANA: [&str; 2] = ["__rate_interval", "__range"];

/// The names of variables in a text: `$name`.
fn variables(text: &str) -> BTreeSet<String> {
    let rest = text.split('$').skip(1);
    let name = |rest: &str| {
        let is_name = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
        rest.chars().take_while(is_name).collect()
    };
    rest.map(name).collect()
}

/// The words of a text that begin as a metric of ipvsd, or as a series of a recording rule. Patterns of names are
/// left out.
fn metrics(expression: &str) -> BTreeSet<&str> {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || "_:".contains(letter);
    let words = expression.split(|letter| !is_word(letter));
    let prefixes = ["ipvs_", "ipvsd_", "instance:", "instance_service:"];
    words
        .filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
        .filter(|word| !word.ends_with('_'))
        .collect()
}

#[test]
fn each_alert_has_a_severity_texts_and_a_place_in_the_manual() {
    let manual = read("docs/monitoring.md");
    for rule in rules() {
        let row = format!("| `{}` |", rule.name);
        assert!(manual.contains(&row), "docs/monitoring.md lacks {row}");
        if !rule.is_alert {
            continue;
        }
        let severity = text(&rule.rule["labels"]["severity"]);
        assert!(SEVERITIES.contains(&severity), "{rule:?}");
        let row = format!("| `{}` | {severity} |", rule.name);
        assert!(manual.contains(&row), "docs/monitoring.md lacks {row}");
        for annotation in ["summary", "description"] {
            let text = text(&rule.rule["annotations"][annotation]);
            assert!(text.ends_with('.'), "{}: {text}", rule.name);
        }
    }
}

#[test]
fn each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let cases = parse("tests/monitoring/rules.yml");
    let mut firing = BTreeMap::from([(true, BTreeSet::new()), (false, BTreeSet::new())]);
    for case in list(&cases["tests"])
        .iter()
        .flat_map(|test| list(&test["alert_rule_test"]))
    {
        let fires = !list(&case["exp_alerts"]).is_empty();
        firing
            .entry(fires)
            .or_default()
            .insert(text(&case["alertname"]).to_owned());
    }
    let samples = list(&cases["tests"])
        .iter()
        .flat_map(|test| list(&test["promql_expr_test"]));
    let recorded: BTreeSet<_> = samples.map(|test| text(&test["expr"]).to_owned()).collect();
    for rule in rules() {
        let is_tested = match rule.is_alert {
            true => firing.values().all(|alerts| alerts.contains(&rule.name)),
            false => recorded.contains(&rule.name),
        };
        assert!(
            is_tested,
            "tests/monitoring/rules.yml lacks a case of {}",
            rule.name
        );
    }
}

#[test]
fn rules_have_names_of_their_own_and_use_series_that_exist() {
    let manual = read("docs/metrics.md");
    let rules = rules();
    let names: BTreeSet<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names.len(), rules.len(), "two rules have the same name");
    let exists = |metric: &str| {
        let mut suffixes = ["", "_bucket", "_sum", "_count"].into_iter();
        names.contains(metric)
            || suffixes.any(|suffix| {
                let family = metric.strip_suffix(suffix);
                family.is_some_and(|family| {
                    manual.contains(&format!("`{family}`"))
                        || manual.contains(&format!("`{family}{{"))
                })
            })
            // The manual has the counters of the director by name, and those of the other levels by analogy.
            || ["ipvs_service_", "ipvs_server_"].iter().any(|level| {
                let counter = metric.strip_prefix(level);
                counter.is_some_and(|counter| manual.contains(&format!("`ipvs_{counter}`")))
            })
    };
    let expressions = rules.iter().map(|rule| text(&rule.rule["expr"]).to_owned());
    let board = board();
    let queries = queries(&board).into_iter().map(|query| query.expression);
    for expression in expressions.chain(queries) {
        for metric in metrics(&expression) {
            assert!(
                exists(metric),
                "docs/metrics.md lacks {metric}, of {expression}"
            );
        }
    }
}

#[test]
fn the_panels_of_the_board_are_complete_and_do_not_overlap() {
    let board = board();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    let of_source = |value: &Value| value["type"] == "prometheus" && value["uid"] == DATA_SOURCE;
    for panel in panels(&board) {
        let title = text(&panel["title"]);
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{title}: its id is not its own"
        );
        let [x, y, width, height] =
            ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + width <= COLUMNS && width > 0 && height > 0, "{title}");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(
                cells.insert(cell),
                "{title} overlaps another panel at {cell:?}"
            );
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            text(&panel["description"]).ends_with('.'),
            "{title}: no description"
        );
        assert!(
            !text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(),
            "{title}: no unit"
        );
        assert!(
            of_source(&panel["datasource"]),
            "{title}: {}",
            panel["datasource"]
        );
        let targets = list(&panel["targets"]);
        assert!(!targets.is_empty(), "{title}: no query");
        let references: BTreeSet<_> = targets
            .iter()
            .map(|target| text(&target["refId"]))
            .collect();
        assert_eq!(
            references.len(),
            targets.len(),
            "{title}: two queries have the same name"
        );
        assert!(
            targets
                .iter()
                .all(|target| of_source(&target["datasource"])),
            "{title}"
        );
    }
    let titles = |panel: &Value| text(&panel["title"]).to_owned();
    let rows = panels(&board)
        .filter(|panel| panel["type"] == "row")
        .map(titles);
    let rows: Vec<_> = rows.collect();
    assert_eq!(
        rows,
        ["Directors", "Services", "Service $service", "Daemon"]
    );
}

#[test]
fn the_queries_of_the_board_select_by_its_variables() {
    let board = board();
    let declared = list(&board["templating"]["list"]).iter();
    let declared: BTreeSet<_> = declared
        .map(|variable| text(&variable["name"]).to_owned())
        .collect();
    let own = ["datasource", "instance", "job", "service"];
    assert!(declared.iter().eq(own), "{declared:?}");
    for query in queries(&board) {
        let used = variables(&query.expression);
        let is_known =
            |name: &String| declared.contains(name) || OF_GRAFANA.contains(&name.as_str());
        assert!(used.iter().all(is_known), "{query:?}");
        assert!(
            used.contains("job"),
            "it shows what other programs have: {query:?}"
        );
        // Rates over a fixed time have gaps with long scrape intervals.
        assert!(!query.expression.contains("m]"), "{query:?}");
    }
    // The annotation that every board has is of Grafana itself.
    let annotations = list(&board["annotations"]["list"]);
    assert!(
        annotations
            .iter()
            .all(|annotation| annotation["builtIn"] == 1)
    );
    assert_eq!(board["uid"], "ipvsd");
    assert!(board["id"].is_null(), "an id is of one Grafana");
}

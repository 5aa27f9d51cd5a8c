//! What a configuration may say, and what it is told when it may not.
#![allow(clippy::unwrap_used)]

use super::*;

const ANNOTATED: &str = include_str!("../../../deploy/ipvsd.toml");

fn from_file(text: &str) -> Result<Config, ConfigErrors> {
    from_all(text, &[], &[])
}

fn from_all(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static str, String)],
) -> Result<Config, ConfigErrors> {
    Config::from_sources(&Sources {
        file: Some(("ipvsd.toml", text)),
        environment: &|name| {
            let found = environment.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        },
        flags,
    })
}

fn complaints(text: &str) -> Vec<String> {
    from_file(text)
        .unwrap_err()
        .0
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(from_file("").unwrap(), Config::default());
}

#[test]
fn the_defaults_are_written_and_read_back_unchanged() {
    assert_eq!(
        from_file(&Config::default().to_toml()).unwrap(),
        Config::default()
    );
}

/// Prose in the annotated file begins with `# `, a setting with `#`.
fn uncommented() -> String {
    let lines = ANNOTATED.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_annotated_file_sets_every_key_once_uncommented_and_to_its_default() {
    let text = uncommented();
    assert_eq!(from_file(&text).unwrap(), Config::default());
    let document = DeTable::parse(&text).unwrap();
    let mut found = Vec::new();
    flatten("", document.get_ref(), &mut found);
    found.sort_by_key(|(_, span, _)| span.start);
    let names: Vec<_> = found.into_iter().map(|(name, ..)| name).collect();
    let keys: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(
        names, keys,
        "deploy/ipvsd.toml and the table of keys list the same in one order"
    );
}

#[test]
fn the_annotated_file_as_it_is_sets_nothing() {
    assert_eq!(from_file(ANNOTATED).unwrap(), Config::default());
}

#[test]
fn the_annotated_file_gives_every_number_its_true_range() {
    for key in KEYS.iter().filter(|key| key.name.starts_with("limits.")) {
        let name = key.name.trim_start_matches("limits.");
        let refusal = complaints(&format!("[limits]\n{name} = -1")).concat();
        let (_, range) = refusal.split_once(" from ").unwrap();
        let range = range.split([',', '(']).next().unwrap().trim();
        // The other bound is checked against the other key.
        let range = if name == "default_page_size" {
            "1 to max_page_size"
        } else {
            range
        };
        let mut blocks = ANNOTATED.split("\n\n");
        let block = blocks
            .find(|block| block.contains(&format!("\n#{name} = ")))
            .unwrap();
        assert!(
            block.replace("\n# ", " ").contains(range),
            "{name}: {range}: {block}"
        );
    }
}

#[test]
fn an_error_names_file_line_key_and_what_was_expected() {
    assert_eq!(
        complaints("\n[limits]\n# big\nmax_body_bytes = \"1MB\"\n"),
        [
            r#"ipvsd.toml:4: limits.max_body_bytes: expected an integer from 1024 to 1073741824, got "1MB""#
        ]
    );
}

#[test]
fn all_errors_are_reported_in_the_order_of_the_file() {
    let text = r#"
kernel = "windows"
lisen = ["127.0.0.1:1"]
log = 3
max_connections = 1

[limits]
idle_timeout = "1 day"
queue_length = 0
"#;
    assert_eq!(
        complaints(text),
        [
            r#"ipvsd.toml:2: kernel: expected "netlink" or "fake", got "windows""#,
            "ipvsd.toml:3: lisen: there is no such key, did you mean listen?",
            "ipvsd.toml:4: log: expected a table, got 3",
            "ipvsd.toml:5: max_connections: there is no such key, did you mean \
             limits.max_connections?",
            "ipvsd.toml:8: limits.idle_timeout: expected a duration from 10ms to 24h (\"500ms\", \
             \"10s\", \"5m\", \"1h\", or a number of seconds), got \"1 day\"",
            "ipvsd.toml:9: limits.queue_length: expected an integer from 1 to 1000000, got 0",
        ]
    );
}

#[test]
fn a_syntax_error_has_a_line_and_does_not_hide_the_others() {
    let complaints = complaints("netns = \ninsecure = 1\n");
    assert!(
        complaints[0].starts_with("ipvsd.toml:1: "),
        "{complaints:?}"
    );
    let other = "ipvsd.toml:2: insecure: expected true or false, got 1";
    assert!(
        complaints.iter().any(|line| line == other),
        "{complaints:?}"
    );
}

#[test]
fn a_duplicate_key_is_an_error_with_the_second_line() {
    let complaints = complaints("insecure = true\ninsecure = true\n");
    assert!(
        complaints[0].starts_with("ipvsd.toml:2: ") && complaints[0].contains("duplicate"),
        "{complaints:?}"
    );
}

#[test]
fn what_is_unlike_any_key_gets_no_suggestion() {
    assert_eq!(
        complaints("zzz = 1"),
        ["ipvsd.toml:1: zzz: there is no such key"]
    );
}

#[test]
fn numbers_and_strings_are_not_mixed_up() {
    for text in [
        "socket_mode = 660",
        "socket_mode = \"0999\"",
        "insecure = \"true\"",
        "listen = [1]",
        "listen = []",
        "listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
        "netns = 1",
        "netns = \"a/b\"",
        "[log]\nfilter = \"a=b=c\"",
        "[log]\nformat = true",
        "[limits]\nmax_connections = \"3\"",
        "[limits]\nmax_connections = 1.5",
        "[limits]\nidle_timeout = true",
        "[limits]\nidle_timeout = nan",
        "[limits]\nidle_timeout = -1",
    ] {
        assert_eq!(complaints(text).len(), 1, "{text}");
    }
}

#[test]
fn every_spelling_of_an_address_is_read() {
    let text =
        r#"listen = ["127.0.0.1:0", "[::1]:4787", "[::ffff:127.0.0.1]:1", "unix:/run/a b.sock"]"#;
    let config = from_file(text).unwrap();
    let shown: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "127.0.0.1:0",
            "[::1]:4787",
            "[::ffff:127.0.0.1]:1",
            "unix:/run/a b.sock"
        ]
    );
    assert_eq!(
        from_file(r#"listen = "127.0.0.1:1""#).unwrap().listen.len(),
        1
    );
}

#[test]
fn what_is_no_address_is_refused() {
    let long = format!("unix:/{}", "x".repeat(107));
    for address in [
        "localhost:1",
        "127.0.0.1",
        ":80",
        "::1:80",
        "unix:relative",
        "unix:/dir/",
        &long,
    ] {
        assert_eq!(
            complaints(&format!("listen = [{address:?}]")).len(),
            1,
            "{address}"
        );
    }
}

#[test]
fn a_listener_beyond_loopback_is_refused_with_the_reason_and_the_way_out() {
    let complaints = complaints("\nlisten = [\"127.0.0.1:1\", \"0.0.0.0:4787\", \"[::]:1\"]");
    assert_eq!(complaints.len(), 2);
    let first = "ipvsd.toml:2: listen: 0.0.0.0:4787 is not a loopback address: ";
    assert!(complaints[0].starts_with(first), "{complaints:?}");
    assert!(
        complaints[0].contains("--insecure or insecure = true"),
        "{complaints:?}"
    );
}

#[test]
fn insecure_allows_a_listener_beyond_loopback() {
    let config = from_file("insecure = true\nlisten = [\"0.0.0.0:4787\"]").unwrap();
    assert_eq!(config.listen[0].to_string(), "0.0.0.0:4787");
}

#[test]
fn the_address_from_a_flag_is_blamed_on_the_flag() {
    let errors = from_all("", &[], &[("listen", "--listen", "10.0.0.1:1".to_owned())]).unwrap_err();
    assert!(
        errors
            .to_string()
            .starts_with("--listen: listen: 10.0.0.1:1 is not a loopback")
    );
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let file =
        "netns = \"file\"\nkernel = \"fake\"\n[log]\nformat = \"json\"\n[limits]\nqueue_length = 5";
    let environment = [
        ("IPVSD_NETNS", "env"),
        ("IPVSD_LOG_FORMAT", "text"),
        ("IPVSD_LIMITS_QUEUE_LENGTH", "6"),
    ];
    let flags = [("netns", "--netns", "flag".to_owned())];
    let config = from_all(file, &environment, &flags).unwrap();
    assert_eq!(config.netns.as_deref(), Some("flag"));
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.limits.queue_length, 6);
    assert_eq!(config.kernel, KernelKind::Fake);
    assert_eq!(config.limits.max_page_size, 100_000);
}

#[test]
fn every_key_can_be_set_by_its_variable() {
    let defaults = Config::default();
    for key in KEYS {
        let shown = (key.show)(&defaults);
        let words = shown.trim_matches(['[', ']', '"', '\'']).to_owned();
        let words = if words.is_empty() {
            "name".to_owned()
        } else {
            words
        };
        let variable = key.variable();
        let right = from_all("", &[(&variable, &words)], &[]);
        assert!(right.is_ok(), "{variable}={words}: {right:?}");
        if key.name != "netns" {
            let wrong = from_all("", &[(&variable, "=,=")], &[])
                .unwrap_err()
                .to_string();
            assert!(
                wrong.starts_with(&format!("{variable}: {}: expected ", key.name)),
                "{wrong}"
            );
        }
    }
}

#[test]
fn an_empty_variable_and_a_strange_one_change_nothing() {
    let environment = [("IPVSD_NETNS", ""), ("IPVSD_PORT", "tcp://10.0.0.1:4787")];
    assert_eq!(from_all("", &environment, &[]).unwrap(), Config::default());
}

#[test]
fn a_list_in_a_variable_is_separated_by_commas() {
    let config = from_all("", &[("IPVSD_LISTEN", "127.0.0.1:1, unix:/a")], &[]).unwrap();
    assert_eq!(config.listen.len(), 2);
}

#[test]
fn a_default_page_cannot_be_larger_than_the_largest() {
    assert_eq!(
        complaints("[limits]\ndefault_page_size = 200\nmax_page_size = 100"),
        ["ipvsd.toml:2: limits.default_page_size: 200 is greater than limits.max_page_size = 100"]
    );
}

#[test]
fn a_missing_file_is_named() {
    let options = Options {
        config: Some("/nonexistent/ipvsd.toml".into()),
        ..Options::default()
    };
    let error = format!(
        "{:#}",
        anyhow::Error::from(Config::load(&options).unwrap_err())
    );
    assert!(
        error.contains("/nonexistent/ipvsd.toml") && error.contains("No such file"),
        "{error}"
    );
}

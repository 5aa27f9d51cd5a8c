//! Tests of the configuration: sources, defaults and errors.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::server::config::LogFormat;

const EXAMPLE: &str = include_str!("../../../deploy/ipvsd.toml");

fn from_file(text: &str) -> Result<Config, ConfigErrors> {
    from_all(text, &[], &[])
}

fn from_all(
    text: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static str, String)],
) -> Result<Config, ConfigErrors> {
    let environment = environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    Config::from_sources(&Sources {
        file: Some(("ipvsd.toml", text)),
        environment: &environment.collect(),
        flags,
        sockets: &[],
    })
}

fn errors(text: &str) -> Vec<String> {
    from_file(text)
        .unwrap_err()
        .0
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn an_empty_file_gives_the_defaults() {
    assert_eq!(from_file("").unwrap(), Config::default());
}

#[test]
fn the_printed_defaults_parse_to_the_defaults() {
    assert_eq!(
        from_file(&Config::default().to_toml()).unwrap(),
        Config::default()
    );
}

#[test]
fn the_audit_trail_has_a_file_or_the_journal() {
    let both = "[audit]\nfile = \"/a\"\njournal = true\n";
    let expected = "ipvsd.toml:3: audit.journal: not together with audit.file: set one of them";
    assert_eq!(errors(both), [expected]);
    for file in ["a", "/a/", "/"] {
        let errors = errors(&format!("[audit]\nfile = {file:?}\n"));
        assert!(
            errors.concat().contains("the absolute path of a file"),
            "{errors:?}"
        );
    }
}

#[test]
fn state_is_on_disk_unless_it_is_a_trial_or_configured_otherwise() {
    let directory = |text: &str| from_file(text).unwrap().state_dir;
    assert_eq!(directory(""), Some("/var/lib/ipvsd".into()));
    assert_eq!(directory("dev = true"), None);
    assert_eq!(directory("kernel = \"fake\""), None);
    assert_eq!(directory("state_dir = \"memory\""), None);
    assert_eq!(
        directory("dev = true\nstate_dir = \"/s\""),
        Some("/s".into())
    );
    for wrong in ["", "state", "Memory"] {
        let errors = errors(&format!("state_dir = {wrong:?}"));
        let expected = "the absolute path of a directory, or \"memory\"";
        assert!(errors.concat().contains(expected), "{errors:?}");
    }
}

/// The example with its settings uncommented: text starts with `# `, a setting with `#`.
fn uncommented() -> String {
    let lines = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_lists_every_key_in_order_with_its_default() {
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
        "deploy/ipvsd.toml and KEYS must list the same keys in the same order"
    );
}

#[test]
fn the_example_sets_nothing() {
    assert_eq!(from_file(EXAMPLE).unwrap(), Config::default());
}

#[test]
fn the_example_documents_the_range_of_every_limit() {
    let bounded = KEYS.iter().filter_map(|key| key.name.split_once('.'));
    for (table, name) in bounded.filter(|(table, _)| ["limits", "quota"].contains(table)) {
        let error = errors(&format!("[{table}]\n{name} = -1")).concat();
        let (_, range) = error.split_once(" from ").unwrap();
        let range = range.split([',', '(']).next().unwrap().trim();
        // Its upper bound is the value of the other key.
        let range = if name == "default_page_size" {
            "1 to max_page_size"
        } else {
            range
        };
        let mut blocks = EXAMPLE.split("\n\n");
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
fn an_error_names_file_line_key_and_expected_value() {
    assert_eq!(
        errors("\n[limits]\n# big\nmax_body_bytes = \"1MB\"\n"),
        [
            r#"ipvsd.toml:4: limits.max_body_bytes: expected an integer from 1024 to 1073741824, got "1MB""#
        ]
    );
}

#[test]
fn all_errors_are_reported_in_file_order() {
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
        errors(text),
        [
            r#"ipvsd.toml:2: kernel: expected "netlink" or "fake", got "windows""#,
            "ipvsd.toml:3: lisen: unknown key, did you mean listen?",
            "ipvsd.toml:4: log: expected a table, got 3",
            "ipvsd.toml:5: max_connections: unknown key, did you mean \
             limits.max_connections?",
            "ipvsd.toml:8: limits.idle_timeout: expected a duration from 10ms to 24h (\"500ms\", \
             \"10s\", \"5m\", \"1h\", or a number of seconds), got \"1 day\"",
            "ipvsd.toml:9: limits.queue_length: expected an integer from 1 to 1000000, got 0",
        ]
    );
}

#[test]
fn a_syntax_error_has_a_line_and_does_not_hide_other_errors() {
    let errors = errors("netns = \ninsecure = 1\n");
    assert!(errors[0].starts_with("ipvsd.toml:1: "), "{errors:?}");
    let second = "ipvsd.toml:2: insecure: expected true or false, got 1";
    assert!(errors.iter().any(|line| line == second), "{errors:?}");
}

#[test]
fn a_duplicate_key_is_reported_at_its_second_line() {
    let errors = errors("insecure = true\ninsecure = true\n");
    assert!(
        errors[0].starts_with("ipvsd.toml:2: ") && errors[0].contains("duplicate"),
        "{errors:?}"
    );
}

#[test]
fn an_unknown_key_without_a_similar_one_gets_no_suggestion() {
    assert_eq!(errors("zzz = 1"), ["ipvsd.toml:1: zzz: unknown key"]);
}

#[test]
fn values_of_the_wrong_type_or_range_are_rejected() {
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
        assert_eq!(errors(text).len(), 1, "{text}");
    }
}

#[test]
fn every_form_of_an_address_is_parsed() {
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
fn invalid_addresses_are_rejected() {
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
            errors(&format!("listen = [{address:?}]")).len(),
            1,
            "{address}"
        );
    }
}

#[test]
fn a_non_loopback_listener_is_rejected_with_reason_and_remedy() {
    let errors = errors("\nlisten = [\"127.0.0.1:1\", \"0.0.0.0:4787\", \"[::]:2\"]");
    assert_eq!(errors.len(), 2);
    let first = "ipvsd.toml:2: listen: 0.0.0.0:4787 is not a loopback address: ";
    assert!(errors[0].starts_with(first), "{errors:?}");
    assert!(
        errors[0].contains("--insecure or insecure = true"),
        "{errors:?}"
    );
}

#[test]
fn insecure_allows_a_non_loopback_listener() {
    let config = from_file("insecure = true\nlisten = [\"0.0.0.0:4787\"]").unwrap();
    assert_eq!(config.listen[0].to_string(), "0.0.0.0:4787");
}

#[test]
fn an_error_in_a_flag_names_the_flag() {
    let errors = from_all("", &[], &[("listen", "--listen", "10.0.0.1:1".to_owned())]).unwrap_err();
    assert!(
        errors
            .to_string()
            .starts_with("--listen: listen: 10.0.0.1:1 is not a loopback")
    );
}

#[test]
fn allowed_hosts_are_names_without_port_or_a_star() {
    let config = from_file("allowed_hosts = [\"Director.example.\", \"lb_1\"]").unwrap();
    assert_eq!(config.allowed_hosts, ["director.example", "lb_1"]);
    assert_eq!(
        from_file("allowed_hosts = \"*\"").unwrap().allowed_hosts,
        ["*"]
    );
    assert!(
        from_file("allowed_hosts = []")
            .unwrap()
            .allowed_hosts
            .is_empty()
    );
    for wrong in [
        "a:80",
        "http://a",
        "192.0.2.1",
        "[::1]",
        "*.a",
        "a/b",
        "",
        "a b",
        "ä",
    ] {
        let errors = errors(&format!("allowed_hosts = [\"{wrong}\"]"));
        assert!(errors[0].contains("a host name without port"), "{errors:?}");
    }
}

#[test]
fn flag_overrides_variable_overrides_file_overrides_default() {
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
fn every_key_has_an_environment_variable() {
    let defaults = Config::default();
    for key in KEYS {
        let shown = (key.show)(&defaults);
        let value = shown
            .trim_matches(['[', ']', '"', '\''])
            .replace("\", \"", ",");
        let value = match key.name {
            "audit.file" => "/name".to_owned(),
            "tracing.endpoint" => "http://localhost:4317".to_owned(),
            "tracing.protocol" => "grpc".to_owned(),
            "tracing.resource_attributes" => "name=value".to_owned(),
            _ if value.is_empty() => "name".to_owned(),
            _ => value,
        };
        let variable = key.variable();
        // Two keys have no effect, which is an error, without two others.
        let set = match key.name {
            "tls.client_ca" | "tls.crl" => vec![
                ("IPVSD_TLS_CLIENT_CERTIFICATES", "optional"),
                ("IPVSD_TLS_CLIENT_CA", "name"),
                (variable.as_str(), value.as_str()),
            ],
            _ => vec![(variable.as_str(), value.as_str())],
        };
        let valid = from_all("", &set, &[]);
        assert!(valid.is_ok(), "{variable}={value}: {valid:?}");
        let is_text = ["netns", "socket_group", "policy"].contains(&key.name)
            || matches!(key.name, "tls.certificate" | "tls.key")
            || matches!(key.name, "tls.client_ca" | "tls.crl")
            || ["tracing.headers_file", "tracing.ca", "tracing.service_name"].contains(&key.name);
        if !is_text {
            let error = from_all("", &[(&variable, "=,=")], &[])
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(&format!("{variable}: {}: expected ", key.name)),
                "{error}"
            );
        }
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let environment = [
        ("IPVSD_NETNS", ""),
        ("IPVSD_NO_SUCH_KEY", ""),
        ("RUST_LOG", ""),
    ];
    assert_eq!(from_all("", &environment, &[]).unwrap(), Config::default());
}

#[test]
fn variables_that_kubernetes_sets_for_a_service_of_this_name_are_no_error() {
    for name in [
        "IPVSD_SERVICE_HOST",
        "IPVSD_SERVICE_PORT",
        "IPVSD_SERVICE_PORT_HTTP",
        "IPVSD_PORT",
        "IPVSD_PORT_4787_TCP",
        "IPVSD_PORT_4787_TCP_ADDR",
        "IPVSD_EDGE_SERVICE_HOST",
        "IPVSD_EDGE_PORT",
    ] {
        let config = from_all("", &[(name, "tcp://10.0.0.1:4787")], &[]);
        assert_eq!(config.unwrap(), Config::default(), "{name}");
    }
}

#[test]
fn an_unknown_variable_is_an_error_with_the_nearest_name() {
    for (name, nearest) in [
        ("IPVSD_LISTENS", ", did you mean IPVSD_LISTEN?"),
        ("IPVSD_CONFIGS", ", did you mean IPVSD_CONFIG?"),
        (
            "IPVSD_QUEUE_LENGTH",
            ", did you mean IPVSD_LIMITS_QUEUE_LENGTH?",
        ),
        ("IPVSD_LISTEN_PORT", ""),
        ("IPVSD_ZZZ", ""),
    ] {
        let errors = from_all("", &[(name, "1")], &[]).unwrap_err();
        assert_eq!(
            errors.to_string(),
            format!("{name}: unknown variable{nearest}")
        );
    }
}

#[test]
fn rust_log_takes_precedence_over_every_other_log_filter() {
    let environment = [("IPVSD_LOG_FILTER", "warn"), ("RUST_LOG", "debug")];
    let config = from_all("[log]\nfilter = 'error'", &environment, &[]).unwrap();
    assert_eq!(config.log.filter, "debug");
}

#[test]
fn a_list_in_a_variable_is_comma_separated() {
    let config = from_all("", &[("IPVSD_LISTEN", "127.0.0.1:1, unix:/a")], &[]).unwrap();
    assert_eq!(config.listen.len(), 2);
}

#[test]
fn impossible_traces_are_refused() {
    let url = "a URL http://HOST:PORT or https://HOST:PORT";
    for (line, expected) in [
        ("endpoint = \"collector:4317\"", url),
        ("endpoint = \"https://user:pass@collector\"", url),
        ("endpoint = \"http://collector:99999\"", url),
        ("endpoint = \"http://collector:0\"", url),
        ("endpoint = \"http://collector:\"", url),
        ("endpoint = \"http://[::1]:x/\"", url),
        ("endpoint = \"http://a..b:4317\"", url),
        (
            "protocol = \"http/json\"",
            "\"\" or \"grpc\" or \"http/protobuf\"",
        ),
        ("sample_ratio = 1.5", "a number from 0 to 1"),
        ("sample_ratio = \"10%\"", "a number from 0 to 1"),
        ("service_name = \"a\\u0000\"", "without control characters"),
        ("resource_attributes = [\"a\"]", "name=value"),
        ("max_queue_spans = 0", "an integer from 1 to 100000"),
        ("exporter = \"otlp\"", "unknown key"),
        (
            "protocol = \"grpc\"\nendpoint = \"https://a/v1/traces\"",
            "has a path, which only http/protobuf has",
        ),
        (
            "headers_file = \"/a\"\nendpoint = \"http://192.0.2.1:4317\"",
            "would be sent to http://192.0.2.1:4317 without encryption",
        ),
    ] {
        let errors = errors(&format!("[tracing]\n{line}\n")).concat();
        assert!(errors.contains(expected), "{line}: {errors}");
    }
}

#[test]
fn traces_are_exported_by_a_build_that_can() {
    let text = "[tracing]\nexport = true\n";
    match cfg!(feature = "otel") {
        true => assert!(from_file(text).unwrap().tracing.export),
        false => assert_eq!(
            errors(text),
            [
                "ipvsd.toml:2: tracing.export: expected false, because this build lacks the feature otel, \
              got true"
            ]
        ),
    }
}

#[test]
fn default_page_size_may_not_exceed_max_page_size() {
    assert_eq!(
        errors("[limits]\ndefault_page_size = 200\nmax_page_size = 100"),
        ["ipvsd.toml:2: limits.default_page_size: 200 is greater than limits.max_page_size = 100"]
    );
}

#[test]
fn a_missing_file_is_reported_with_its_path() {
    let options = ServeOptions {
        config: Some("/nonexistent/ipvsd.toml".into()),
        ..ServeOptions::default()
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

#[test]
fn sockets_of_the_service_manager_replace_the_default_addresses_alone() {
    let socket = |text: &str| text.parse::<ListenAddress>().unwrap();
    let sockets = [socket("127.0.0.1:1"), socket("unix:/s")];
    let load = |text: &str, sockets: &[ListenAddress]| {
        let sources = Sources {
            file: Some(("ipvsd.toml", text)),
            environment: &BTreeMap::new(),
            flags: &[],
            sockets,
        };
        Config::from_sources(&sources)
    };
    assert_eq!(load("", &sockets).unwrap().listen, sockets);
    let chosen = "listen = [\"unix:/own\", \"127.0.0.1:1\"]";
    let all = [sockets[0].clone(), sockets[1].clone(), socket("unix:/own")];
    assert_eq!(load(chosen, &sockets).unwrap().listen, all);
    let exposed = load("", &[socket("192.0.2.1:1")]).unwrap_err().to_string();
    assert!(exposed.starts_with("LISTEN_FDS: listen"), "{exposed}");
}

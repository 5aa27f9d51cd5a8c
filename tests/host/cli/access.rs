//! `ipvsctl probe`, `whoami`, `can-i`, `audit` and `token`.

use std::io::Write;

use serde_json::Value;

use super::daemon::Daemon;
use crate::{
    common::parity::{CommandOutput, links, shell},
    scripted::{JSON, Server, response},
};

fn run(server: &Server, cmd: &str) -> CommandOutput {
    shell(cmd, "", Some(&links()), &server.endpoint)
}

/// Runs a command without a server.
fn offline(cmd: &str, stdin: &str) -> CommandOutput {
    shell(cmd, stdin, Some(&links()), "http://127.0.0.1:1")
}

fn responding(json: &str) -> Server {
    Server::responding(response("200 OK", JSON, json))
}

/// The output of a command that succeeds.
#[track_caller]
fn stdout(server: &Server, cmd: &str) -> String {
    let output = run(server, cmd);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{cmd}");
    output.stdout
}

#[test]
fn a_probe_of_a_daemon_is_the_exit_code() {
    let daemon = Daemon::start();
    for (words, path) in [("probe", "/healthz"), ("probe --ready", "/readyz")] {
        let output = daemon.run(&format!("ipvsadm {words}"), "");
        assert_eq!((output.code, output.stdout.as_str()), (0, "ok\n"));
        assert_eq!(daemon.requests(), [path], "{words}");
    }
    let output = daemon.run("ipvsadm probe --output json", "");
    assert_eq!(output.stdout, "{\"status\":\"ok\"}\n");

    // 1, and not 2 as other commands: Docker knows no other exit code of a check.
    let json = r#"{"reason":"KERNEL_UNAVAILABLE","detail":"no IPVS here","hint":"modprobe ip_vs"}"#;
    let problem = "application/problem+json";
    let unready = Server::responding(response("503 Service Unavailable", problem, json));
    let output = run(&unready, "ipvsadm probe --ready");
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    for part in ["no IPVS here", "modprobe ip_vs"] {
        assert!(output.stderr.contains(part), "{output:?}");
    }
    assert_eq!(run(&responding("[]"), "ipvsadm probe").code, 1);
    for cmd in ["ipvsadm probe", "ipvsadm probe --nonsense"] {
        let output = offline(cmd, "");
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{cmd}");
    }
    let directors = format!(
        "[directors.a]\nendpoint = \"{}\"\n[directors.b]\nendpoint = \"{}\"\n",
        daemon.endpoint, unready.endpoint
    );
    let file = std::env::temp_dir().join(format!("ipvsctl-{}-health.toml", std::process::id()));
    std::fs::write(&file, directors).unwrap();
    let cmd = format!(
        "IPVSCTL_CONFIG={} ipvsadm --all probe --ready",
        file.display()
    );
    let output = offline(&cmd, "");
    std::fs::remove_file(file).unwrap();
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (1, "==> a <==\nok\n"),
        "{output:?}"
    );
}

#[test]
fn whoami_shows_name_kind_role_and_scope() {
    for (json, expected) in [
        (
            r#"{"name":"root","kind":"unix","role":"admin","new":1}"#,
            "name   root\nkind   unix\nrole   admin\nscope  everything\n",
        ),
        (
            r#"{"name":"web","kind":"token","role":"editor","scope_reads":true,"scope":
               [{"address":"192.0.2.0/24","ports":"80-443","protocol":"tcp"},{"fwmark":"100-199"}]}"#,
            "name   web\nkind   token\nrole   editor\n\
             scope  address 192.0.2.0/24, ports 80-443, protocol tcp\nor     fwmark 100-199\n\
             reads  within the scope\n",
        ),
        (
            r#"{"name":"anonymous","kind":"anonymous","scope":[]}"#,
            "name   anonymous\nkind   anonymous\nrole   none: every operation is refused\n\
             scope  nothing\nreads  everything\n",
        ),
    ] {
        let server = responding(json);
        assert_eq!(stdout(&server, "ipvsadm whoami"), expected);
        let printed = stdout(&server, "ipvsadm whoami --output json");
        let (printed, sent): (Value, Value) = (
            serde_json::from_str(&printed).unwrap(),
            serde_json::from_str(json).unwrap(),
        );
        assert_eq!(printed, sent);
        let yaml = stdout(&server, "ipvsadm --output yaml whoami");
        assert!(yaml.starts_with("name: "), "{yaml}");
        assert!(
            server
                .request_lines()
                .iter()
                .all(|line| line == "GET /v1/whoami HTTP/1.1")
        );
    }
}

#[test]
fn can_i_answers_with_its_exit_code_too() {
    let server = responding(r#"{"allowed":true,"reason":"role admin"}"#);
    assert_eq!(stdout(&server, "ipvsadm can-i zero-all"), "yes\n");
    assert_eq!(
        server.request_lines(),
        ["GET /v1/can-i?verb=zero_all HTTP/1.1"]
    );
    let server = responding(r#"{"allowed":false,"reason":"requires the role admin"}"#);
    let output = run(&server, "ipvsadm can-i update_weight tcp-192.0.2.1-80");
    assert_eq!(
        (output.code, output.stdout.as_str(), output.stderr.as_str()),
        (1, "no - requires the role admin\n", "")
    );
    let output = run(
        &server,
        "ipvsadm can-i 'a&b' tcp-2001:db8::1-80 --output json",
    );
    let json: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((output.code, &json["allowed"]), (1, &Value::Bool(false)));
    assert_eq!(
        server.request_lines(),
        [
            "GET /v1/can-i?verb=update_weight&service=tcp-192.0.2.1-80 HTTP/1.1",
            "GET /v1/can-i?verb=a%26b&service=tcp-2001:db8::1-80 HTTP/1.1",
        ]
    );
    // Not an answer.
    let problem = r#"{"reason":"INVALID_ARGUMENT","detail":"verb: not a verb"}"#;
    let server = Server::responding(response(
        "400 Bad Request",
        "application/problem+json",
        problem,
    ));
    let output = run(&server, "ipvsadm can-i x");
    assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
}

#[test]
fn a_daemon_answers_all_three() {
    let daemon = Daemon::start();
    let run = |cmd: &str| {
        let output = daemon.run(cmd, "");
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{cmd}");
        output.stdout
    };
    assert_eq!(
        run("ipvsadm whoami"),
        "name   anonymous\nkind   anonymous\nrole   admin\nscope  everything\n"
    );
    assert_eq!(run("ipvsadm can-i update-weight tcp-192.0.2.1-80"), "yes\n");
    run("ipvsadm -A -t 192.0.2.1:80");
    run("ipvsadm -A -t 192.0.2.2:80");
    let table = run("ipvsadm audit --service tcp-192.0.2.1-80 --since 1h --limit 5");
    let lines: Vec<_> = table.lines().collect();
    let [_, line] = lines[..] else {
        panic!("{table}");
    };
    for part in [
        " anonymous ",
        " create_service ",
        " tcp-192.0.2.1-80 ",
        " success",
    ] {
        assert!(line.contains(part), "{table}");
    }
    let output = daemon.run("ipvsadm can-i nonsense", "");
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("update_weight"), "{output:?}");
}

/// A page of audit records with the numbers from `first`.
fn page(first: u64, count: u64, next: &str) -> String {
    let records: Vec<_> = (first..first + count)
        .map(|seq| {
            format!(
                r#"{{"seq":{seq},"time":"2026-11-28T20:00:00Z","principal":"web","credential":"token",
                "peer":"192.0.2.9","operation":"update_server","service":"tcp-192.0.2.1-80",
                "server":null,"outcome":"refused","later":{{"b":1,"a":2}}}}"#
            )
            .replace('\n', "")
        })
        .collect();
    format!(r#"{{"records":[{}]{next}}}"#, records.join(","))
}

/// A server with two pages of audit records.
fn audit() -> Server {
    Server::start(|_, request, stream| {
        let page = match request.head.contains("page_token=x%2F2") {
            true => page(3, 2, ""),
            false => page(1, 2, r#","next_page_token":"x/2""#),
        };
        let _ = stream.write_all(response("200 OK", JSON, &page).as_bytes());
    })
}

#[test]
fn audit_shows_records_as_table_and_as_lines_of_json() {
    let server = audit();
    let table = stdout(&server, "ipvsadm audit");
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 5, "{table}");
    let words: Vec<_> = lines[0].split_whitespace().collect();
    assert_eq!(
        words,
        [
            "TIME",
            "PRINCIPAL",
            "OPERATION",
            "SERVICE",
            "SERVER",
            "OUTCOME"
        ]
    );
    for part in [
        "2026-11-28T20:00:00Z",
        "web",
        "update_server",
        "tcp-192.0.2.1-80",
        "refused",
    ] {
        assert!(lines[1].contains(part), "{table}");
    }
    // Fields that ipvsctl does not know are kept, in their order.
    let json = stdout(&server, "ipvsadm audit --output json");
    assert_eq!(json.lines().count(), 4, "{json}");
    for line in json.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["principal"], "web");
        assert!(line.ends_with(r#""later":{"b":1,"a":2}}"#), "{line}");
    }
    let yaml = stdout(&server, "ipvsadm audit --output yaml");
    assert_eq!(yaml.matches("- seq: ").count(), 4, "{yaml}");
}

#[test]
fn audit_filters_and_limits_by_query() {
    let server = audit();
    let cmd = "ipvsadm audit --since 2026-11-28T21:00:00+01:00 --until 2026-12-01T00:00:00Z \
               --principal 'a b' --service tcp-192.0.2.1-80 --limit 3 --output json";
    assert_eq!(stdout(&server, cmd).lines().count(), 3);
    let query = "since_time=2026-11-28T20:00:00Z&until_time=2026-12-01T00:00:00Z&principal=a%20b\
                 &service=tcp-192.0.2.1-80&page_size=3";
    assert_eq!(
        server.request_lines(),
        [
            format!("GET /v1/audit?{query} HTTP/1.1"),
            format!("GET /v1/audit?{query}&page_token=x%2F2 HTTP/1.1"),
        ]
    );
    // What is enough ends the reading.
    let server = audit();
    assert_eq!(
        stdout(&server, "ipvsadm audit --limit 2 --output json")
            .lines()
            .count(),
        2
    );
    assert_eq!(
        server.request_lines(),
        ["GET /v1/audit?page_size=2 HTTP/1.1"]
    );
    assert_eq!(
        stdout(&server, "ipvsadm audit --since 2h").lines().count(),
        5
    );
    for option in ["--since 2", "--since tomorrow", "--limit 0", "--limit x"] {
        assert_eq!(
            run(&server, &format!("ipvsadm audit {option}")).code,
            2,
            "{option}"
        );
    }
}

#[test]
fn audit_of_all_directors_is_one_document() {
    let server = audit();
    let name = format!("ipvsctl-{}-audit.toml", std::process::id());
    let path = std::env::temp_dir().join(name);
    let text = format!("[directors.a]\nendpoint = \"{}\"\n", server.endpoint);
    std::fs::write(&path, text).unwrap();
    let cmd = format!(
        "IPVSCTL_CONFIG={} ipvsadm --all audit --output json",
        path.display()
    );
    let json: Value = serde_json::from_str(&stdout(&server, &cmd)).unwrap();
    std::fs::remove_file(path).unwrap();
    assert_eq!(json["a"].as_array().unwrap().len(), 4);
}

#[test]
fn a_new_token_is_printed_once_and_its_entry_has_its_hash() {
    let cmd =
        "ipvsadm token create --name 'a \"b\"' --role operator --expires 2099-01-01T00:00:00Z";
    let created = offline(cmd, "");
    assert_eq!(created.code, 0, "{created:?}");
    let token = created.stdout.strip_suffix('\n').unwrap();
    let digits = token.strip_prefix("ipvsd_").unwrap();
    assert_eq!(digits.len(), 64);
    assert!(
        digits
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "{token}"
    );
    assert!(!created.stderr.contains(digits));

    let entry: toml::Table = created.stderr.parse().unwrap();
    let entry = &entry["token"].as_array().unwrap()[0];
    assert_eq!(entry["name"].as_str(), Some("a \"b\""));
    assert_eq!(entry["role"].as_str(), Some("operator"));
    assert_eq!(
        entry["expires"].as_datetime().unwrap().to_string(),
        "2099-01-01T00:00:00Z"
    );
    let hash = entry["sha256"].as_str().unwrap();
    for stdin in [
        token.to_owned(),
        format!("{token}\n"),
        format!("{token}\r\n"),
    ] {
        let output = offline("ipvsadm token hash", &stdin);
        assert_eq!((output.code, output.stdout), (0, format!("{hash}\n")));
    }
    // The same as sha256sum(1).
    let sum = offline("printf %s $(cat) | sha256sum", token);
    assert_eq!(sum.stdout, format!("{hash}  -\n"));

    let other = offline("ipvsadm token create --name x --role viewer", "");
    assert_eq!(other.code, 0);
    assert_ne!(other.stdout, created.stdout);
    assert!(!other.stderr.contains("expires"), "{other:?}");
}

#[test]
fn faulty_arguments_of_token_are_refused() {
    for (cmd, part) in [
        ("ipvsadm token create --role viewer", "--name"),
        ("ipvsadm token create --name x", "--role"),
        ("ipvsadm token create --name x --role root", "admin"),
        (
            "ipvsadm token create --name '' --role viewer",
            "1 to 253 bytes",
        ),
        (
            "ipvsadm token create --name x --role viewer --expires 0d",
            "--expires",
        ),
        (
            "ipvsadm token create --name x --role viewer --expires 2020-01-01T00:00:00Z",
            "not in the future",
        ),
        ("ipvsadm token", "create"),
        ("ipvsadm token hash", "visible ASCII"),
    ] {
        let output = offline(cmd, "\n");
        assert_eq!(
            (output.code, output.stdout.as_str()),
            (2, ""),
            "{cmd}: {output:?}"
        );
        assert!(output.stderr.contains(part), "{part}: {output:?}");
    }
    // A token that nobody has is not announced.
    let output = offline("ipvsadm token create --name x --role viewer >/dev/full", "");
    assert_eq!(output.code, 2);
    assert!(!output.stderr.contains("sha256"), "{output:?}");
}

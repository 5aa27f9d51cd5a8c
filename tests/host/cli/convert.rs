//! `ipvsctl convert`.

use std::path::Path;

use ipvsd::{
    ipvsadm::{Numeric, Order, write_rules},
    model::ServiceEntry,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{
    daemon::Daemon,
    tables::{Directory, assert_output, stdout},
};
use crate::{
    common::{
        parity::{CommandOutput, links, shell},
        tables::{OF_A_KERNEL, table},
    },
    scripted::{JSON, Server, response},
};

/// Runs a command that needs no daemon.
fn convert(options: &str, stdin: &str) -> CommandOutput {
    let endpoint = "http://127.0.0.1:1";
    let cmd = format!("ipvsadm convert {options}");
    shell(&cmd, stdin, Some(&links()), endpoint)
}

fn rules(entries: &[ServiceEntry]) -> String {
    let mut text = Vec::new();
    write_rules(&mut text, entries, Order::Restorable, &Numeric).unwrap();
    String::from_utf8(text).unwrap()
}

/// The services of a saved table, in any order; their servers in the kernel's.
fn services(saved: &str) -> Vec<&str> {
    let starts = saved.match_indices("-A ").map(|(start, _)| start);
    let mut starts: Vec<_> = starts.collect();
    starts.push(saved.len());
    let mut services: Vec<_> = starts.windows(2).map(|w| &saved[w[0]..w[1]]).collect();
    services.sort_unstable();
    services
}

#[test]
fn what_ipvsadm_saves_is_converted_without_loss() {
    let daemon = Daemon::start();
    let mut runner = TestRunner::new(Config::with_cases(16));
    let tables = table(OF_A_KERNEL, 4, 4);
    let result = runner.run(&tables, |entries| {
        let text = rules(&entries);
        if text.is_empty() {
            return Ok(());
        }
        stdout(&daemon, "ipvsadm -R", &text);
        let wanted = stdout(&daemon, "ipvsadm save", "");
        stdout(&daemon, "ipvsadm -C", "");
        let file = stdout(&daemon, "ipvsadm convert - --owner web --strict", &text);
        let apply = "ipvsadm apply -f - --max-deletes 100%";
        stdout(&daemon, apply, &file);
        let made = stdout(&daemon, "ipvsadm save", "");
        stdout(&daemon, "ipvsadm -C", "");
        prop_assert_eq!(made, wanted);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn a_command_that_makes_no_service_is_reported() {
    let text = "\
# saved
-A -t 192.0.2.1:80 -s rr
--set 900 120 300
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 70000
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m
-E -t 192.0.2.1:80 -s wrr
";
    let notes = "\
standard input: line 3: --set makes no service: left out
standard input: line 4: tcp-192.0.2.1-80 10.0.0.1-80: weight: 70000 is out of range: 0 to 65535, or the weight \
that the server has: left out
";
    let table = "\
owner: web
services:
- id: tcp-192.0.2.1-80
  scheduler: wrr
  servers:
  - id: 10.0.0.2-80
    forwarding: masquerade
    weight: 1
";
    assert_output(&convert("- --owner web", text), 0, table, notes);
    let strict =
        format!("{notes}ipvsadm: not converted: 2; without --strict, the rest is printed\n");
    assert_output(&convert("- --owner web --strict", text), 1, "", &strict);
    let json = convert("- --output json", "-A -f 7");
    let wanted = r#"{"services":[{"id":"fwmark-7","scheduler":"wlc","servers":[]}]}"#;
    assert_output(&json, 0, &format!("{wanted}\n"), "");
}

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keepalived");

/// `keepalived.rules` is what `ipvsctl save` printed on a kernel of the lab in which keepalived 2.2.7 had
/// executed `keepalived.conf` with the config-id lb1.
#[test]
fn a_converted_keepalived_conf_makes_the_table_that_keepalived_makes() {
    let daemon = Daemon::start();
    let file = format!("{FIXTURES}/keepalived.conf");
    let output = daemon.run(&format!("ipvsadm convert {file} --config-id lb1"), "");
    let notes = format!(
        "{file}: line 2: global_defs: left out\n\
         {file}: line 16: vrrp_instance: left out\n\
         {file}: line 25: delay_loop: left out\n\
         {file}: line 29: sorry_server: left out\n\
         {file}: line 30: TCP_CHECK: left out\n\
         {file}: line 101: real_server 10.0.0.8 of ipv6 services: left out\n"
    );
    assert_eq!((output.code, output.stderr.as_str()), (0, notes.as_str()));
    stdout(&daemon, "ipvsadm apply -f - --owner web", &output.stdout);
    let made = stdout(&daemon, "ipvsadm save", "");
    let wanted = std::fs::read_to_string(format!("{FIXTURES}/keepalived.rules")).unwrap();
    assert_eq!(services(&made), services(&wanted));
}

#[test]
fn what_keepalived_ignores_is_reported() {
    let text = "\
virtual_server 192.0.2.1 80 {
    ops
    sh-port
    real_server 10.0.0.1 80 {
    }
    real_server 10.0.0.1 80 {
        notify_up \"/bin/x { } # ! y\"
    }
    @lb2 weight 5
    real_server 10.0.0.2 80 {
        TCP_CHECK {
        }
    }
    real_server 10.0.0.3 80 {
        TCP_CHECK {
        }
    }
}
virtual_server 192.0.2.2 80 {
    protocol TCP
    ops
    real_server 10.0.0.1 80 { }
}
virtual_server 192.0.2.2 80 {
    protocol TCP
    real_server 10.0.0.1 80 { }
}
virtual_server 192.0.2.3 80 {
    sorry_server 10.0.0.9 80
}
include missing-*.conf
";
    let notes = "\
standard input: line 9: @lb2 without --config-id: left out
standard input: line 31: missing-*.conf: no such file: left out
standard input: line 7: notify_up: left out
standard input: lines 11, 15: TCP_CHECK: left out
standard input: line 1: virtual_server without protocol: udp, as keepalived takes it
standard input: line 3: sh-port is no flag of wlc: left out
standard input: line 6: real_server 10.0.0.1 is declared twice: left out
standard input: line 21: ops without udp: left out
standard input: line 24: tcp-192.0.2.2-80 is declared twice: left out
standard input: line 29: sorry_server: left out
standard input: line 28: virtual_server without real servers, which keepalived ignores: left out
";
    let table = "\
services:
- id: udp-192.0.2.1-80
  scheduler: wlc
  one_packet: true
  servers:
  - id: 10.0.0.3-80
    forwarding: masquerade
    weight: 1
  - id: 10.0.0.2-80
    forwarding: masquerade
    weight: 1
  - id: 10.0.0.1-80
    forwarding: masquerade
    weight: 1
- id: tcp-192.0.2.2-80
  scheduler: wlc
  servers:
  - id: 10.0.0.1-80
    forwarding: masquerade
    weight: 1
";
    assert_output(&convert("-", text), 0, table, notes);
}

#[test]
fn what_is_no_configuration_is_refused_with_its_place() {
    let server = "virtual_server 192.0.2.1 80 {\n protocol TCP\n real_server 10.0.0.1 80 {\n  ";
    let closed = |line: &str| format!("{server}{line}\n }}\n}}\n");
    let at = |place: &str, message: &str| format!("standard input: {place}: {message}");
    for (text, message) in [
        (
            "x {\n y {\n }\n".to_owned(),
            at("line 1, column 3", "{ without a } behind it"),
        ),
        (
            "x\n  }\n".to_owned(),
            at("line 2, column 3", "} without a { before it"),
        ),
        (
            "{\n}\n".to_owned(),
            at("line 1, column 1", "{ without a keyword before it"),
        ),
        (
            closed("notify_up \"x"),
            at("line 4, column 13", "a quotation mark without a second one"),
        ),
        (
            "x { ".repeat(40),
            at("line 1, column 67", "too many blocks in each other"),
        ),
        (
            closed("weight -1"),
            at("line 4, column 10", "\"-1\" is not a number from 0 to"),
        ),
        (
            closed("weight +1"),
            at("line 4, column 10", "\"+1\" is not a number"),
        ),
        (
            closed("weight $W"),
            at("line 4, column 10", "\"$W\" is not a number"),
        ),
        (
            closed("weight"),
            at("line 4, column 3", "weight: number expected"),
        ),
        (
            closed("lvs_method FOO"),
            at("line 4, column 14", "\"FOO\" is not NAT, DR or TUN"),
        ),
        (
            "virtual_server 192.0.2.1-9/3 x {\n}\n".to_owned(),
            at("line 1, column 16", "\"192.0.2.1-9/3\" is not an address"),
        ),
        (
            "virtual_server [2001:db8::1] 80 {\n}\n".to_owned(),
            at("line 1, column 16", "\"[2001:db8::1]\" is not an address"),
        ),
        (
            "virtual_server 192.0.2.1 http {\n}\n".to_owned(),
            at("line 1, column 26", "\"http\" is not a port"),
        ),
        (
            "virtual_server group G {\n}\n".to_owned(),
            at("line 1, column 22", "\"G\" is not a virtual_server_group"),
        ),
        (
            closed("}\n persistence_granularity 64\n real_server 10.0.0.2 80 {"),
            at("line 5, column 26", "\"64\" is not a netmask of ipv4"),
        ),
        (
            "virtual_server 10.0.0.0/8 80 {\n real_server 10.0.0.1 80 {\n }\n}\n".to_owned(),
            at(
                "line 1, column 16",
                "more than 1048576 services and servers",
            ),
        ),
        (
            "$A=x$A\n$A\n".to_owned(),
            at(
                "line 2, column 1",
                "the values of the parameters are too long",
            ),
        ),
        (
            "$A= \\\n x \\\n $A\n\n$A\n".to_owned(),
            at("line 5, column 1", "more than 67108864 bytes"),
        ),
        (
            "services: []\n".to_owned(),
            "standard input: no virtual services".to_owned(),
        ),
        (
            "# x\n\n".to_owned(),
            "standard input: no virtual services".to_owned(),
        ),
        (
            "-A -f 7\n-A -f 7\n".to_owned(),
            "line 2: virtual service".to_owned(),
        ),
        ("-A -t x\n".to_owned(), "1 invalid lines".to_owned()),
    ] {
        let output = convert("-", &text);
        assert_eq!(
            (output.code, output.stdout.as_str()),
            (2, ""),
            "{text}: {output:?}"
        );
        assert!(output.stderr.contains(&message), "{message}: {output:?}");
    }
}

#[test]
fn included_files_are_read_where_they_are() {
    let server = "virtual_server 192.0.2.1 80 {\n protocol TCP\n include ../real/*.conf\n}\n";
    let files = [
        (
            "main.conf",
            "$W=5\ninclude \"virtual/*.conf\"\nincluder none.conf\n",
        ),
        ("loop.conf", "include loop.conf\n"),
    ];
    let directory = Directory::new("convert", &files);
    for (name, text) in [
        ("virtual/a.conf", server),
        ("real/1.conf", "real_server 10.0.0.1 80 {\n weight $W\n}\n"),
        (
            "real/2.conf",
            "real_server 10.0.0.2 80 {\n weight 2 x\n alpha\n}\n",
        ),
    ] {
        let file = directory.file(name);
        std::fs::create_dir_all(Path::new(&file).parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let root = directory.file("");
    let root = root.trim_end_matches('/');
    let output = convert(&format!("{root}/main.conf"), "");
    let wanted = "  - id: 10.0.0.2-80\n    forwarding: masquerade\n    weight: 2\n  \
                  - id: 10.0.0.1-80\n    forwarding: masquerade\n    weight: 5\n";
    assert!(output.stdout.ends_with(wanted), "{output:?}");
    let notes = format!(
        "{root}/main.conf: line 3: {root}/none.conf: no such file: left out\n\
         {root}/virtual/../real/2.conf: line 3: alpha: left out\n"
    );
    assert_eq!((output.code, output.stderr), (0, notes));
    let output = convert(&format!("{root}/loop.conf"), "");
    assert_eq!(output.code, 2);
    assert!(
        output.stderr.contains("files include each other"),
        "{output:?}"
    );
}

#[test]
fn the_format_can_be_given_and_nothing_is_sent() {
    let silent = Server::responding(response("200 OK", JSON, "{}"));
    let run = |options: &str, text| {
        let cmd = format!("ipvsadm convert - {options}");
        shell(&cmd, text, Some(&links()), &silent.endpoint)
    };
    assert_eq!(run("", "-A -f 7").code, 0);
    assert_eq!(run("--from ipvsadm", "-A -f 7").code, 0);
    assert_eq!(run("--from keepalived", "-A -f 7").code, 2);
    let conf = "virtual_server fwmark 7 {\n real_server 10.0.0.1 {\n }\n}\n";
    assert_eq!(run("", conf).code, 0);
    assert_eq!(run("--from ipvsadm", conf).code, 2);
    assert_eq!(silent.request_lines(), [""; 0]);
}

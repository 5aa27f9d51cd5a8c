//! Changes whose reply is lost: what ipvsctl repeats, and what it says about the rest.

use std::io::{Read, Write};

use super::daemon::Daemon;
use crate::{
    common::parity::{CommandOutput, links, shell},
    scripted::{NDJSON, Server, drip, head, response},
};

/// Exit status of a command whose outcome is unknown.
const UNKNOWN: i32 = 3;

fn run(server: &Server, cmd: &str, stdin: &str) -> CommandOutput {
    shell(cmd, stdin, Some(&links()), &server.endpoint)
}

/// A daemon with one service and one server.
fn setup() -> Daemon {
    let daemon = Daemon::start();
    let table = "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 1\n";
    assert_eq!(daemon.run("ipvsadm -R", table).code, 0);
    daemon
}

#[test]
fn a_change_whose_reply_is_lost_once_is_repeated_and_succeeds() {
    let daemon = setup();
    for (cmd, after) in [
        (
            "ipvsadm -A -t 192.0.2.2:80 -s wrr",
            "-A -t 192.0.2.2:80 -s wrr\n",
        ),
        (
            "ipvsadm -E -t 192.0.2.2:80 -s lc",
            "-A -t 192.0.2.2:80 -s lc\n",
        ),
        (
            "ipvsadm -a -t 192.0.2.2:80 -r 192.168.10.1 -m -w 5",
            "-a -t 192.0.2.2:80 -r 192.168.10.1:80 -m -w 5\n",
        ),
        (
            "ipvsadm -e -t 192.0.2.2:80 -r 192.168.10.1 -m -w 6",
            "-a -t 192.0.2.2:80 -r 192.168.10.1:80 -m -w 6\n",
        ),
        ("ipvsadm -Z", "-w 6\n"),
        ("ipvsadm -d -t 192.0.2.2:80 -r 192.168.10.1", "-s lc\n"),
        ("ipvsadm -D -t 192.0.2.2:80", "-w 1\n"),
        ("ipvsadm --set 901 121 301", "-w 1\n"),
        (
            "ipvsadm --start-daemon master --mcast-interface lo",
            "-w 1\n",
        ),
        ("ipvsadm --stop-daemon master", "-w 1\n"),
        ("ipvsadm settings conntrack=true", "-w 1\n"),
        ("ipvsadm -C", ""),
    ] {
        let server = Server::losing(&daemon.endpoint, |number| number == 0);
        let output = run(&server, cmd, "");
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{cmd}");
        let table = daemon.run("ipvsadm -Sn", "").stdout;
        assert!(table.ends_with(after), "{cmd}: {table}");
    }
}

#[test]
fn a_create_that_is_repeated_and_finds_another_object_is_refused() {
    let daemon = setup();
    let server = Server::losing(&daemon.endpoint, |number| number == 0);
    let output = run(&server, "ipvsadm -A -t 192.0.2.1:80 -s wrr", "");
    assert_eq!(output.code, 255, "{output:?}");
    assert_eq!(output.stderr, "Service already exists\n");
    let server = Server::losing(&daemon.endpoint, |number| number == 0);
    let cmd = "ipvsadm -a -t 192.0.2.1:80 -r 192.168.10.1 -m -w 9";
    let output = run(&server, cmd, "");
    assert_eq!(output.code, 255, "{output:?}");
}

#[test]
fn an_unknown_outcome_has_an_exit_status_and_says_how_to_check() {
    let daemon = setup();
    for (cmd, check) in [
        ("ipvsadm -A -t 192.0.2.3:80 -s wrr", "-L -n -t 192.0.2.3:80"),
        ("ipvsadm -A -f 7 -6 -s wrr", "-L -n -f 7 -6"),
        (
            "ipvsadm -d -t 192.0.2.1:80 -r 192.168.10.1",
            "-L -n -t 192.0.2.1:80",
        ),
        ("ipvsadm -C", "-L -n"),
        ("ipvsadm -Z", "-L -n --stats"),
        ("ipvsadm --set 901 121 301", "-L --timeout"),
        ("ipvsadm --stop-daemon master", "-L --daemon"),
        ("ipvsadm settings conntrack=true", "settings"),
    ] {
        let server = Server::losing(&daemon.endpoint, |_| true);
        let output = run(&server, cmd, "");
        assert_eq!(output.code, UNKNOWN, "{cmd}: {output:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{cmd}: {output:?}");
        let command = format!("ipvsctl --endpoint {} {check}", server.endpoint);
        for part in ["outcome is unknown", &command] {
            assert!(output.stderr.contains(part), "{cmd}: {output:?}");
        }
        // Once, and once again.
        assert_eq!(server.request_lines().len(), 2, "{cmd}");
    }
}

#[test]
fn several_commands_whose_reply_is_lost_are_not_repeated() {
    let daemon = setup();
    let text = "-A -t 192.0.2.5:80 -s rr\n-A -t 192.0.2.6:80 -s rr\n";
    for cmd in [
        "ipvsadm -R",
        "ipvsadm-restore",
        "ipvsadm restore --clear",
        "ipvsadm restore --no-clear",
    ] {
        let server = Server::losing(&daemon.endpoint, |_| true);
        let output = run(&server, cmd, text);
        assert_eq!(output.code, UNKNOWN, "{cmd}: {output:?}");
        assert!(
            output.stderr.contains("outcome is unknown"),
            "{cmd}: {output:?}"
        );
        assert!(output.stderr.contains("-L -n"), "{cmd}: {output:?}");
        assert_eq!(server.request_lines().len(), 1, "{cmd}");
    }
}

#[test]
fn a_change_that_was_not_sent_has_a_known_outcome() {
    let daemon = setup();
    let output = daemon.run("ipvsadm --endpoint http://127.0.0.1:1 -C", "");
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("cannot be reached"), "{output:?}");
}

#[test]
fn a_restore_by_difference_whose_reply_is_lost_once_is_repeated() {
    let daemon = setup();
    let server = Server::losing(&daemon.endpoint, |number| number == 0);
    let text = "-A -t 192.0.2.5:80 -s rr\n-A -t 192.0.2.6:80 -s rr\n";
    let output = run(&server, "ipvsadm restore", text);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert_eq!(daemon.run("ipvsadm -Sn", "").stdout, text);
    let server = Server::losing(&daemon.endpoint, |_| true);
    let output = run(&server, "ipvsadm restore", text);
    assert_eq!(output.code, UNKNOWN, "{output:?}");
}

#[test]
fn a_change_without_a_reply_within_the_timeout_has_an_unknown_outcome() {
    // Silence, and progress that never ends.
    let silent = Server::start(|_, _, stream| drop(stream.read(&mut [0])));
    let endless = Server::start(|_, _, stream| {
        let _ = stream.write_all(head(NDJSON).as_bytes());
        let event = "{\"event\":\"progress\",\"done\":0,\"total\":1}\n";
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        drip(stream, chunk.as_bytes());
    });
    for server in [silent, endless] {
        for cmd in ["-C", "-A -t 192.0.2.1:80", "-Z"] {
            let output = run(&server, &format!("ipvsadm --timeout 0.5 {cmd}"), "");
            assert_eq!(output.code, UNKNOWN, "{cmd}: {output:?}");
            assert!(
                output.stderr.contains("did not respond within 500ms"),
                "{output:?}"
            );
            assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
        }
        // There was no time left to send them again.
        assert_eq!(server.request_lines().len(), 3);
    }
}

#[test]
fn a_change_that_was_sent_to_another_server_than_ipvsd_was_not_made() {
    let page = response("200 OK", "text/html", "<html>log in</html>");
    let output = run(&Server::responding(page), "ipvsadm -C", "");
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("is not ipvsd"), "{output:?}");
    // A proxy that lost the connection to the daemon may have forwarded the request.
    let page = response("502 Bad Gateway", "text/html", "<html>");
    let output = run(&Server::responding(page), "ipvsadm -C", "");
    assert_eq!(output.code, UNKNOWN, "{output:?}");
}

//! ipvsctl against servers that are slow, endless, hostile or not ipvsd.

use std::io::Write;

use super::daemon::Daemon;
use crate::{
    common::parity::{CommandOutput, links, shell},
    scripted::{JSON, NDJSON, Server, TEXT, drip, flood, head, response},
};

/// Every command that only reads, for tests of what all of them have in common.
const READS: [&str; 9] = [
    "ipvsadm -Ln",
    "ipvsadm -L",
    "ipvsadm -Sn",
    "ipvsadm save",
    "ipvsadm -Ln --output json",
    "ipvsadm -L --timeout",
    "ipvsadm -Lnc",
    "ipvsadm info",
    "ipvsadm settings",
];

/// Escape, carriage return, C1, DEL, right-to-left override, zero-width space.
const HOSTILE: &str = "\u{1b}[31mred\r\u{9b}2J\u{7f}\u{202e}\u{200b}end";
/// The same as ipvsctl shows it.
const ESCAPED: &str = "\\u001b[31mred\\u000d\\u009b2J\\u007f\\u202e\\u200bend";

fn run(server: &Server, cmd: &str) -> CommandOutput {
    shell(cmd, "", Some(&links()), &server.endpoint)
}

/// Runs a command with a short timeout, and in little memory.
fn run_limited(server: &Server, cmd: &str) -> CommandOutput {
    let cmd = cmd.replacen("ipvsadm", "ipvsadm --timeout 0.5", 1);
    run(server, &format!("ulimit -v 2000000; {cmd}"))
}

/// A hostile text as a JSON string, with C0 characters escaped as JSON demands.
fn json_string(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[track_caller]
fn assert_no_control_characters(text: &str) {
    let found: Vec<_> = text
        .chars()
        .filter(|c| c.is_control() && !"\r\n".contains(*c) || "\u{202e}\u{200b}".contains(*c))
        .collect();
    assert!(found.is_empty(), "{found:?} in {text:?}");
    assert!(
        !text.trim_end().replace("\r\n", "").contains('\r'),
        "{text:?}"
    );
}

#[test]
fn control_characters_of_the_server_are_escaped_in_errors() {
    let hostile = json_string(HOSTILE);
    let problem = format!(r#"{{"reason":"NEW","detail":{hostile},"hint":{hostile}}}"#);
    let server = Server::responding(response("418 New", "application/problem+json", &problem));
    for cmd in ["ipvsadm -Ln", "ipvsadm -C", "ipvsadm info", "ipvsadm save"] {
        let output = run(&server, cmd);
        assert_eq!(output.code, 2, "{output:?}");
        assert_eq!(
            output.stderr,
            format!("ipvsadm: {ESCAPED} ({ESCAPED})\n"),
            "{cmd}"
        );
    }
    let event = format!("{{\"event\":\"failed\",\"reason\":\"NEW\",\"detail\":{hostile}}}\n");
    let server = Server::responding(response("200 OK", NDJSON, &event));
    let output = run(&server, "ipvsadm -C");
    assert_no_control_characters(&output.stderr);
    assert!(output.stderr.contains(ESCAPED), "{output:?}");
    let event = format!(
        "{{\"event\":\"refused\",\"line\":1,\"reason\":\"NEW\",\"detail\":{hostile}}}\n\
         {{\"event\":\"end\",\"commands\":1,\"done\":0,\"refused\":1}}\n"
    );
    let server = Server::responding(response("200 OK", NDJSON, &event));
    let output = run(&server, "ipvsadm -C");
    assert_eq!(output.stderr, format!("{ESCAPED}\n"));
}

#[test]
fn errors_in_the_list_of_directors_are_escaped() {
    let problem = format!(r#"{{"reason":"NEW","detail":{}}}"#, json_string(HOSTILE));
    let server = Server::responding(response("418 New", "application/problem+json", &problem));
    let config = std::env::temp_dir().join(format!("ipvsctl-{}-hostile.toml", std::process::id()));
    let text = format!("[directors.a]\nendpoint = \"{}\"\n", server.endpoint);
    std::fs::write(&config, text).unwrap();
    let cmd = format!("IPVSCTL_CONFIG={} ipvsadm directors", config.display());
    let output = run(&server, &cmd);
    std::fs::remove_file(config).unwrap();
    assert_no_control_characters(&output.stdout);
    assert!(output.stdout.contains(ESCAPED), "{output:?}");
}

#[test]
fn control_characters_are_escaped_in_listings_on_a_terminal() {
    let listing = format!("IP Virtual Server version 1.2.1 (size=4096)\n{HOSTILE}\n");
    let server = Server::responding(response("200 OK", TEXT, &listing));
    // Not a terminal: the bytes of the server.
    assert_eq!(run(&server, "ipvsadm -Ln").stdout, listing);
    let output = run(&server, "script -qec 'ipvsadm -Ln' /dev/null");
    assert_no_control_characters(&output.stdout);
    assert!(output.stdout.contains(ESCAPED), "{output:?}");

    let hostile = json_string(HOSTILE);
    let settings = format!(r#"{{"conntrack":{hostile}}}"#);
    let server = Server::responding(response("200 OK", JSON, &settings));
    for cmd in ["ipvsadm settings", "ipvsadm settings --output yaml"] {
        let output = run(&server, &format!("script -qec '{cmd}' /dev/null"));
        assert_no_control_characters(&output.stdout);
        assert!(output.stdout.contains("end"), "{output:?}");
    }
    let output = run(
        &server,
        "script -qec 'ipvsadm settings --output json' /dev/null",
    );
    assert_no_control_characters(&output.stdout);
    // What a terminal shows is still JSON, of the same text.
    let shown: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(shown["conntrack"], HOSTILE);
}

#[test]
fn a_dripping_response_ends_at_the_timeout() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: ";
    let servers = [
        // The status line, the head, informational responses.
        Server::start(|_, _, stream| drip(stream, b"H")),
        Server::start(|_, _, stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            drip(stream, b"x: y\r\n");
        }),
        Server::start(|_, _, stream| drip(stream, b"HTTP/1.1 100 Continue\r\n\r\n")),
        // The size of a chunk, the chunks, the trailer.
        Server::start(move |_, request, stream| {
            let _ = write!(stream, "{chunked}{}\r\n\r\n", accepted(&request.head));
            drip(stream, b"0");
        }),
        Server::start(move |_, request, stream| {
            let _ = write!(stream, "{chunked}{}\r\n\r\n", accepted(&request.head));
            drip(stream, b"1\r\n \r\n");
        }),
        Server::start(move |_, request, stream| {
            let _ = write!(stream, "{chunked}{}\r\n\r\n0\r\n", accepted(&request.head));
            drip(stream, b"x: y\r\n");
        }),
    ];
    std::thread::scope(|scope| {
        for (number, server) in servers.iter().enumerate() {
            scope.spawn(move || {
                for cmd in READS {
                    let output = run_limited(server, cmd);
                    assert_eq!(output.code, 2, "{number}: {cmd}: {output:?}");
                    let expected = format!("{} did not respond within 500ms", server.endpoint);
                    let is_expected = output.stderr.contains(&expected);
                    // The trailer of a complete empty document.
                    let is_expected = is_expected || number == 5;
                    assert!(is_expected, "{number}: {cmd}: {output:?}");
                }
            });
        }
    });
}

/// The media type that a request accepts.
fn accepted(head: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix("accept: "));
    line.unwrap().to_owned()
}

#[test]
fn a_dripping_line_of_a_stream_ends_at_the_timeout() {
    let server = Server::start(|_, _, stream| {
        let _ = stream.write_all(head(NDJSON).as_bytes());
        drip(stream, b"1\r\n{\r\n");
    });
    for cmd in ["ipvsadm -Lnc", "ipvsadm -C", "ipvsadm connections"] {
        let output = run_limited(&server, cmd);
        assert!(
            output.stderr.contains("did not respond within 500ms"),
            "{cmd}: {output:?}"
        );
    }
}

#[test]
fn a_line_or_a_document_without_end_is_refused_before_memory_ends() {
    let chunk = [b"10000\r\n".as_slice(), &[b'1'; 0x10000], b"\r\n"].concat();
    let server = Server::start(move |_, request, stream| {
        let _ = stream.write_all(head(&accepted(&request.head)).as_bytes());
        flood(stream, &chunk);
    });
    for cmd in ["ipvsadm -Lnc", "ipvsadm info", "ipvsadm -Ln --output json"] {
        let output = run(&server, &format!("ulimit -v 2000000; {cmd}"));
        assert_eq!(output.code, 2, "{cmd}: {output:?}");
        assert!(output.stderr.contains("more than"), "{cmd}: {output:?}");
    }
}

#[test]
fn a_head_without_end_is_refused_before_memory_ends() {
    for bytes in [&b"x"[..], b"x: y\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"] {
        let bytes = bytes.repeat(4096);
        let server = Server::start(move |_, _, stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            flood(stream, &bytes);
        });
        let output = run(&server, "ulimit -v 2000000; ipvsadm -Ln");
        assert_eq!(output.code, 2, "{output:?}");
        assert!(output.stderr.contains("is not HTTP/1.1"), "{output:?}");
    }
}

#[test]
fn a_list_whose_pages_do_not_end_is_refused() {
    let page = r#"{"services":[],"next_page_token":"a"}"#;
    let server = Server::responding(response("200 OK", JSON, page));
    let output = run_limited(&server, "ipvsadm -Ln --output json");
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("did not respond"), "{output:?}");
}

#[test]
fn a_success_that_is_not_a_listing_is_refused() {
    let responses = [
        response("200 OK", "text/html", "<html>log in</html>"),
        response("200 OK", JSON, "{}"),
        response("200 OK", TEXT, "hello\n"),
        response("200 OK", NDJSON, "{}\n"),
        response("200 OK", "", ""),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
    ];
    for response in responses {
        let server = Server::responding(response.clone());
        for cmd in READS {
            let output = run(&server, cmd);
            assert_eq!(output.code, 2, "{cmd}: {response}: {output:?}");
            assert_eq!(output.stdout, "", "{cmd}: {response}");
        }
    }
    // Where the type is right, the content says it.
    let rules = Server::responding(response("200 OK", TEXT, "hello\n"));
    let output = run(&rules, "ipvsadm -Sn");
    assert!(output.stderr.contains("is not ipvsd"), "{output:?}");
}

#[test]
fn rules_that_end_within_a_line_are_an_error() {
    let server = Server::responding(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n-A -t 192.0.2.1:80 -s rr\n-a -t 192",
    );
    let output = run(&server, "ipvsadm -Sn");
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("truncated"), "{output:?}");
}

#[test]
fn a_read_is_repeated_once_if_its_reply_is_lost() {
    let daemon = Daemon::start();
    let server = Server::losing(&daemon.endpoint, |number| number == 0);
    let output = run(&server, "ipvsadm -L --timeout");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let server = Server::losing(&daemon.endpoint, |_| true);
    let output = run(&server, "ipvsadm -L --timeout");
    assert_eq!(output.code, 2, "{output:?}");
    assert_eq!(server.request_lines().len(), 2);
}

#[test]
fn a_socket_that_accepts_nothing_ends_at_the_timeout() {
    use std::os::unix::net::{UnixListener, UnixStream};

    let path = std::env::temp_dir().join(format!("ipvsctl-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    // One connection is in the queue, which is full then.
    let _queued = UnixStream::connect(&path).unwrap();
    let cmd = format!(
        "ipvsadm --timeout 0.5 --endpoint unix:{} -Ln",
        path.display()
    );
    let output = shell(&cmd, "", Some(&links()), "");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("cannot be reached"), "{output:?}");
}

#[test]
fn connections_without_end_end_at_the_limit() {
    let server = Server::start(|_, _, stream| {
        let _ = stream.write_all(head(NDJSON).as_bytes());
        let address = r#"{"address":"192.0.2.1","port":80}"#;
        let line = format!(
            r#"{{"protocol":"tcp","client":{address},"virtual":{address},"destination":{address},"state":"NONE","expires_in_seconds":1}}"#
        );
        let chunk = format!("{:x}\r\n{line}\n\r\n", line.len() + 1);
        flood(stream, chunk.repeat(100).as_bytes());
    });
    let output = run(&server, "ipvsadm connections --limit 5");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let lines = output
        .stdout
        .lines()
        .filter(|line| line.contains("192.0.2.1:80"));
    assert_eq!(lines.count(), 5, "{output:?}");
}

#[test]
fn a_server_of_another_protocol_is_asked_once() {
    let server = Server::responding("SSH-2.0-OpenSSH_9.2\r\n");
    let output = run(&server, "ipvsadm -Ln");
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains("is not HTTP/1.1"), "{output:?}");
    assert_eq!(server.request_lines().len(), 1);
}

//! Tokens: where they come from, where they are sent, and what is kept from others.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    common::parity::{CommandOutput, links, shell},
    scripted::{Server, TEXT, response},
};

const SECRET: &str = "ipvsd_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const LIST: &str = "ipvsadm -Ln";
const LISTING: &str = "IP Virtual Server version 1.2.1 (size=4096)\n";

/// A server that answers listings, and a directory.
struct Fixture {
    server: Server,
    directory: PathBuf,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let name = format!("ipvsctl-{}-token-{name}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Self {
            server: Server::responding(response("200 OK", TEXT, LISTING)),
            directory,
        }
    }

    /// Writes a file with a mode; returns its path.
    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.directory.join(name);
        write(&path, text, mode);
        path.display().to_string()
    }

    /// A configuration with the director `lb1`, which has these lines.
    fn config(&self, lines: &str, mode: u32) -> String {
        let endpoint = &self.server.endpoint;
        let text = format!("[directors.lb1]\nendpoint = \"{endpoint}\"\n{lines}\n");
        self.file("config.toml", &text, mode)
    }

    /// Runs a command; a secret is in no output.
    #[track_caller]
    fn run(&self, cmd: &str) -> CommandOutput {
        let output = shell(cmd, "", Some(&links()), &self.server.endpoint);
        for text in [&output.stdout, &output.stderr] {
            assert!(!text.contains(&SECRET[6..]), "{cmd}: {text}");
        }
        output
    }

    /// Runs a command that succeeds, and returns the token that it has sent.
    #[track_caller]
    fn token(&self, cmd: &str) -> String {
        let output = self.run(cmd);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{cmd}");
        let sent = self.server.header("authorization").pop().unwrap();
        sent.strip_prefix("Bearer ").unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn refuses(&self, cmd: &str, parts: &[&str]) {
        let before = self.server.request_lines().len();
        let output = self.run(cmd);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{output:?}");
        for part in parts {
            assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
        }
        let after = self.server.request_lines().len();
        assert_eq!(after, before, "{cmd}: nothing was sent");
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_token_is_sent_with_every_request_and_that_of_a_director_precedes_the_environment() {
    let fixture = Fixture::new("sources");
    let config = fixture.config(&format!("token = \"{SECRET}\""), 0o600);
    let file = fixture.file("file", "of-file\n", 0o600);
    let variables = format!("IPVSCTL_CONFIG={config}");
    for (cmd, expected) in [
        (LIST.to_owned(), ""),
        (format!("IPVSCTL_TOKEN=of-variable {LIST}"), "of-variable"),
        (format!("IPVSCTL_TOKEN_FILE={file} {LIST}"), "of-file"),
        (format!("{LIST} --token-file {file}"), "of-file"),
        (
            format!("IPVSCTL_TOKEN=x {LIST} --token-file={file}"),
            "of-file",
        ),
        (format!("{variables} {LIST} --director lb1"), SECRET),
        (
            format!("{variables} IPVSCTL_TOKEN=of-variable {LIST} --director lb1"),
            SECRET,
        ),
        (
            format!("{variables} IPVSCTL_TOKEN_FILE={file} {LIST} --director lb1"),
            SECRET,
        ),
        (
            format!("{variables} {LIST} --director lb1 --token-file {file}"),
            "of-file",
        ),
        // Of another endpoint than the director's.
        (format!("{variables} {LIST}"), ""),
        (
            format!("{variables} IPVSCTL_TOKEN=of-variable {LIST}"),
            "of-variable",
        ),
    ] {
        assert_eq!(fixture.token(&cmd), expected, "{cmd}");
    }
    let config = fixture.config(&format!("token_file = \"{file}\""), 0o644);
    let cmd = format!("IPVSCTL_CONFIG={config} {LIST} --director lb1");
    assert_eq!(fixture.token(&cmd), "of-file");
}

#[test]
fn the_variable_is_for_the_directors_without_a_token_of_their_own() {
    let fixture = Fixture::new("all");
    let config = fixture.config(&format!("token = \"{SECRET}\""), 0o600);
    let text = std::fs::read_to_string(&config).unwrap();
    let other = format!(
        "{text}[directors.lb2]\nendpoint = \"{}\"\n",
        fixture.server.endpoint
    );
    write(config.as_ref(), &other, 0o600);
    let output = fixture.run(&format!(
        "IPVSCTL_CONFIG={config} IPVSCTL_TOKEN=of-variable ipvsadm --all -Ln"
    ));
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let mut sent = fixture.server.header("authorization");
    sent.sort();
    sent.dedup();
    assert_eq!(
        sent,
        [format!("Bearer {SECRET}"), "Bearer of-variable".to_owned()]
    );
}

#[test]
fn a_file_with_a_token_that_others_can_read_is_refused_with_the_remedy() {
    let fixture = Fixture::new("modes");
    for mode in [0o640, 0o604, 0o666] {
        let config = fixture.config(&format!("token = \"{SECRET}\""), mode);
        let remedy = format!("chmod 600 {config}");
        for cmd in ["ipvsadm --director lb1 -Ln", "ipvsadm --all -Ln"] {
            fixture.refuses(&format!("IPVSCTL_CONFIG={config} {cmd}"), &[&remedy]);
        }
        let file = fixture.file("token", SECRET, mode);
        let remedy = format!("chmod 600 {file}");
        fixture.refuses(&format!("{LIST} --token-file {file}"), &[&remedy]);
        fixture.refuses(&format!("IPVSCTL_TOKEN_FILE={file} {LIST}"), &[&remedy]);
    }
    // The remedy works.
    let file = fixture.file("token", SECRET, 0o644);
    let cmd = format!("chmod 600 {file} && {LIST} --token-file {file}");
    assert_eq!(fixture.token(&cmd), SECRET);
}

#[test]
fn a_token_that_cannot_be_sent_is_an_error_that_does_not_contain_it() {
    let fixture = Fixture::new("faulty");
    let two = format!("{SECRET} {SECRET}");
    let file = fixture.file("two", &two, 0o600);
    fixture.refuses(
        &format!("{LIST} --token-file {file}"),
        &[&file, "visible ASCII"],
    );
    fixture.refuses(
        &format!("IPVSCTL_TOKEN='{two}' {LIST}"),
        &["IPVSCTL_TOKEN: ", "visible ASCII"],
    );
    let file = fixture.file("long", &"x".repeat((16 << 10) + 3), 0o600);
    fixture.refuses(
        &format!("{LIST} --token-file {file}"),
        &[&file, "more than"],
    );
    for lines in [
        format!("token = \"{two}\""),
        format!("token = {SECRET}"),
        format!("token = [\"{SECRET}\"]"),
    ] {
        let config = fixture.config(&lines, 0o600);
        let cmd = format!("IPVSCTL_CONFIG={config} ipvsadm --director lb1 -Ln");
        fixture.refuses(&cmd, &["config.toml: line 3: "]);
    }
    let both = "IPVSCTL_TOKEN=x IPVSCTL_TOKEN_FILE=/x";
    fixture.refuses(
        &format!("{both} {LIST}"),
        &["IPVSCTL_TOKEN and IPVSCTL_TOKEN_FILE"],
    );
    let config = fixture.config("token = \"x\"\ntoken_file = \"/x\"", 0o600);
    fixture.refuses(
        &format!("IPVSCTL_CONFIG={config} ipvsadm --director lb1 -Ln"),
        &["directors.lb1.token and directors.lb1.token_file"],
    );
}

#[test]
fn a_token_is_not_sent_as_plain_text_to_another_machine() {
    let fixture = Fixture::new("plain");
    // A connection to this address is one to this machine, but ipvsctl does not take it for that.
    let other = fixture.server.endpoint.replace("127.0.0.1", "0.0.0.0");
    let list = format!("IPVSCTL_TOKEN={SECRET} ipvsadm --endpoint {other} -Ln");
    fixture.refuses(&list, &["as plain text", "--insecure-token"]);
    assert_eq!(fixture.token(&format!("{list} --insecure-token")), SECRET);
    let lines = format!("token = \"{SECRET}\"\ninsecure_token = true");
    let config = fixture.config(&lines, 0o600);
    let text = std::fs::read_to_string(&config).unwrap();
    write(
        config.as_ref(),
        &text.replace("127.0.0.1", "0.0.0.0"),
        0o600,
    );
    let cmd = format!("IPVSCTL_CONFIG={config} ipvsadm --director lb1 -Ln");
    assert_eq!(fixture.token(&cmd), SECRET);
    let text = text
        .replace("127.0.0.1", "0.0.0.0")
        .replace("= true", "= false");
    write(config.as_ref(), &text, 0o600);
    fixture.refuses(&cmd, &["as plain text"]);
    // Without a token, plain text is as before.
    assert_eq!(
        fixture.token(&format!("ipvsadm --endpoint {other} -Ln")),
        ""
    );
}

#[test]
fn a_refused_token_is_reported_with_the_daemons_detail_and_the_options() {
    for (status, reason, options) in [
        (
            "401 Unauthorized",
            "UNAUTHENTICATED",
            "--token-file FILE, IPVSCTL_TOKEN",
        ),
        (
            "403 Forbidden",
            "PERMISSION_DENIED",
            "ask for the role editor)",
        ),
    ] {
        let problem = format!(
            r#"{{"reason":"{reason}","detail":"the token has expired","hint":"ask for the role editor"}}"#
        );
        let server = Server::responding(response(status, "application/problem+json", &problem));
        for cmd in [
            "IPVSCTL_TOKEN=x ipvsadm -Ln",
            "ipvsadm -C",
            "ipvsadm info",
            "ipvsadm restore --no-clear",
            "ipvsadm audit",
        ] {
            let output = shell(cmd, "-C\n", Some(&links()), &server.endpoint);
            assert_eq!(output.code, 2, "{cmd}: {output:?}");
            let expected = "the token has expired (ask for the role editor";
            for part in [expected, options] {
                assert!(output.stderr.contains(part), "{cmd}: {output:?}");
            }
        }
    }
}

#[test]
fn an_unknown_variable_is_an_error_with_an_endpoint_too() {
    let fixture = Fixture::new("variable");
    let cmd = "IPVSCTL_TOKN=x ipvsadm --endpoint http://127.0.0.1:1 -Ln";
    fixture.refuses(
        cmd,
        &["IPVSCTL_TOKN is not a variable of ipvsctl", "IPVSCTL_TOKEN"],
    );
}

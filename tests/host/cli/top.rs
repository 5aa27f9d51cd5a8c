//! `ipvsctl top` in a terminal.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::tmux::{DEADLINE, POLL, Tmux};
use crate::{
    common::parity::{links, shell},
    scripted::{Request, Server, drip, head, response},
};

/// What a test needs in files, and daemons on the fake kernel. Dropping it ends them.
struct Machine {
    directory: PathBuf,
    daemon: Option<Child>,
}

/// A table whose services have another order by their ids.
const TABLE: &str = "\
-A -t 192.0.2.1:80 -s wrr
-a -t 192.0.2.1:80 -r 192.168.10.1:8080 -m -w 1
-a -t 192.0.2.1:80 -r 192.168.10.2:8080 -m -w 2
-A -u 192.0.2.1:53 -s rr
-a -u 192.0.2.1:53 -r 192.168.10.3:53 -m -w 0
";

/// Prints whether the terminal is as before, and the exit code.
const RESTORED: &str = r#"
    before=$(stty -g)
    echo "what was before"
    ipvsctl top
    code=$?
    [ "$(stty -g)" = "$before" ] && echo "restored, code $code"
    exec cat
"#;

// === impl Machine ===

impl Machine {
    /// `name` is that of the test.
    fn new(name: &str) -> Self {
        let name = format!("ipvsctl-{}-top-{name}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        Self {
            directory,
            daemon: None,
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn endpoint(&self) -> String {
        format!("unix://{}", self.path("socket"))
    }

    /// Makes tokens for the roles, and the policy of the daemon.
    fn make_policy(&self) {
        let make = |role: &str| {
            let command = format!("ipvsctl token create --name {role} --role {role}");
            let created = run(&command, "");
            fs::write(self.path(role), created.stdout).unwrap();
            created.stderr
        };
        let policy = make("viewer") + &make("operator") + &make("admin");
        fs::write(self.path("policy"), policy).unwrap();
        let private = format!("chmod 600 {}/*", self.directory.display());
        assert_eq!(run(&private, "").code, 0);
    }

    /// Starts the daemon, and fills its table.
    fn start(&mut self, table: &str) {
        let daemon = Command::new(env!("CARGO_BIN_EXE_ipvsd"))
            .args(["--kernel", "fake", "--policy", &self.path("policy")])
            .args(["--listen", &format!("unix:{}", self.path("socket"))])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.daemon = Some(daemon.unwrap());
        let options = format!(
            "--endpoint {} --token-file {}",
            self.endpoint(),
            self.path("admin")
        );
        let end = Instant::now() + DEADLINE;
        while UnixStream::connect(self.path("socket")).is_err() {
            assert!(Instant::now() < end, "the daemon does not listen");
            std::thread::sleep(POLL);
        }
        let filled = run(&format!("ipvsctl {options} -R"), table);
        assert_eq!((filled.code, filled.stderr.as_str()), (0, ""));
    }

    fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// The servers and their weights as in the kernel.
    fn listing(&self) -> String {
        let (endpoint, token) = (self.endpoint(), self.path("admin"));
        run(
            &format!("ipvsctl --endpoint {endpoint} --token-file {token} -Sn"),
            "",
        )
        .stdout
    }

    /// Shows the screen as this role.
    fn top(&self, role: &str) -> Tmux {
        let variables = [
            ("IPVSCTL_ENDPOINT", self.endpoint()),
            ("IPVSCTL_TOKEN_FILE", self.path(role)),
        ];
        let variables = variables
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        terminal(role, &self.directory, (80, 24), &variables, RESTORED)
    }

    /// A configuration with these directors.
    fn configure(&self, directors: &[(&str, &str)]) -> String {
        let text: String = directors
            .iter()
            .map(|(name, endpoint)| format!("[directors.{name}]\nendpoint = \"{endpoint}\"\n"))
            .collect();
        let path = self.path("config.toml");
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Runs a shell command in which `ipvsctl` is the program.
fn run(command: &str, stdin: &str) -> crate::common::parity::CommandOutput {
    let directory = std::env::temp_dir().join(format!("ipvsctl-{}-top-bin", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let link = directory.join("ipvsctl");
    let linked = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ipvsctl"), &link);
    assert!(linked.is_ok() || link.exists(), "{linked:?}");
    shell(command, stdin, Some(&directory), "http://127.0.0.1:1")
}

/// A terminal for a test with this directory.
fn terminal(
    name: &str,
    directory: &std::path::Path,
    size: (u16, u16),
    variables: &[(&str, &str)],
    command: &str,
) -> Tmux {
    // The name of the test's directory is unique.
    let name = format!("{}-{name}", directory.file_name().unwrap().display());
    Tmux::start(&name, size, variables, command)
}

/// A director with figures that do not change.
fn director() -> Server {
    let rates = |connections: f64| {
        serde_json::json!({
            "connections": connections,
            "packets_in": 10.0 * connections,
            "packets_out": 8.0 * connections,
            "bytes_in": 1200.0 * connections,
            "bytes_out": 90_000.0 * connections,
        })
    };
    let server = |number: u32| {
        serde_json::json!({
            "id": format!("192.168.10.{number}-8080"),
            "weight": 5 * (number - 1),
            "active_connections": 100 * number,
            "inactive_connections": number,
            "persistent_connections": 0,
            "rates": rates(f64::from(number)),
        })
    };
    let service = |id: &str, rate: f64, servers: Vec<serde_json::Value>| {
        serde_json::json!({
            "id": id,
            "rates": rates(rate),
            "server_count": 3,
            "available_server_count": 2,
            "active_connections": 600,
            "inactive_connections": 6,
            "servers": servers,
        })
    };
    let frame = move |services: &[serde_json::Value]| {
        let frame = serde_json::json!({
            "time": "2026-11-30T00:40:00.123Z",
            "interval_seconds": 4.001,
            "estimation": true,
            "totals": {
                "rates": rates(1240.5),
                "service_count": 3,
                "server_count": 9,
                "active_connections": 1800,
                "inactive_connections": 18,
            },
            "services": services,
        });
        let event = format!("event: stats\ndata: {frame}\n\n");
        format!("{:x}\r\n{event}\r\n", event.len())
    };
    let web = "tcp-192.0.2.1-80";
    let all = frame(&[
        service(web, 6.0, Vec::new()),
        service("tcp-2001:db8:1:2:3:4:5:6-443", 1234.5, Vec::new()),
        service("fwmark-1", 0.25, Vec::new()),
    ]);
    let one = frame(&[service(web, 6.0, (1..=3).map(server).collect())]);
    let configured = |number: u32, holds: &str| {
        format!(
            r#"{{"id":"192.168.10.{number}-8080","forwarding":"masquerade","weight":{number},
                "upper_threshold":0,"lower_threshold":0,"tunnel":null{holds}}}"#
        )
    };
    let drain =
        r#","effective_weight":0,"holds":[{"kind":"drain","id":"0123456789abcdef","weight":0}]"#;
    let servers = [configured(1, drain), configured(2, ""), configured(3, "")].join(",");
    let servers = format!("{{\"servers\":[{servers}]}}");
    Server::start(move |_, request: &Request, stream: &mut TcpStream| {
        let streamed = match request.head.split(' ').nth(1) {
            Some("/v1/stats/stream?interval_seconds=2&include=services") => &all,
            Some(
                "/v1/stats/stream?interval_seconds=2&include=servers&service=tcp-192.0.2.1-80",
            ) => &one,
            _ => {
                let response = response("200 OK", "application/json", &servers);
                let _ = stream.write_all(response.as_bytes());
                return;
            }
        };
        let _ = stream.write_all(head("text/event-stream").as_bytes());
        drip(stream, streamed.as_bytes());
    })
}

/// A screen of `tests/fixtures/cli`.
fn expected(name: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    fs::read_to_string(format!("{root}/tests/fixtures/cli/top-{name}.txt")).unwrap()
}

#[test]
fn screens_of_both_sizes_are_as_expected() {
    let machine = Machine::new("screens");
    let director = director();
    let config = machine.configure(&[("lb1", &director.endpoint)]);
    let variables = [("IPVSCTL_CONFIG", config.as_str()), ("LC_ALL", "C.UTF-8")];
    let tmux = terminal(
        "screens",
        &machine.directory,
        (80, 24),
        &variables,
        "ipvsctl top --director lb1",
    );
    tmux.wait_for_screen(&expected("services-80x24"));
    tmux.keys(&["Down", "Enter"]);
    tmux.wait_for_screen(&expected("servers-80x24"));
    tmux.resize(120, 40);
    tmux.keys(&["Escape"]);
    tmux.wait_for_screen(&expected("services-120x40"));
    tmux.keys(&["?"]);
    tmux.wait_for("┌ Keys ─");
    // The document has these screens.
    let root = env!("CARGO_MANIFEST_DIR");
    let document = fs::read_to_string(format!("{root}/docs/top.md")).unwrap();
    for name in ["services-80x24", "servers-80x24"] {
        let shown = expected(name);
        let mut lines = shown.lines().filter(|line| !line.is_empty());
        assert!(lines.all(|line| document.contains(line)), "{name}");
    }
}

#[test]
fn a_key_pressed_while_the_terminal_is_resized_is_not_lost() {
    let machine = Machine::new("resize");
    let command = "ipvsctl --endpoint http://127.0.0.1:1 top";
    let tmux = terminal("resize", &machine.directory, (80, 24), &[], command);
    tmux.wait_for("no figures");
    for (width, height) in [(120, 40), (80, 24)].repeat(15) {
        tmux.keys(&["?"]);
        tmux.wait_for("Keys");
        tmux.resize(width, height);
        tmux.keys(&["Escape"]);
        // The last line, so that it is no screen which is being drawn: a key that follows Escape at once would be
        // read as one with Alt.
        tmux.wait_until("no help", |screen| {
            screen.contains("by connections/s") && !screen.contains("Keys")
        });
    }
}

#[test]
fn without_color_and_utf8_the_screen_has_neither() {
    let machine = Machine::new("plain");
    // The port of a director that does not respond.
    let config = machine.configure(&[("a", "http://127.0.0.1:1"), ("b", "http://127.0.0.1:1")]);
    let show = |name: &str, variables: &[(&str, &str)]| {
        let mut all = vec![("IPVSCTL_CONFIG", config.as_str()), ("LC_ALL", "C")];
        all.extend(variables);
        let command = "ipvsctl --all top";
        let tmux = terminal(name, &machine.directory, (80, 24), &all, command);
        tmux.wait_for("! b: no figures: http://127.0.0.1:1");
        tmux.keys(&["?"]);
        tmux.wait_for("+ Keys -");
        assert!(tmux.screen().is_ascii());
        tmux.colored_screen()
    };
    // A color of the palette as foreground.
    let colored = |screen: &str| screen.contains("\u{1b}[38;5;1m");
    assert!(colored(&show("colored", &[])));
    assert!(!colored(&show("plain", &[("NO_COLOR", "1")])));
}

#[test]
fn servers_are_drained_and_get_weights_after_a_confirmation() {
    let mut machine = Machine::new("changes");
    machine.make_policy();
    machine.start(TABLE);
    let tmux = machine.top("operator");
    tmux.wait_for("total of 2 services");
    // By id: the service over TCP is the first.
    tmux.keys(&["Left", "Left", "Left", "Left", "Enter"]);
    tmux.wait_for("192.168.10.2-8080");
    tmux.keys(&["Left", "Left", "Left", "Left", "Home", "d"]);
    tmux.wait_for("Drain 192.168.10.1-8080?");
    tmux.keys(&["n"]);
    tmux.keys(&["d", "y"]);
    tmux.wait_for("192.168.10.1-8080 is drained");
    tmux.wait_until("the drain in its row", |screen| {
        let mut lines = screen.lines();
        lines.any(|line| line.contains("192.168.10.1-8080") && line.ends_with("drain"))
    });
    tmux.keys(&["End", "w", "7", "Enter"]);
    tmux.wait_for("Change the weight of 192.168.10.2-8080 from 2 to 7?");
    tmux.keys(&["y"]);
    tmux.wait_for("192.168.10.2-8080 has the weight 7");
    assert!(machine.listing().contains("-r 192.168.10.2:8080 -m -w 7"));
    tmux.keys(&["Home", "u", "y"]);
    tmux.wait_for("of 192.168.10.1-8080 has ended");
    tmux.wait_until("no drain", |screen| {
        !screen.lines().any(|line| line.ends_with("drain"))
    });
}

#[test]
fn a_viewer_is_refused_and_sees_why() {
    let mut machine = Machine::new("viewer");
    machine.make_policy();
    machine.start(TABLE);
    let tmux = machine.top("viewer");
    tmux.wait_for("total of 2 services");
    tmux.keys(&["Left", "Left", "Left", "Left", "Enter"]);
    tmux.wait_for("192.168.10.2-8080");
    tmux.keys(&["d", "y"]);
    tmux.wait_for("requires the role operator");
    tmux.keys(&["w", "9", "Enter", "y"]);
    tmux.wait_for("requires the role");
    assert!(!machine.listing().contains("-w 9"));
}

#[test]
fn a_director_that_does_not_respond_is_shown_with_the_age_of_its_figures_until_it_does() {
    let mut machine = Machine::new("restart");
    machine.make_policy();
    machine.start(TABLE);
    let tmux = machine.top("viewer");
    tmux.wait_for("total of 2 services");
    machine.stop();
    let screen = tmux.wait_for(" s old: ");
    assert!(screen.contains("tcp-192.0.2.1-80"), "{screen}");
    machine.start("-A -t 192.0.2.9:80\n");
    let screen = tmux.wait_for("tcp-192.0.2.9-80");
    assert!(!screen.contains(" s old"), "{screen}");
}

#[test]
fn the_terminal_is_restored_in_whichever_way_it_ends() {
    let mut machine = Machine::new("end");
    machine.make_policy();
    machine.start(TABLE);
    for (role, end, code) in [
        ("viewer", "q", 0),
        ("operator", "C-c", 0),
        ("admin", "", 143),
    ] {
        let tmux = machine.top(role);
        tmux.wait_for("total of 2 services");
        match end {
            "" => {
                let shell = tmux.pid();
                let children = format!("/proc/{shell}/task/{shell}/children");
                let children = fs::read_to_string(children).unwrap();
                let child = children.trim().parse().unwrap();
                kill(Pid::from_raw(child), Signal::SIGTERM).unwrap();
            }
            key => tmux.keys(&[key]),
        }
        let screen = tmux.wait_for("restored, code");
        assert_eq!(screen, format!("what was before\nrestored, code {code}\n"));
    }
}

#[test]
fn without_a_terminal_that_can_show_a_screen_it_is_refused() {
    let output = shell("ipvsadm top", "", Some(&links()), "http://127.0.0.1:1");
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    for part in ["must be a terminal", "`ipvsctl -Ln --rate --watch`"] {
        assert!(output.stderr.contains(part), "{output:?}");
    }
    let machine = Machine::new("dumb");
    let command = "TERM=dumb ipvsctl top; echo code $?; exec cat";
    let tmux = terminal("dumb", &machine.directory, (80, 24), &[], command);
    let screen = tmux.wait_for("code 2");
    assert!(
        screen.starts_with("ipvsctl: top: TERM is \"dumb\""),
        "{screen}"
    );
    assert!(screen.contains("--watch"), "{screen}");
}

//! Subcommands and global options of ipvsctl.

use serde_json::Value;

use super::daemon::Daemon;

const TABLE: &str = "\
-A -t 192.0.2.1:80 -s wlc -p 60
-a -t 192.0.2.1:80 -r 192.168.10.3:80 -m -w 1 -x 9 -y 4
-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 2
-a -t 192.0.2.1:80 -r 192.168.10.2:80 -m -w 3
-A -f 4294967295 -s rr -M 255.255.255.0
";

/// Starts a daemon with [`TABLE`].
fn setup() -> Daemon {
    let daemon = Daemon::start();
    let output = daemon.run("ipvsadm -R", TABLE);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    daemon
}

#[test]
fn restore_reproduces_what_save_printed_in_the_kernels_order() {
    let daemon = setup();
    let order = daemon.run("ipvsadm -Ln --nosort", "").stdout;
    let saved = daemon.run("ipvsadm save", "").stdout;
    let output = daemon.run("ipvsadm restore", &saved);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert_eq!(daemon.run("ipvsadm -Ln --nosort", "").stdout, order);
    assert_eq!(daemon.run("ipvsadm save", "").stdout, saved);
    // -S and -R keep the table, thresholds, mask and mark included.
    let saved = daemon.run("ipvsadm -Sn", "").stdout;
    daemon.run("ipvsadm -C", "");
    assert_eq!(daemon.run("ipvsadm -R", &saved).code, 0);
    assert_eq!(daemon.run("ipvsadm -Sn", "").stdout, saved);
}

#[test]
fn restore_with_an_invalid_line_changes_nothing() {
    let daemon = setup();
    let before = daemon.run("ipvsadm save", "").stdout;
    let output = daemon.run("ipvsadm restore", "-C\n-A -t 1.2.3.4\nfoo\n-L\n# fine\n");
    assert_eq!(output.code, 2);
    assert_eq!(
        output.stderr,
        "line 2: Zero port specified for non-persistent service: -A -t 1.2.3.4\n\
         line 3: does not begin with a command: foo\n\
         line 4: only commands that change the table are allowed: -L\n\
         ipvsadm: 3 invalid lines; nothing was changed\n"
    );
    assert_eq!(daemon.run("ipvsadm restore --dry-run", "-C\n").code, 0);
    assert_eq!(daemon.run("ipvsadm save", "").stdout, before);
}

#[test]
fn keep_going_continues_and_reports_lines() {
    let daemon = setup();
    let text = "-A -t 192.0.2.1:80\nfoo\n-A -t 192.0.2.9:80 -s rr\n-d -f 1 -r 1.2.3.4\n";
    let output = daemon.run("ipvsadm -R --keep-going", text);
    assert_eq!(output.code, 1);
    assert_eq!(
        output.stderr,
        "line 1: Service already exists: -A -t 192.0.2.1:80 -s wlc\n\
         line 2: Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n\
         line 4: Service not defined: -d -f 1 -r 1.2.3.4:0\n"
    );
    assert!(
        daemon
            .run("ipvsadm -Sn", "")
            .stdout
            .contains("192.0.2.9:80")
    );
    // Without the option, as ipvsadm: the invalid line ends the restore.
    let output = daemon.run("ipvsadm -R", text);
    assert_eq!(output.code, 255);
    assert_eq!(
        output.stderr,
        "Service already exists\nTry `ipvsadm -h' or 'ipvsadm --help' for more information.\n"
    );
}

#[test]
fn output_is_available_as_json_and_yaml() {
    let daemon = setup();
    let json = |cmd: &str| {
        let output = daemon.run(cmd, "");
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{cmd}");
        serde_json::from_str::<Value>(&output.stdout).unwrap()
    };
    let table = json("ipvsadm -Ln --stats --output json");
    assert_eq!(
        table["services"][0]["servers"][0]["stats"]["connections"],
        0
    );
    assert_eq!(
        json("ipvsadm -L -t 192.0.2.1:80 --output json")["scheduler"],
        "wlc"
    );
    assert_eq!(
        json("ipvsadm --output json -L --timeout")["tcp_seconds"],
        900
    );
    assert!(json("ipvsadm -L --daemon --output=json")["sync_daemons"].is_array());
    assert_eq!(
        json("ipvsadm save --output json"),
        json("ipvsadm -S --output json")
    );
    assert!(json("ipvsadm -Lnc --output json")["connections"].is_array());
    assert_eq!(json("ipvsadm info --output json")["kernel"]["kind"], "fake");
    assert_eq!(
        json("ipvsadm settings am_droprate --output json")["am_droprate"],
        10
    );
    let yaml = daemon.run("ipvsadm -Ln --output yaml", "").stdout;
    assert!(yaml.contains("scheduler: wlc"), "{yaml}");
}

#[test]
fn settings_shows_and_changes_settings() {
    let daemon = setup();
    assert_eq!(
        daemon.run("ipvsadm settings expire_nodest_conn", "").stdout,
        "false\n"
    );
    let output = daemon.run(
        "ipvsadm settings expire_nodest_conn=1 sync_threshold=4,60",
        "",
    );
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert_eq!(
        daemon.run("ipvsadm settings expire_nodest_conn", "").stdout,
        "true\n"
    );
    assert_eq!(
        daemon.run("ipvsadm settings sync_threshold", "").stdout,
        "4,60\n"
    );
    assert_eq!(daemon.run("ipvsadm settings nosuch=1", "").code, 2);
    for (arguments, names) in [
        (
            "conntrack=1 nosuch=2 other=x",
            r#"no such setting: "nosuch", "other"; "#,
        ),
        ("conntrack nosuch", r#"no such setting: "nosuch"; "#),
        ("conntrack=1 drop_entry", r#""drop_entry" without a value"#),
    ] {
        let output = daemon.run(&format!("ipvsadm settings {arguments}"), "");
        assert_eq!(output.code, 2, "{}", output.stderr);
        assert!(output.stderr.contains(names), "{}", output.stderr);
        let lists = output.stderr.contains("am_droprate, amemthresh, ");
        assert_eq!(lists, arguments.contains("nosuch"), "{}", output.stderr);
    }
    let conntrack = daemon.run("ipvsadm settings conntrack", "");
    assert_eq!(conntrack.stdout, "false\n", "nothing was set");
    assert_eq!(daemon.run("ipvsadm settings am_droprate=x", "").code, 2);
}

#[test]
fn an_unreachable_director_is_reported_in_one_line() {
    let daemon = setup();
    let output = daemon.run("ipvsadm --endpoint http://127.0.0.1:1 -Ln", "");
    assert_eq!(output.code, 2);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(
        output
            .stderr
            .contains("http://127.0.0.1:1 cannot be reached")
    );
    let output = daemon.run("ipvsadm --endpoint foo://x -Ln", "");
    assert_eq!(
        (output.code, output.stderr.lines().count()),
        (2, 1),
        "{}",
        output.stderr
    );
    // After the command, --timeout is ipvsadm's option.
    assert_eq!(daemon.run("ipvsadm --timeout 5 -L --timeout", "").code, 0);
    assert_eq!(daemon.run("ipvsadm --timeout 0 -Ln", "").code, 2);
}

#[test]
fn directors_are_selected_by_name() {
    let daemon = setup();
    let path = std::env::temp_dir().join(format!("ipvsctl-{}.toml", std::process::id()));
    let config = format!(
        "default = \"a\"\n[directors.a]\nendpoint = \"{0}\"\n[directors.b]\nendpoint = \"{0}\"\n",
        daemon.endpoint
    );
    std::fs::write(&path, config).unwrap();
    let run = |cmd: &str| {
        let cmd = format!(
            "unset IPVSCTL_ENDPOINT; IPVSCTL_CONFIG={} {cmd}",
            path.display()
        );
        daemon.run(&cmd, "")
    };
    assert_eq!(
        run("ipvsadm -Sn").stdout,
        run("ipvsadm --director b -Sn").stdout
    );
    let all = run("ipvsadm --all -Sn").stdout;
    assert!(
        all.starts_with("==> a <==\n-A") && all.contains("\n\n==> b <==\n-A"),
        "{all}"
    );
    let all: Value = serde_json::from_str(&run("ipvsadm --all -Ln --output json").stdout).unwrap();
    assert_eq!(all["a"]["services"], all["b"]["services"]);
    assert_eq!(run("ipvsadm --all -C").code, 2);
    assert_eq!(run("ipvsadm --director c -Sn").code, 2);
    let listed = run("ipvsadm directors").stdout;
    assert!(
        listed.contains("a*") && listed.contains("IPVS 1.2.1"),
        "{listed}"
    );
    let _ = std::fs::remove_file(path);
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let daemon = setup();
    let output = daemon.run(
        "ipvsadm -Ln | head -1; ipvsadm help | head -1; ipvsadm man | true",
        "",
    );
    assert_eq!(output.stderr, "");
}

#[test]
fn output_that_is_lost_is_an_error() {
    let daemon = setup();
    for cmd in [
        "ipvsadm -Ln",
        "ipvsadm -L",
        "ipvsadm -Sn",
        "ipvsadm-save -n",
        "ipvsadm save",
        "ipvsadm -L --timeout",
        "ipvsadm -Lnc",
        "ipvsadm -Ln --output json",
        "ipvsadm info",
        "ipvsadm settings",
        "ipvsadm help",
        "ipvsadm info --help",
        "ipvsadm -h",
        "ipvsadm -v",
        "ipvsadm man",
        "ipvsadm completion bash",
    ] {
        for (to, error) in [
            (">/dev/full", "No space left"),
            (">&-", "Bad file descriptor"),
        ] {
            let output = daemon.run(&format!("{cmd} {to}"), "");
            assert_eq!(output.code, 2, "{cmd} {to}: {output:?}");
            let expected = format!("output: {error}");
            assert!(output.stderr.contains(&expected), "{cmd} {to}: {output:?}");
        }
        // Python's DEVNULL is open for reading, too.
        let output = daemon.run(&format!("{cmd} 1<>/dev/null"), "");
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{cmd}");
    }
    let output = daemon.run("echo -Ln | ipvsadm -R >/dev/full", "");
    assert_eq!(output.code, 2, "{output:?}");
    // A command that prints nothing needs no output.
    let output = daemon.run("ipvsadm -Z >&-", "");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
}

#[test]
fn large_tables_are_read_and_written_in_one_request() {
    let daemon = setup();
    let mut text = String::new();
    for i in 0..2_000 {
        let (high, low) = (i / 250, i % 250 + 1);
        text += &format!("-A -t 10.1.{high}.{low}:80 -s rr\n");
        for server in 1..=4 {
            text += &format!("-a -t 10.1.{high}.{low}:80 -r 10.2.0.{server}:80 -m -w {server}\n");
        }
    }
    daemon.requests();
    let output = daemon.run("ipvsadm restore", &text);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert_eq!(daemon.requests(), ["/v1/rules"]);
    assert_eq!(daemon.run("ipvsadm -Sn", "").stdout, text);
    assert_eq!(daemon.requests(), ["/v1/rules"]);
    let listed = daemon.run("ipvsadm -Ln", "").stdout;
    assert_eq!(listed.lines().count(), 3 + 10_000);
    assert_eq!(daemon.requests(), ["/v1/listing"]);
    // Names are resolved by ipvsctl, which prints the header line itself.
    daemon.run("ipvsadm -L", "");
    assert_eq!(daemon.requests(), ["/v1/info", "/v1/services"]);
}

#[test]
fn a_list_of_several_pages_keeps_all_fields() {
    let daemon = Daemon::start_with(&[
        ("IPVSD_LIMITS_DEFAULT_PAGE_SIZE", "2"),
        ("IPVSD_LIMITS_MAX_PAGE_SIZE", "2"),
    ]);
    let mut table = String::new();
    for port in 1..=5 {
        table += &format!("-A -t 192.0.2.1:{port} -s rr\n");
    }
    assert_eq!(daemon.run("ipvsadm -R", &table).code, 0);
    let json = |cmd: &str| -> Value {
        let output = daemon.run(cmd, "");
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{cmd}");
        serde_json::from_str(&output.stdout).unwrap()
    };
    let list = json("ipvsadm -Ln --stats --output json");
    let services = list["services"].as_array().unwrap();
    let ports: Vec<_> = services.iter().map(|service| &service["port"]).collect();
    assert_eq!(ports, [1, 2, 3, 4, 5]);
    assert_eq!(list["estimation"], true);
    assert_eq!(list["next_page_token"], Value::Null);
}

#[test]
fn help_manual_and_completions_are_printed() {
    let daemon = setup();
    for (cmd, text) in [
        ("ipvsadm -h", "--tun-remcsum"),
        ("ipvsadm help", "--tun-remcsum"),
        ("ipvsadm info --help", "--endpoint"),
        ("ipvsadm man", "\\-\\-tun\\-remcsum"),
        ("ipvsadm help restore", "--no-clear"),
        ("ipvsadm help -A", "--add-service"),
        ("ipvsadm help scheduler", "wlc"),
        ("ipvsadm help endpoint", "4787"),
        ("ipvsadm help -t", "--tcp-service"),
        ("ipvsadm completion bash", "complete "),
        ("ipvsadm completion zsh", "compdef "),
        ("ipvsadm completion fish", "complete "),
    ] {
        let output = daemon.run(cmd, "");
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{cmd}");
        assert!(output.stdout.contains(text), "{cmd}: {}", output.stdout);
    }
    let output = daemon.run("ipvsadm help nothing", "");
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    assert!(output.stderr.contains("\"nothing\" is not a subcommand"));
    let output = daemon.run("ipvsadm info --no-such-option", "");
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    assert!(output.stderr.contains("--no-such-option"));
    let output = daemon.run("ipvsadm --output xml -Ln", "");
    assert_eq!(output.code, 2);
    assert_eq!(
        output.stderr,
        "ipvsadm: invalid value \"xml\" for --output: expected table, json, yaml\n"
    );
}

#[test]
fn the_version_is_shown_with_and_without_a_director() {
    let daemon = setup();
    let own = format!("ipvsctl {}\n", *ipvsd::version::LONG);
    let output = daemon.run("ipvsadm version", "");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert!(output.stdout.starts_with(&own), "{output:?}");
    assert!(output.stdout.contains("\nipvsd "), "{output:?}");
    let output = daemon.run("ipvsadm version --endpoint http://127.0.0.1:1", "");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert!(output.stdout.starts_with(&own), "{output:?}");
    assert!(output.stdout.contains("cannot be reached"), "{output:?}");
    let output = daemon.run(
        "ipvsadm version --endpoint http://127.0.0.1:1 --output json",
        "",
    );
    let versions: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(versions["ipvsd"], Value::Null);
}

#[test]
fn yaml_has_the_order_of_the_api() {
    let daemon = setup();
    let yaml = daemon.run("ipvsadm save --output yaml", "").stdout;
    let keys: Vec<_> = yaml
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(
        keys[..5],
        ["services", "- id", "  protocol", "  address", "  port"],
        "{yaml}"
    );
}

#[test]
fn the_shell_completes_services_servers_and_directors() {
    let daemon = setup();
    let config =
        std::env::temp_dir().join(format!("ipvsctl-{}-completion.toml", std::process::id()));
    let text = format!("[directors.lb-one]\nendpoint = \"{}\"\n", daemon.endpoint);
    std::fs::write(&config, text).unwrap();
    let complete = |words: &[&str]| {
        let list: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let (list, last) = (list.join(" "), words.len() - 1);
        let script = format!(
            "ipvsctl() {{ ipvsadm \"$@\"; }}; . /dev/stdin; COMP_WORDS=({list}); COMP_CWORD={last}; \
             _clap_complete_ipvsctl ipvsctl \"${{COMP_WORDS[COMP_CWORD]}}\"; printf \"%s\\n\" \"${{COMPREPLY[@]}}\""
        );
        let script = script.replace('\'', "'\\''");
        let cmd = format!(
            "export IPVSCTL_CONFIG={}; ipvsadm completion bash | bash -c '{script}'",
            config.display()
        );
        let output = daemon.run(&cmd, "");
        assert_eq!(output.stderr, "", "{words:?}");
        output.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["ipvsctl", "-E", "-t", "192"]), ["192.0.2.1:80"]);
    assert_eq!(complete(&["ipvsctl", "-E", "-f", ""]), ["4294967295"]);
    assert_eq!(
        complete(&["ipvsctl", "-d", "-t", "192.0.2.1:80", "-r", "192.168.10.1"]),
        ["192.168.10.1:80"]
    );
    assert_eq!(complete(&["ipvsctl", "--director", "lb"]), ["lb-one"]);
    assert_eq!(
        complete(&["ipvsctl", "--director", "lb-one", "-D", "-t", ""]),
        ["192.0.2.1:80"]
    );
    // Without a director there are no values, and no messages.
    let unreachable = [
        "ipvsctl",
        "--endpoint",
        "http://127.0.0.1:1",
        "-D",
        "-t",
        "19",
    ];
    assert_eq!(complete(&unreachable), [""]);
    std::fs::remove_file(config).unwrap();
}

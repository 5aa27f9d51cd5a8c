//! `ipvsctl save` and `ipvsctl restore`: by difference, in every format, and of the whole state.

use serde_json::{Value, json};

use super::daemon::Daemon;

const TABLE: &str = "\
-A -t 192.0.2.1:80 -s wlc -p 60
-a -t 192.0.2.1:80 -r 192.168.10.3:80 -m -w 1 -x 9 -y 4
-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 2
-a -t 192.0.2.1:80 -r 192.168.10.2:80 -i -w 0 --tun-type gue --tun-port 6080
-A -u [2001:db8::1]:53 -s sh -b sh-port -o
-A -f 4294967295 -s rr -M 255.255.255.0 --pe sip
";

/// Starts a daemon with [`TABLE`].
fn setup() -> Daemon {
    let daemon = Daemon::start();
    let output = daemon.run("ipvsadm -R", TABLE);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    daemon
}

fn run(daemon: &Daemon, cmd: &str, stdin: &str) -> String {
    let output = daemon.run(cmd, stdin);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{cmd}");
    output.stdout
}

/// The number of services and servers that a restore of `saved` would create, edit and delete, and
/// those that it would leave alone.
fn difference(daemon: &Daemon, saved: &str) -> [usize; 4] {
    let report = run(daemon, "ipvsadm restore --dry-run", saved);
    let line = report
        .lines()
        .find_map(|line| line.strip_prefix("services and servers: "));
    let numbers = line.unwrap().split(|c: char| !c.is_ascii_digit());
    let numbers = numbers.filter(|number| !number.is_empty());
    let numbers: Vec<_> = numbers.map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

#[test]
fn restoring_an_unchanged_table_touches_nothing() {
    let daemon = setup();
    let order = run(&daemon, "ipvsadm -Ln --nosort", "");
    for save in [
        "ipvsadm save",
        "ipvsadm save --output json",
        "ipvsadm save --output yaml",
        "ipvsadm save --full",
        "ipvsadm save --full --output yaml",
        "ipvsadm -S --output json",
        "ipvsadm -Sn",
    ] {
        let saved = run(&daemon, save, "");
        assert_eq!(difference(&daemon, &saved), [0, 0, 0, 6], "{save}");
        assert_eq!(run(&daemon, "ipvsadm restore", &saved), "", "{save}");
        assert_eq!(run(&daemon, "ipvsadm -Ln --nosort", ""), order);
    }
}

#[test]
fn every_format_of_save_restores_the_table_in_its_order() {
    let daemon = setup();
    let order = run(&daemon, "ipvsadm -Ln --nosort", "");
    let rules = run(&daemon, "ipvsadm -Sn", "");
    for format in ["table", "json", "yaml"] {
        let saved = run(&daemon, &format!("ipvsadm save --output {format}"), "");
        run(&daemon, "ipvsadm -C", "");
        run(&daemon, "ipvsadm restore", &saved);
        assert_eq!(run(&daemon, "ipvsadm -Sn", ""), rules, "{format}");
        assert_eq!(run(&daemon, "ipvsadm -Ln --nosort", ""), order, "{format}");
        run(&daemon, "ipvsadm restore --clear", &saved);
        assert_eq!(run(&daemon, "ipvsadm -Ln --nosort", ""), order, "{format}");
    }
    // The format need not be detected.
    let saved = run(&daemon, "ipvsadm save --output json", "");
    run(&daemon, "ipvsadm restore --input yaml", &saved);
    assert_eq!(daemon.run("ipvsadm restore --input text", &saved).code, 2);
}

#[test]
fn restore_makes_the_difference() {
    let daemon = setup();
    let saved = run(&daemon, "ipvsadm save", "");
    run(
        &daemon,
        "ipvsadm -R",
        "-d -t 192.0.2.1:80 -r 192.168.10.1:80\n\
         -e -t 192.0.2.1:80 -r 192.168.10.3:80 -m -w 7\n\
         -A -t 192.0.2.9:80\n",
    );
    let changed = run(&daemon, "ipvsadm -Sn", "");
    assert_eq!(difference(&daemon, &saved), [1, 1, 1, 4]);
    assert_eq!(run(&daemon, "ipvsadm -Sn", ""), changed, "a dry run");
    run(&daemon, "ipvsadm restore", &saved);
    assert_eq!(difference(&daemon, &saved), [0, 0, 0, 6]);
    // Without the difference: on the existing table, where everything exists.
    let output = daemon.run("ipvsadm restore --no-clear", "-A -t 192.0.2.1:80\n");
    assert_eq!(output.code, 1);
    assert_eq!(
        output.stderr,
        "line 1: Service already exists: -A -t 192.0.2.1:80 -s wlc\n"
    );
    let output = daemon.run(
        "ipvsadm restore",
        "-A -t 192.0.2.1:80\n-A -t 192.0.2.1:80\n-Z\n",
    );
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("line 2: "), "{output:?}");
    assert!(output.stderr.contains("line 3: only "), "{output:?}");
}

#[test]
fn an_empty_input_is_refused() {
    let daemon = setup();
    let before = run(&daemon, "ipvsadm -Sn", "");
    for (cmd, input) in [
        ("ipvsadm restore", ""),
        ("ipvsadm restore", "\n# nothing\n"),
        ("ipvsadm restore --clear", ""),
        ("ipvsadm restore --input json", "{}"),
        ("ipvsadm restore", "{}"),
    ] {
        let output = daemon.run(cmd, input);
        assert_eq!(output.code, 2, "{cmd} {input:?}");
        assert_eq!(
            output.stderr,
            "ipvsadm: the input is empty: nothing to restore; `ipvsctl -C` clears the table\n"
        );
        assert_eq!(run(&daemon, "ipvsadm -Sn", ""), before);
    }
    // A document says that there are no services.
    assert_eq!(difference(&daemon, "{\"services\": []}"), [0, 0, 6, 0]);
    run(&daemon, "ipvsadm restore", "services: []\n");
    assert_eq!(run(&daemon, "ipvsadm -Sn", ""), "");
}

#[test]
fn the_whole_state_is_saved_and_restored_by_difference() {
    let daemon = setup();
    run(&daemon, "ipvsadm --set 901 121 301", "");
    run(
        &daemon,
        "ipvsadm --start-daemon master --mcast-interface lo --syncid 7",
        "",
    );
    run(&daemon, "ipvsadm settings conntrack=true", "");
    for format in ["json", "yaml"] {
        let save = format!("ipvsadm save --full --output {format}");
        let saved = run(&daemon, &save, "");
        let unchanged = "settings: unchanged\n\
             timeouts: unchanged\n\
             services and servers: 0 to create, 0 to edit, 0 to delete, 6 unchanged\n\
             sync daemons: unchanged\n";
        let report = run(&daemon, "ipvsadm restore --dry-run", &saved);
        assert_eq!(report, unchanged, "{format}");
        for cmd in [
            "ipvsadm -C",
            "ipvsadm --set 5 6 7",
            "ipvsadm --stop-daemon master",
            "ipvsadm --start-daemon backup --mcast-interface lo",
            "ipvsadm settings conntrack=false sync_threshold=4,60",
        ] {
            run(&daemon, cmd, "");
        }
        let report = run(&daemon, "ipvsadm restore --dry-run", &saved);
        assert_eq!(
            report,
            "settings: conntrack 0 -> 1, sync_threshold 4,60 -> 3,50\n\
             timeouts: tcp_seconds 5 -> 901, tcp_fin_seconds 6 -> 121, udp_seconds 7 -> 301\n\
             services and servers: 6 to create, 0 to edit, 0 to delete, 0 unchanged\n\
             sync daemons: stop backup, start master on lo\n"
        );
        run(&daemon, "ipvsadm restore", &saved);
        let report = run(&daemon, "ipvsadm restore --dry-run", &saved);
        assert_eq!(report, unchanged, "{format}");
        assert_eq!(run(&daemon, &save, ""), saved);
    }
}

#[test]
fn a_restore_changes_only_what_the_document_contains() {
    let daemon = setup();
    let before = run(&daemon, "ipvsadm -Sn", "");
    run(
        &daemon,
        "ipvsadm --start-daemon master --mcast-interface lo",
        "",
    );
    let text = "timeouts:\n  udp_seconds: 5\nsettings: {conntrack: true}\n";
    run(&daemon, "ipvsadm restore", text);
    assert_eq!(
        run(&daemon, "ipvsadm -L --timeout", ""),
        "Timeout (tcp tcpfin udp): 900 120 5\n"
    );
    assert_eq!(run(&daemon, "ipvsadm settings conntrack", ""), "true\n");
    assert_eq!(run(&daemon, "ipvsadm -Sn", ""), before);
    assert!(run(&daemon, "ipvsadm -L --daemon", "").contains("master"));
    run(&daemon, "ipvsadm restore", "{\"sync_daemons\": []}");
    assert_eq!(run(&daemon, "ipvsadm -L --daemon", ""), "");
}

#[test]
fn a_document_with_a_faulty_part_changes_nothing() {
    let daemon = setup();
    let save = "ipvsadm save --full";
    let saved: Value = serde_json::from_str(&run(&daemon, save, "")).unwrap();
    let before = run(&daemon, save, "");
    let server = "/services/0/servers/0";
    for (pointer, value, message) in [
        ("/services/0/port", json!(-1), "services[0].port: "),
        (
            "/services/0/scheduler",
            json!(""),
            "services[0].scheduler: ",
        ),
        (
            "/services/0/servers",
            json!(null),
            "services[0].servers: is required",
        ),
        (
            &format!("{server}/weight"),
            json!(-1),
            "services[0].servers[0].weight: ",
        ),
        (
            &format!("{server}/wieght"),
            json!(1),
            "services[0].servers[0].wieght: unknown field",
        ),
        (
            "/services/1",
            saved["services"][0].clone(),
            "services[1].id: ",
        ),
        ("/timeouts/tcp_seconds", json!(0), "timeouts.tcp_seconds: "),
        ("/timeouts/tpc_seconds", json!(1), "tpc_seconds"),
        ("/settings/conntrack", json!(7), "settings.conntrack: "),
        (
            "/settings/contrack",
            json!(true),
            "settings.contrack: no such setting",
        ),
        ("/settings/est_nice", json!(100), "settings.est_nice: "),
        (
            "/sync_daemons/0",
            json!({"state": "master"}),
            "sync_daemons[0].interface: ",
        ),
        ("/sync_daemons/0", json!({"state": "slave"}), "slave"),
        ("/rules", json!([]), "rules: unknown field"),
    ] {
        let mut document = saved.clone();
        // Everything else differs from the state of the director, too.
        document["timeouts"]["udp_seconds"] = json!(77);
        document["settings"]["backup_only"] = json!(true);
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match document.pointer_mut(parent).unwrap() {
            Value::Array(list) if list.len() <= key.parse().unwrap() => list.push(value),
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
            parent => parent[key] = value,
        }
        let text = document.to_string();
        for cmd in ["ipvsadm restore", "ipvsadm restore --dry-run"] {
            let output = daemon.run(cmd, &text);
            assert_eq!(output.code, 2, "{pointer}: {output:?}");
            assert!(output.stderr.contains(message), "{pointer}: {output:?}");
            assert!(
                output.stderr.contains("nothing was changed"),
                "{pointer}: {output:?}"
            );
            assert_eq!(run(&daemon, save, ""), before, "{pointer}");
        }
    }
    for text in [
        "{\"services\": [",
        "services: [",
        "{\"services\": []} x",
        "a: b: c\n",
    ] {
        let output = daemon.run("ipvsadm restore", text);
        assert_eq!(output.code, 2, "{text}: {output:?}");
    }
    assert_eq!(run(&daemon, save, ""), before);
}

#[test]
fn settings_that_the_director_does_not_have_are_named() {
    let daemon = Daemon::start();
    // Known to ipvsd, but not a setting of the simulated kernel.
    let all = run(&daemon, "ipvsadm settings --output json", "");
    let all: Value = serde_json::from_str(&all).unwrap();
    let missing = ipvsd::model::SETTINGS
        .iter()
        .find(|spec| all.get(spec.name).is_none());
    let missing = missing.expect("a setting of other kernels").name;
    let text = json!({"settings": {missing: 1, "conntrack": true}}).to_string();
    let output = daemon.run("ipvsadm restore", &text);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(output.stderr.contains(missing), "{output:?}");
    assert_eq!(run(&daemon, "ipvsadm settings conntrack", ""), "false\n");
}

#[test]
fn values_that_another_program_has_set_are_restored() {
    let daemon = Daemon::start();
    let table = "\
-A -t 192.0.2.1:80 -s rr
-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 100000
-a -t 192.0.2.1:80 -r 192.168.10.2:80 -m -w 2147483647
";
    run(&daemon, "ipvsadm -R", table);
    for save in [
        "ipvsadm save",
        "ipvsadm save --full",
        "ipvsadm -S --output yaml",
    ] {
        let saved = run(&daemon, save, "");
        run(&daemon, "ipvsadm -C", "");
        run(&daemon, "ipvsadm restore", &saved);
        assert_eq!(run(&daemon, "ipvsadm -Sn", ""), table, "{save}");
        assert_eq!(difference(&daemon, &saved), [0, 0, 0, 3], "{save}");
    }
    let text = "{\"services\": [{\"id\": \"fwmark-1\", \"servers\": [{\"address\": \"10.0.0.1\", \"weight\": 2147483648}]}]}";
    let output = daemon.run("ipvsadm restore", text);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(
        output.stderr.contains("services[0].servers[0].weight: "),
        "{output:?}"
    );
}

#[test]
fn long_lines_are_shortened_if_the_daemon_refuses_the_text() {
    // A text may have 64 times this.
    let daemon = Daemon::start_with(&[("IPVSD_LIMITS_MAX_BODY_BYTES", "1024")]);
    let blank = format!("{}\n", " ".repeat(1 << 17));
    let text = format!(
        "{blank}--add-service --tcp-service 192.0.2.1:80{blank}\n--edit-server{blank}\
         -d -t 192.0.2.1:80 -r 10.0.0.1\n-a -t 192.0.2.1:80 -r 10.0.0.2 -m{blank}"
    );
    let output = daemon.run("ipvsadm -R --keep-going", &text);
    assert_eq!(output.code, 1, "{output:?}");
    let lines: Vec<_> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("line 4: "), "{lines:?}");
    assert!(lines[1].starts_with("line 5: "), "{lines:?}");
    let table = "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 1\n";
    assert_eq!(run(&daemon, "ipvsadm -Sn", ""), table);
    // Valid and numeric lines are sent as they are at first. The table is cleared once.
    let text = format!("-A -f 1{blank}{table}");
    for command in [
        "ipvsadm-restore",
        "ipvsadm restore",
        "ipvsadm restore --clear",
    ] {
        run(&daemon, command, &text);
        let saved = run(&daemon, "ipvsadm -Sn", "");
        assert_eq!(saved, format!("{table}-A -f 1 -s wlc\n"), "{command}");
    }
    // One that is too long in any form is refused.
    let text = "-Z\n".repeat(30_000);
    let output = daemon.run("ipvsadm -R", &text);
    assert_eq!(output.code, 2, "{output:?}");
    assert!(
        output.stderr.contains("longer than 65536 bytes"),
        "{output:?}"
    );
}

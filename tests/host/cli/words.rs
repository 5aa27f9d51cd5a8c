//! What ipvsadm has no words for.

use serde_json::Value;

use super::daemon::Daemon;

const TABLE: &str = "\
-A -t 192.0.2.1:80 -s wlc -p 60
-a -t 192.0.2.1:80 -r 192.168.10.3:80 -m -w 1 -x 9 -y 4
-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 2
-a -t 192.0.2.1:80 -r 192.168.10.2:80 -m -w 3
-A -f 4294967295 -s rr -M 255.255.255.0
";

fn daemon() -> Daemon {
    let daemon = Daemon::start();
    let said = daemon.run("ipvsadm -R", TABLE);
    assert_eq!((said.rc, said.err.as_str()), (0, ""));
    daemon
}

#[test]
fn what_save_prints_restore_gives_back_in_the_kernels_order() {
    let daemon = daemon();
    let order = daemon.run("ipvsadm -Ln --nosort", "").out;
    let saved = daemon.run("ipvsadm save", "").out;
    let said = daemon.run("ipvsadm restore", &saved);
    assert_eq!((said.rc, said.err.as_str()), (0, ""));
    assert_eq!(daemon.run("ipvsadm -Ln --nosort", "").out, order);
    assert_eq!(daemon.run("ipvsadm save", "").out, saved);
    // Sorted, the same table, thresholds, mask and mark included.
    let saved = daemon.run("ipvsadm -Sn", "").out;
    daemon.run("ipvsadm -C", "");
    assert_eq!(daemon.run("ipvsadm -R", &saved).rc, 0);
    assert_eq!(daemon.run("ipvsadm -Sn", "").out, saved);
}

#[test]
fn a_faulty_text_changes_nothing() {
    let daemon = daemon();
    let before = daemon.run("ipvsadm save", "").out;
    let said = daemon.run("ipvsadm restore", "-C\n-A -t 1.2.3.4\nfoo\n-L\n# fine\n");
    assert_eq!(said.rc, 2);
    assert_eq!(
        said.err,
        "line 2: Zero port specified for non-persistent service: -A -t 1.2.3.4\n\
         line 3: begins with no command: foo\n\
         line 4: only commands that change something can be restored: -L\n\
         ipvsctl: 3 faulty lines; nothing was changed\n"
            .replace("ipvsctl:", "ipvsadm:")
    );
    assert_eq!(daemon.run("ipvsadm restore --check", "-C\n").rc, 0);
    assert_eq!(daemon.run("ipvsadm save", "").out, before);
}

#[test]
fn lines_that_fail_are_named_where_that_is_asked_for() {
    let daemon = daemon();
    let text = "-A -t 192.0.2.1:80\nfoo\n-A -t 192.0.2.9:80 -s rr\n-d -f 1 -r 1.2.3.4\n";
    let said = daemon.run("ipvsadm -R --keep-going", text);
    assert_eq!(said.rc, 1);
    assert_eq!(
        said.err,
        "line 1: Service already exists: -A -t 192.0.2.1:80 -s wlc\n\
         line 2: Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n\
         line 4: Service not defined: -d -f 1 -r 1.2.3.4:0\n"
    );
    assert!(daemon.run("ipvsadm -Sn", "").out.contains("192.0.2.9:80"));
    // As the original: the fault ends it, with its own code and without a number.
    let said = daemon.run("ipvsadm -R", text);
    assert_eq!(said.rc, 255);
    assert_eq!(
        said.err,
        "Service already exists\nTry `ipvsadm -h' or 'ipvsadm --help' for more information.\n"
    );
}

#[test]
fn answers_come_as_json_and_yaml() {
    let daemon = daemon();
    let json = |cmd: &str| {
        let said = daemon.run(cmd, "");
        assert_eq!((said.rc, said.err.as_str()), (0, ""), "{cmd}");
        serde_json::from_str::<Value>(&said.out).unwrap()
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
    let yaml = daemon.run("ipvsadm -Ln --output yaml", "").out;
    assert!(yaml.contains("scheduler: wlc"), "{yaml}");
}

#[test]
fn settings_are_shown_and_changed() {
    let daemon = daemon();
    assert_eq!(
        daemon.run("ipvsadm settings expire_nodest_conn", "").out,
        "false\n"
    );
    let said = daemon.run(
        "ipvsadm settings expire_nodest_conn=1 sync_threshold=4,60",
        "",
    );
    assert_eq!((said.rc, said.err.as_str()), (0, ""));
    assert_eq!(
        daemon.run("ipvsadm settings expire_nodest_conn", "").out,
        "true\n"
    );
    assert_eq!(
        daemon.run("ipvsadm settings sync_threshold", "").out,
        "4,60\n"
    );
    assert_eq!(daemon.run("ipvsadm settings nosuch=1", "").rc, 2);
    assert_eq!(daemon.run("ipvsadm settings am_droprate=x", "").rc, 2);
}

#[test]
fn a_director_that_is_not_there_is_one_line() {
    let daemon = daemon();
    let said = daemon.run("ipvsadm --endpoint http://127.0.0.1:1 -Ln", "");
    assert_eq!(said.rc, 2);
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    assert!(said.err.contains("http://127.0.0.1:1 cannot be reached"));
    let said = daemon.run("ipvsadm --endpoint foo://x -Ln", "");
    assert_eq!((said.rc, said.err.lines().count()), (2, 1), "{}", said.err);
    // After the command the word is ipvsadm's.
    assert_eq!(daemon.run("ipvsadm --timeout 5 -L --timeout", "").rc, 0);
    assert_eq!(daemon.run("ipvsadm --timeout 0 -Ln", "").rc, 2);
}

#[test]
fn directors_have_names() {
    let daemon = daemon();
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
    assert_eq!(run("ipvsadm -Sn").out, run("ipvsadm --director b -Sn").out);
    let all = run("ipvsadm --all -Sn").out;
    assert!(
        all.starts_with("==> a <==\n-A") && all.contains("\n\n==> b <==\n-A"),
        "{all}"
    );
    let all: Value = serde_json::from_str(&run("ipvsadm --all -Ln --output json").out).unwrap();
    assert_eq!(all["a"]["services"], all["b"]["services"]);
    assert_eq!(run("ipvsadm --all -C").rc, 2);
    assert_eq!(run("ipvsadm --director c -Sn").rc, 2);
    let listed = run("ipvsadm directors").out;
    assert!(
        listed.contains("a*") && listed.contains("IPVS 1.2.1"),
        "{listed}"
    );
    let _ = std::fs::remove_file(path);
}

#[test]
fn a_closed_pipe_is_no_crash() {
    let daemon = daemon();
    let said = daemon.run(
        "ipvsadm -Ln | head -1; ipvsadm help | head -1; ipvsadm man | true",
        "",
    );
    assert_eq!(said.err, "");
    assert_eq!(
        daemon.run("ipvsadm -Ln >/dev/full", "").rc,
        0,
        "as the original"
    );
    assert_eq!(daemon.run("ipvsadm save >/dev/full", "").rc, 2);
}

#[test]
fn a_table_of_any_size_is_one_request() {
    let daemon = daemon();
    let mut text = String::new();
    for i in 0..2_000 {
        let (high, low) = (i / 250, i % 250 + 1);
        text += &format!("-A -t 10.1.{high}.{low}:80 -s rr\n");
        for server in 1..=4 {
            text += &format!("-a -t 10.1.{high}.{low}:80 -r 10.2.0.{server}:80 -m -w {server}\n");
        }
    }
    daemon.requests();
    let said = daemon.run("ipvsadm restore", &text);
    assert_eq!((said.rc, said.err.as_str()), (0, ""));
    assert_eq!(daemon.requests(), ["/v1/rules"]);
    assert_eq!(daemon.run("ipvsadm -Sn", "").out, text);
    assert_eq!(daemon.requests(), ["/v1/rules"]);
    let listed = daemon.run("ipvsadm -Ln", "").out;
    assert_eq!(listed.lines().count(), 3 + 10_000);
    assert_eq!(daemon.requests(), ["/v1/listing"]);
    // Names are ours to look up: one more for the header line.
    daemon.run("ipvsadm -L", "");
    assert_eq!(daemon.requests(), ["/v1/info", "/v1/services"]);
}

#[test]
fn completion_and_manual_know_every_option() {
    let daemon = daemon();
    for shell in ["bash", "zsh", "fish"] {
        let script = daemon.run(&format!("ipvsadm completion {shell}"), "").out;
        for word in ["add-service", "tun-remcsum", "connections", "endpoint"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let man = daemon.run("ipvsadm man", "").out;
    let help = daemon.run("ipvsadm help", "").out;
    for option in ipvsd::ipvsadm::option_names() {
        assert!(man.contains(&option.replace('-', "\\-")), "{option}");
        assert!(help.contains(option), "{option}");
    }
}

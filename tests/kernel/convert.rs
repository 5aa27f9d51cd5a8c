//! `ipvsctl convert` on a real kernel: what it makes of a text gives the table that ipvsadm makes of it, and of a
//! keepalived.conf that of keepalived.

use std::path::Path;

use crate::{
    common::parity::{links, shell},
    support::{
        Namespace,
        daemon::{ADDRESS, Daemon},
        lists, rules,
    },
};

/// What ipvsadm can save.
const RULES: &str = "\
-A -t 192.0.2.1:80 -s sh -p 60 -M 255.255.255.0 -b sh-fallback,sh-port
-a -t 192.0.2.1:80 -r 10.0.0.3:80 -m -w 0
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 65535
-a -t 192.0.2.1:80 -r 10.0.0.2:80 -i -w 3 --tun-type gue --tun-port 6080 --tun-nocsum
-A -t 192.0.2.9:5060 -s rr -p 30 --pe sip
-A -u 192.0.2.1:53 -s rr -o
-a -u 192.0.2.1:53 -r 10.0.0.9:53 -g -w 1
-A -t [2001:db8::1]:80 -s wlc
-a -t [2001:db8::1]:80 -r [2001:db8::9]:80 -m -w 1
-A -f 7 -s mh -b mh-port
-a -f 7 -r 10.0.0.1:0 -m -w 1
-A -f 8 -6 -s rr -p 300 -M 64
";

/// Runs a command line of ipvsctl, which must succeed.
fn ipvsctl(line: &str, stdin: &str) -> String {
    let endpoint = format!("http://{ADDRESS}");
    let cmd = format!("ipvsadm {line}");
    let output = shell(&cmd, stdin, Some(&links()), &endpoint);
    assert_eq!(output.code, 0, "{line}: {output:?}");
    output.stdout
}

/// A namespace in which the kernel accepts all real servers.
fn namespace() -> Namespace {
    let namespace = Namespace::new();
    for line in [
        "link add d0 type dummy",
        "addr add 10.99.0.1/24 dev d0",
        "link set d0 up",
        "route add default dev d0",
    ] {
        namespace.ip(line);
    }
    namespace
}

/// The services of a saved table, in any order; their servers in the kernel's.
fn services(saved: &str) -> Vec<String> {
    let mut services: Vec<String> = Vec::new();
    for line in saved.lines() {
        match services.last_mut() {
            Some(service) if line.starts_with("-a") => *service += &format!("\n{line}"),
            _ => services.push(line.to_owned()),
        }
    }
    services.sort();
    services
}

#[test]
fn a_table_saved_by_ipvsadm_is_the_same_after_convert_and_apply() {
    namespace().run(|| {
        let _daemon = Daemon::start(&[]);
        rules(RULES);
        let (text, order) = (lists("-S -n"), ipvsctl("save", ""));
        let file = ipvsctl("convert - --strict", &text);
        let kept = ipvsctl("convert - --strict", &order);
        rules("-C\n");
        let apply = "apply -f - --owner text --max-deletes 100%";
        ipvsctl(apply, &file);
        assert_eq!(lists("-S -n"), text);
        // ipvsadm saves servers in another order than the kernel's, and no thresholds; `ipvsctl save` does.
        rules("-C\n");
        ipvsctl(apply, &kept);
        assert_eq!(ipvsctl("save", ""), order);
    });
}

/// `keepalived.rules` is what keepalived 2.2.7 made of `keepalived.conf` on this kernel.
#[test]
fn a_converted_keepalived_conf_gives_the_table_of_keepalived() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keepalived");
    let wanted = std::fs::read_to_string(fixtures.join("keepalived.rules")).unwrap();
    namespace().run(|| {
        let _daemon = Daemon::start(&[]);
        let file = fixtures.join("keepalived.conf");
        let convert = format!("convert {} --config-id lb1 --owner web", file.display());
        ipvsctl("apply -f -", &ipvsctl(&convert, ""));
        assert_eq!(services(&ipvsctl("save", "")), services(&wanted));
    });
}

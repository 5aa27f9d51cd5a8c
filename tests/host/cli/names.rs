//! Name resolution with a fake `getent`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::daemon::Daemon;
use crate::common::parity::CommandOutput;

/// Resolves one name in each direction, and hangs for one address.
const GETENT: &str = "\
#!/bin/sh
case \"$*\" in
'ahosts -- lb1') printf '127.0.0.1 STREAM lb1\\n127.0.0.1 DGRAM\\n' ;;
'ahostsv4 -- vip') printf '192.0.2.1 STREAM vip\\n192.0.2.9 STREAM\\n' ;;
'hosts -- 192.0.2.1') echo '192.0.2.1 vip.example.test vip' ;;
*192.168.10.1*) exec sleep 1000 ;;
*) exit 2 ;;
esac
";
/// Time limit for the names of a listing.
const LISTING_TIMEOUT: Duration = Duration::from_secs(5);
/// Additional time on a busy machine.
const MARGIN: Duration = Duration::from_secs(20);

struct Fixture {
    daemon: Daemon,
    directory: PathBuf,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let directory = format!("ipvsctl-{}-{name}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        fs::create_dir_all(&directory).unwrap();
        let program = directory.join("getent");
        fs::write(&program, GETENT).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        Self {
            // lb1 is none of the names that the daemon knows by itself.
            daemon: Daemon::start_with(&[("IPVSD_ALLOWED_HOSTS", "lb1")]),
            directory,
        }
    }

    fn run(&self, cmd: &str) -> CommandOutput {
        let path = self.directory.display();
        self.daemon.run(&format!("PATH={path}:$PATH; {cmd}"), "")
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn host_names_in_command_lines_and_endpoints_are_resolved() {
    let fixture = Fixture::new("looked-up");
    let endpoint = fixture.daemon.endpoint.replace("127.0.0.1", "lb1");
    let output = fixture.run(&format!("ipvsadm --endpoint {endpoint} -A -t vip:80"));
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert_eq!(
        fixture.run("ipvsadm -Sn").stdout,
        "-A -t 192.0.2.1:80 -s wlc\n"
    );
    let output = fixture.run("ipvsadm --endpoint http://lb2 -Sn");
    assert_eq!(output.code, 2);
    assert_eq!(
        output.stderr,
        "ipvsadm: http://lb2:4787 cannot be reached: lb2 is not known\n"
    );
    assert_eq!(fixture.run("ipvsadm -A -t nobody:80").code, 2);
}

#[test]
fn a_listing_does_not_wait_for_a_resolver_that_hangs() {
    let fixture = Fixture::new("dead");
    fixture.run("ipvsadm -A -t vip:80; ipvsadm -a -t vip:80 -r 192.168.10.1 -m");
    let start = Instant::now();
    let output = fixture.run("ipvsadm -S");
    let time = start.elapsed();
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert_eq!(
        output.stdout.replace(":http", ":80"),
        "-A -t vip.example.test:80 -s wlc\n\
         -a -t vip.example.test:80 -r 192.168.10.1:80 -m -w 1\n"
    );
    assert!(
        (LISTING_TIMEOUT..LISTING_TIMEOUT + MARGIN).contains(&time),
        "{time:?}"
    );
}

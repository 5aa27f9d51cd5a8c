//! Names that a `getent` of our own knows, and does not answer for.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::daemon::Daemon;
use crate::common::parity::Said;

/// Knows one host each way, and hangs for another.
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
/// How long a listing waits for names, and what it takes on a busy machine beside that.
const PATIENCE: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_secs(20);

struct Named {
    daemon: Daemon,
    directory: PathBuf,
}

impl Named {
    fn new(name: &str) -> Self {
        let directory = format!("ipvsctl-{}-{name}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        fs::create_dir_all(&directory).unwrap();
        let program = directory.join("getent");
        fs::write(&program, GETENT).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        Self {
            daemon: Daemon::start(),
            directory,
        }
    }

    fn run(&self, cmd: &str) -> Said {
        let path = self.directory.display();
        self.daemon.run(&format!("PATH={path}:$PATH; {cmd}"), "")
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn names_of_a_command_line_and_of_an_endpoint_are_looked_up() {
    let named = Named::new("looked-up");
    let endpoint = named.daemon.endpoint.replace("127.0.0.1", "lb1");
    let said = named.run(&format!("ipvsadm --endpoint {endpoint} -A -t vip:80"));
    assert_eq!((said.rc, said.err.as_str()), (0, ""));
    assert_eq!(named.run("ipvsadm -Sn").out, "-A -t 192.0.2.1:80 -s wlc\n");
    let said = named.run("ipvsadm --endpoint http://lb2 -Sn");
    assert_eq!(said.rc, 2);
    assert_eq!(
        said.err,
        "ipvsadm: http://lb2:4787 cannot be reached: lb2 is not known\n"
    );
    assert_eq!(named.run("ipvsadm -A -t nobody:80").rc, 2);
}

#[test]
fn a_resolver_that_does_not_answer_does_not_hang_a_listing() {
    let named = Named::new("dead");
    named.run("ipvsadm -A -t vip:80; ipvsadm -a -t vip:80 -r 192.168.10.1 -m");
    let begun = Instant::now();
    let said = named.run("ipvsadm -S");
    let time = begun.elapsed();
    assert_eq!((said.rc, said.err.as_str()), (0, ""));
    assert_eq!(
        said.out.replace(":http", ":80"),
        "-A -t vip.example.test:80 -s wlc\n\
         -a -t vip.example.test:80 -r 192.168.10.1:80 -m -w 1\n"
    );
    assert!((PATIENCE..PATIENCE + SLACK).contains(&time), "{time:?}");
}

//! `lab/run-host`: what `make run` starts on a kernel with IPVS, here with the fake kernel.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::harness::TempDir;

/// A running `lab/run-host`.
struct RunHost {
    process: Child,
    /// What it printed once ipvsd was ready.
    hints: Vec<String>,
    socket: PathBuf,
}

/// Starts the script with its runtime directory in `parent`.
fn run_host(parent: &Path) -> RunHost {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/run-host");
    let mut process = Command::new(script)
        .args([env!("CARGO_BIN_EXE_ipvsd"), env!("CARGO_BIN_EXE_ipvsctl")])
        .env("XDG_RUNTIME_DIR", parent)
        .env("IPVSD_KERNEL", "fake")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut hints = Vec::new();
    for line in BufReader::new(process.stdout.take().unwrap()).lines() {
        hints.push(line.unwrap());
        if hints.last().unwrap().starts_with("Ctrl-C") {
            break;
        }
    }
    let ready = "ipvsd is ready at unix:";
    let socket = hints.iter().find_map(|line| line.strip_prefix(ready));
    let socket = PathBuf::from(socket.expect("the hints name the socket"));
    RunHost {
        process,
        hints,
        socket,
    }
}

impl RunHost {
    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// Runs the printed command that contains `text`.
    fn run_hint(&self, text: &str) -> String {
        let hint = self.hints.iter().find(|line| line.contains(text)).unwrap();
        let output = Command::new("sh").args(["-c", hint]).output().unwrap();
        assert!(output.status.success(), "{hint}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Stops the script, which stops ipvsd.
    fn stop(&mut self) {
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &pid]).status();
        let _ = self.process.wait();
    }
}

impl Drop for RunHost {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn make_run_on_the_host_serves_its_user_only_and_may_run_twice() {
    let parent = TempDir::new();
    let first = run_host(&parent.0);
    let second = run_host(&parent.0);
    assert_ne!(first.socket, second.socket);
    for mut run in [first, second] {
        assert!(run.socket.starts_with(&parent.0));
        assert_eq!(RunHost::mode(run.socket.parent().unwrap()), 0o700);
        assert_eq!(RunHost::mode(&run.socket), 0o600);
        let listing = run.run_hint(" -Ln ");
        assert!(listing.starts_with("IP Virtual Server"), "{listing}");
        for line in run.hints.iter().filter(|line| line.contains("curl -")) {
            assert!(line.contains(" --unix-socket "), "{line}");
        }
        run.stop();
        assert!(!run.socket.parent().unwrap().exists());
    }
}

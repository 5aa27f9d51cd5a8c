//! What the suites on a real kernel share.
//!
//! Each test has network namespaces of its own, so all run at the same time in one kernel, start
//! with an empty table and leave nothing behind.
#![allow(
    dead_code,
    reason = "each suite is a program of its own and uses a part of this"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics fails"
)]

pub mod api;
pub mod cases;
pub mod daemon;
pub mod expected;
pub mod grpc;
pub mod http;
pub mod translate;
pub mod world;

use std::{
    fs::File,
    io::Write,
    process::{Command, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ipvsd::{
    executor::{Executor, ExecutorLimits},
    kernel::NetlinkKernel,
};
use nix::sched::{CloneFlags, setns, unshare};

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

/// A network namespace of the running kernel, with `lo` up.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// A new one, which ends with the last thread, process and handle in it.
    pub fn new() -> Self {
        let own = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("needs root");
            // Without an address there are no routes, and IPVS refuses all real servers.
            run("ip", ["link", "set", "lo", "up"]);
            Self(File::open("/proc/thread-self/ns/net").unwrap())
        };
        let namespace = thread::spawn(own).join().expect("no namespace");
        assert_eq!(
            namespace.save(),
            "",
            "a new namespace has an empty table: is this a kernel with IPVS? run it in lab/uml-run"
        );
        namespace
    }

    /// The one that `ip netns` knows by this name, made by it.
    pub fn named(name: &str) -> Self {
        run("ip", ["netns", "add", name]);
        let namespace = Self(File::open(format!("/run/netns/{name}")).unwrap());
        namespace.ip("link set lo up");
        namespace
    }

    /// Does `work` in it for as long as that takes, while the test goes on.
    pub fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        let own = self.0.try_clone().unwrap();
        thread::spawn(move || {
            setns(&own, CloneFlags::CLONE_NEWNET).expect("cannot enter the namespace");
            work();
        });
    }

    /// Does `work` in it, on a thread of its own. What it starts lives in it, too.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = || {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("cannot enter the namespace");
                work()
            };
            match scope.spawn(inside).join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// What `ip` is told, in it: `link add d0 type dummy`.
    pub fn ip(&self, line: &str) {
        self.run(|| run("ip", line.split_whitespace()));
    }

    /// Writes a setting of the namespace, `net/ipv4/ip_forward`.
    pub fn sysctl(&self, name: &str, value: &str) {
        self.run(|| std::fs::write(format!("/proc/sys/{name}"), value))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Runs the real ipvsadm in it.
    pub fn ipvsadm(&self, line: &str, stdin: &str) -> Output {
        self.run(|| ipvsadm(line, stdin))
    }

    /// What the real ipvsadm lists in it.
    pub fn lists(&self, line: &str) -> String {
        self.run(|| lists(line))
    }

    /// The table as the real ipvsadm saves it.
    pub fn save(&self) -> String {
        self.lists("-S -n")
    }

    /// An interface's other end goes to `other`.
    pub fn link(&self, name: &str, other: &Self, other_name: &str) {
        let path = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            std::os::fd::AsRawFd::as_raw_fd(&other.0)
        );
        self.ip(&format!(
            "link add {name} type veth peer name {other_name} netns {path}"
        ));
    }
}

/// Runs a program that must succeed.
pub fn run<'a>(program: &str, args: impl IntoIterator<Item = &'a str>) -> String {
    let mut command = Command::new(program);
    let output = command.args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the real ipvsadm in this thread's namespace.
pub fn ipvsadm(line: &str, stdin: &str) -> Output {
    let mut child = Command::new("ipvsadm")
        .args(line.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ipvsadm is needed (apt-get install ipvsadm)");
    let mut input = child.stdin.take().unwrap();
    // It may end without reading.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    child.wait_with_output().unwrap()
}

/// What the real ipvsadm lists in this thread's namespace.
pub fn lists(line: &str) -> String {
    let output = ipvsadm(line, "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ipvsadm {line}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the real ipvsadm does in this thread's namespace, which must succeed.
pub fn rules(rules: &str) {
    let output = ipvsadm("-R", rules);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ipvsadm -R: {said}");
}

/// An executor on the kernel, in this thread's namespace.
pub fn executor() -> Executor {
    Executor::start(
        Arc::new(NetlinkKernel::new(None)),
        ExecutorLimits::default(),
    )
    .expect("no executor")
}

/// Looks until `look` has something, or fails with what it last said.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + SOON;
    loop {
        match look() {
            Ok(value) => return value,
            Err(said) => assert!(Instant::now() < end, "{what}: not in time: {said}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

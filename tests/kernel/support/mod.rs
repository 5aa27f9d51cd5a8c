//! Shared by the suites on a real kernel.
//!
//! Each test has its own network namespaces, so that tests can run at the same time in one kernel, start
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
pub mod failing;
pub mod grpc;
pub mod http;
pub mod translate;
pub mod watch;
pub mod web;
pub mod world;

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use ipvsd::{
    executor::{Executor, ExecutorLimits, TableQuery},
    kernel::NetlinkKernel,
    model::ServiceEntry,
};
use nix::sched::{CloneFlags, setns, unshare};

pub use crate::common::random::Random;

/// Longer than any step takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

/// A network namespace of the running kernel, with `lo` up.
#[derive(Debug)]
pub struct Namespace(File);

/// A folder that is removed at the end.
pub struct Folder(pub PathBuf);

/// The table of a namespace as the real ipvsadm saves it. ipvsadm is started only if the kernel's table is
/// another one than the last time: starting a process takes most of the time of most steps.
pub struct Saves {
    executor: Executor,
    runtime: tokio::runtime::Runtime,
    last: Mutex<Option<(Vec<ServiceEntry>, String)>>,
}

impl Folder {
    /// Creates a folder, whose name has this in it.
    pub fn new(name: &str) -> Self {
        let name = format!("ipvsd-kernel-{name}-{}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Saves {
    /// Of the namespace of this thread.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            executor: executor(),
            runtime: { runtime }.enable_all().build().unwrap(),
            last: Mutex::default(),
        }
    }

    /// The table as `save` returns it, now or when the kernel's table was the same.
    pub fn get(&self, save: impl FnOnce() -> String) -> String {
        let deadline = Instant::now() + SOON;
        let read = self
            .executor
            .reader
            .read(TableQuery, Duration::ZERO, deadline);
        let table = self.runtime.block_on(read).unwrap().value.to_vec();
        let mut last = self.last.lock().unwrap();
        if let Some((known, text)) = &*last
            && *known == table
        {
            return text.clone();
        }
        let text = save();
        *last = Some((table, text.clone()));
        text
    }
}

impl Namespace {
    /// Creates a namespace, which ends with the last thread, process and handle in it.
    pub fn new() -> Self {
        let own = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("needs root");
            // Without an address there are no routes, and IPVS rejects all real servers.
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

    /// Creates a namespace with a name for `ip netns`.
    pub fn named(name: &str) -> Self {
        run("ip", ["netns", "add", name]);
        let namespace = Self(File::open(format!("/run/netns/{name}")).unwrap());
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `work` in the namespace, on a thread that the test does not wait for.
    pub fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        let own = self.0.try_clone().unwrap();
        thread::spawn(move || {
            setns(&own, CloneFlags::CLONE_NEWNET).expect("cannot enter the namespace");
            work();
        });
    }

    /// Runs `work` in the namespace, on a new thread. Processes and threads that it starts are in it too.
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

    /// Runs `ip` in the namespace: `link add d0 type dummy`.
    pub fn ip(&self, line: &str) {
        self.run(|| run("ip", line.split_whitespace()));
    }

    /// Writes a sysctl of the namespace: `net/ipv4/ip_forward`.
    pub fn sysctl(&self, name: &str, value: &str) {
        self.run(|| std::fs::write(format!("/proc/sys/{name}"), value))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Runs the real ipvsadm in the namespace.
    pub fn ipvsadm(&self, line: &str, stdin: &str) -> Output {
        self.run(|| ipvsadm(line, stdin))
    }

    /// A listing of the real ipvsadm in the namespace.
    pub fn lists(&self, line: &str) -> String {
        self.run(|| lists(line))
    }

    /// The table as saved by the real ipvsadm.
    pub fn save(&self) -> String {
        self.lists("-S -n")
    }

    /// Creates a veth pair: `name` here, `other_name` in `other`.
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
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
    // The program may end without reading.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    child.wait_with_output().unwrap()
}

/// A listing of the real ipvsadm in this thread's namespace.
pub fn lists(line: &str) -> String {
    let output = ipvsadm(line, "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ipvsadm {line}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Restores rules with the real ipvsadm in this thread's namespace. Must succeed.
pub fn rules(rules: &str) {
    let output = ipvsadm("-R", rules);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ipvsadm -R: {stderr}");
}

/// An executor on the kernel, in this thread's namespace.
pub fn executor() -> Executor {
    Executor::start(
        Arc::new(NetlinkKernel::new(None)),
        ExecutorLimits::default(),
    )
    .expect("no executor")
}

/// Repeats `attempt` until it succeeds; fails with its last error after [`SOON`].
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + SOON;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < end, "{what}: timed out: {error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

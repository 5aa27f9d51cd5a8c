//! The daemon under a service manager: notifications, watchdog, and sockets that it inherits.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::Path,
    process::{Command, Stdio},
};

use super::{
    harness::{DEADLINE, TempDir},
    process::{Process, exchange},
};

/// Starts the daemon with its standard input and output as the sockets 3 and 4.
const ACTIVATE: &str = r#"LISTEN_PID=$$ exec "$0" "$@" 3<&0 4<&1"#;

/// Starts the daemon with these sockets, names and options.
fn activate(sockets: [OwnedFd; 2], names: &str, options: &[&str]) -> std::process::Child {
    let [first, second] = sockets;
    Command::new("/bin/sh")
        .args(["-c", ACTIVATE, env!("CARGO_BIN_EXE_ipvsd")])
        .args(options)
        .env_clear()
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", names)
        .env("IPVSD_KERNEL", "fake")
        .stdin(first)
        .stdout(second)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the service manager receives next.
fn next(manager: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = manager.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// Receives until there is a notification that begins with this text; returns it.
fn wait_for(manager: &UnixDatagram, text: &str) -> String {
    loop {
        let notification = next(manager);
        if notification.starts_with(text) {
            return notification;
        }
    }
}

#[test]
fn the_service_manager_is_notified_of_begin_reload_progress_and_end() {
    let directory = TempDir::new();
    let path = directory.0.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut process = Process::spawn("", |command| {
        let command = command.stderr(Stdio::null()).env("NOTIFY_SOCKET", &path);
        command.env("WATCHDOG_USEC", "20000")
    });
    assert_eq!(next(&manager), "READY=1\n");
    assert!(process.request("GET", "/healthz").contains("200 OK"));
    let status = format!("STATUS=Serving on unix:{}\n", process.socket.display());
    assert_eq!(wait_for(&manager, "STATUS="), status);
    for _ in 0..3 {
        wait_for(&manager, "WATCHDOG=1\n");
    }
    process.signal("HUP");
    let reloading = wait_for(&manager, "RELOADING=1\n");
    let time = reloading.lines().nth(1).unwrap();
    let time = time.strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(time.parse::<u64>().unwrap() > 0, "{reloading}");
    wait_for(&manager, "READY=1\n");
    process.signal("TERM");
    assert_eq!(
        wait_for(&manager, "STOPPING=1\n"),
        "STOPPING=1\nSTATUS=Draining\n"
    );
    assert!(process.wait().success());
}

#[test]
fn inherited_sockets_are_served_instead_of_the_default_ones() {
    let directory = TempDir::new();
    let path = directory.0.join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    // Connections wait before the daemon runs.
    let mut early = TcpStream::connect(address).unwrap();
    let mut child = activate([unix.into(), tcp.into()], "a:b", &["--dev"]);
    assert!(exchange(&mut early, "GET", "/v1/info", "").contains("200 OK"));
    let mut stream = UnixStream::connect(&path).unwrap();
    assert!(exchange(&mut stream, "GET", "/v1/info", "").contains("200 OK"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_files_of_inherited_sockets_are_kept_and_chosen_addresses_are_served_too() {
    let directory = TempDir::new();
    let [path, own] = ["socket", "own"].map(|name| directory.0.join(name));
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let kept = unix.try_clone().unwrap();
    let of = |path: &Path| format!("unix:{}", path.display());
    let listen = [of(&path), of(&own)];
    let options = ["--dev", "--listen", &listen[0], "--listen", &listen[1]];
    let child = activate([unix.into(), tcp.into()], "", &options);
    let mut stream = UnixStream::connect(&path).unwrap();
    assert!(exchange(&mut stream, "GET", "/v1/info", "").contains("200 OK"));
    let mut stream = UnixStream::connect(&own).unwrap();
    assert!(exchange(&mut stream, "GET", "/v1/info", "").contains("200 OK"));
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(path.exists() && !own.exists());
    drop(kept);
}

#[test]
fn sockets_that_cannot_be_served_are_refused() {
    let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let exposed = || OwnedFd::from(TcpListener::bind("0.0.0.0:0").unwrap());
    let datagram = OwnedFd::from(UnixDatagram::unbound().unwrap());
    let file = OwnedFd::from(fs::File::open("/dev/null").unwrap());
    let (connected, _peer) = UnixStream::pair().unwrap();
    for count in ["-1", "65", "99999999999999", "x"] {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", ACTIVATE, env!("CARGO_BIN_EXE_ipvsd")]);
        let output = command.env("LISTEN_FDS", count).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("is not a number from 0 to 64"), "{error}");
    }
    for (first, names, options, status, expected) in [
        (
            datagram,
            "",
            &[][..],
            1,
            "socket 1 of the service manager (LISTEN_FDS): it is not a stream socket",
        ),
        (file, "", &[], 1, "ListenStream="),
        (
            connected.into(),
            "",
            &[],
            1,
            "it does not listen; use Accept=no",
        ),
        (exposed(), "", &[], 2, "LISTEN_FDS: listen"),
        (listener(), "tls-1:b", &[], 2, "tls.certificate"),
    ] {
        let child = activate([first, listener()], names, options);
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{error}");
        assert!(error.contains(expected), "{expected:?}: {error}");
    }
}

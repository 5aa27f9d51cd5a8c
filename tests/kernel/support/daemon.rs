//! The daemon itself, as a process.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{Folder, until};

/// `ipvsd` in the namespace of the thread that started it; it ends with this.
pub struct Daemon(Child);

/// Where it listens: every namespace has ports of its own.
pub const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4787);

impl Daemon {
    /// Starts it and waits until it listens.
    pub fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ipvsd"));
        command.args(args);
        Self::of(command)
    }

    /// Starts it with its state in a folder, and these variables.
    pub fn with_state(folder: &Folder, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ipvsd"));
        command.env("IPVSD_STATE_DIR", &folder.0);
        command.envs(variables.iter().copied());
        Self::of(command)
    }

    /// Starts it by a command that becomes it, without access control, and waits until it listens.
    pub fn of(mut command: Command) -> Self {
        command.arg("--dev");
        Self::listening(command)
    }

    /// Starts it by a command that becomes it, and waits until it listens.
    pub fn listening(mut command: Command) -> Self {
        let quiet = std::env::var_os("IPVSD_TEST_LOG").is_none();
        // The daemon accepts no variables of this prefix but its own.
        for name in ["IPVSD_TEST_LOG", "IPVSD_TEST_OPERATIONS"] {
            command.env_remove(name);
        }
        if quiet {
            command.stderr(Stdio::null());
        }
        let mut child = command
            .arg("--listen")
            .arg(ADDRESS.to_string())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        until("ipvsd listens", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("{command:?} ended: {status}");
            }
            TcpStream::connect(ADDRESS)
                .map(drop)
                .map_err(|error| error.to_string())
        });
        Self(child)
    }

    /// Ends it as a service manager does, and waits until it has ended.
    pub fn stop(mut self) {
        let pid = Pid::from_raw(self.0.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let status = until("ipvsd ends", || {
            let status = self.0.try_wait().unwrap();
            status.ok_or("it runs".to_owned())
        });
        assert!(status.success(), "{status}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a write, and returns whether it was acknowledged before the connection ended: a daemon may be killed
/// meanwhile.
pub fn is_acknowledged(method: &str, path: &str, body: &Value) -> bool {
    let body = body.to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let Ok(mut stream) = TcpStream::connect(ADDRESS) else {
        return false;
    };
    let mut response = Vec::new();
    let sent = stream.write_all(request.as_bytes());
    sent.is_ok()
        && stream.read_to_end(&mut response).is_ok()
        && response.starts_with(b"HTTP/1.1 20")
}

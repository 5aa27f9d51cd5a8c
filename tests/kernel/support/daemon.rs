//! The daemon itself, as a process.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use super::until;

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

    /// Starts it by a command that becomes it, and waits until it listens.
    pub fn of(mut command: Command) -> Self {
        let quiet = std::env::var_os("IPVSD_TEST_LOG").is_none();
        // The daemon accepts no variables of this prefix but its own.
        command.env_remove("IPVSD_TEST_LOG");
        if quiet {
            command.stderr(Stdio::null());
        }
        let mut child = command
            .arg("--dev")
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
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! ipvsd as a process, and its memory.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// A running daemon, which ends with this value.
pub struct Daemon {
    child: Child,
    pub address: SocketAddr,
}

/// Memory of a process in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Current RSS.
    pub resident: f64,
    /// Peak RSS since the start or [`Daemon::forget_peak`].
    pub peak: f64,
}

/// Time limit of the start.
const PATIENCE: Duration = Duration::from_secs(30);

/// `limits.request_timeout` of the daemon.
pub const REQUEST_TIMEOUT: &str = "2m";

/// The default port.
pub const DEFAULT_PORT: u16 = ipvsd::server::DEFAULT_PORT;

// === impl Daemon ===

impl Daemon {
    /// Starts the daemon with its defaults, except for the time limit of a request: restoring 70,000
    /// servers into one service takes longer than 10 s in a slow kernel.
    pub fn start(program: &Path, kernel: &str, port: u16) -> anyhow::Result<Self> {
        Self::start_with(program, kernel, port, &[])
    }

    /// The same with these variables.
    pub fn start_with(
        program: &Path,
        kernel: &str,
        port: u16,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listen = address.to_string();
        let arguments = ["--dev", "--kernel", kernel, "--listen", &listen];
        Self::start_as(program, address, &arguments, variables)
    }

    /// The same with these arguments, one of which makes it listen on the address.
    pub fn start_as(
        program: &Path,
        address: SocketAddr,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let child = Command::new(program)
            .args(arguments)
            .env("IPVSD_LIMITS_REQUEST_TIMEOUT", REQUEST_TIMEOUT)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut daemon = Self { child, address };
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("ipvsd has ended: {status}");
            }
            if begin.elapsed() > PATIENCE {
                bail!("ipvsd does not listen");
            }
            sleep(Duration::from_millis(5));
        }
        Ok(daemon)
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn memory(&self) -> anyhow::Result<Memory> {
        Memory::of(self.child.id())
    }

    /// Resets the peak.
    pub fn forget_peak(&self) -> anyhow::Result<()> {
        let file = format!("/proc/{}/clear_refs", self.child.id());
        Ok(fs::write(file, "5")?)
    }
}

// === impl Memory ===

impl Memory {
    /// The memory of a process.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok())
                .with_context(|| format!("no {name} in /proc/PID/status"))
        };
        Ok(Self {
            resident: field("VmRSS:")?,
            peak: field("VmHWM:")?,
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free port.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

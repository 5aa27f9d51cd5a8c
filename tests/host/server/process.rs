//! The daemon as a process, with its log.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use super::harness::{DEADLINE, TempDir};

/// A running `ipvsd` on the fake kernel that listens on a unix socket. Dropping it kills it.
pub struct Process {
    child: Child,
    pub socket: PathBuf,
    /// Lines of standard error, if it is a pipe that is read.
    log: Option<mpsc::Receiver<String>>,
    pub directory: TempDir,
}

impl Process {
    /// Starts it with this configuration file, and waits until it listens.
    pub fn start(config: &str) -> Self {
        let mut process = Self::spawn(config, |command| command.stderr(Stdio::piped()));
        process.read_log();
        process.wait_for("listening");
        process
    }

    /// Starts it with this configuration file, as changed by `with`.
    pub fn spawn(config: &str, with: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let directory = TempDir::new();
        let (socket, address) = directory.socket();
        fs::write(directory.0.join("ipvsd.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ipvsd"));
        command
            .env_clear()
            .args(["--dev", "--listen", &address.to_string()])
            .env("IPVSD_KERNEL", "fake")
            .arg("--config")
            .arg(directory.0.join("ipvsd.toml"));
        let child = with(&mut command).spawn().unwrap();
        Self {
            child,
            socket,
            log: None,
            directory,
        }
    }

    /// Starts to read standard error.
    pub fn read_log(&mut self) {
        let (sender, log) = mpsc::channel();
        let stderr = BufReader::new(self.child.stderr.take().unwrap());
        thread::spawn(move || {
            stderr.lines().try_for_each(|line| {
                let line = line.ok()?;
                sender.send(line).ok()
            })
        });
        self.log = Some(log);
    }

    /// Closes the reading end of standard error.
    pub fn close_log(&mut self) {
        self.child.stderr = None;
    }

    /// Replaces the configuration file.
    pub fn configure(&self, config: &str) {
        fs::write(self.directory.0.join("ipvsd.toml"), config).unwrap();
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(kill.unwrap().success(), "{name}");
    }

    /// Waits for a line of the log that contains `text`.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        let until = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.log.as_ref().unwrap().recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with {text:?}: {error}: {seen:#?}"),
            }
        }
    }

    /// The lines of the log up to one that contains `text`.
    #[track_caller]
    pub fn lines_until(&self, text: &str) -> Vec<String> {
        let until = Instant::now() + DEADLINE;
        let mut lines = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.log.as_ref().unwrap().recv_timeout(left) {
                Ok(line) => lines.push(line),
                Err(error) => panic!("no line with {text:?}: {error}: {lines:#?}"),
            }
            if lines.last().is_some_and(|line| line.contains(text)) {
                return lines;
            }
        }
    }

    /// Connects, once it listens.
    pub fn connect(&self) -> UnixStream {
        let until = Instant::now() + DEADLINE;
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(DEADLINE)).unwrap();
                    return stream;
                }
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            thread::yield_now();
        }
    }

    /// The response to a request without a body, and with `connection: close`.
    pub fn request(&self, method: &str, path: &str) -> String {
        exchange(&mut self.connect(), method, path, "")
    }

    /// The response to a request with a JSON body.
    pub fn send(&self, method: &str, path: &str, body: &str) -> String {
        exchange(&mut self.connect(), method, path, body)
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the daemon still runs");
            thread::yield_now();
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it handles SIGTERM.
    pub fn wait_for_signal_handlers(&self) {
        const SIGTERM: u64 = 1 << 14;
        let status = format!("/proc/{}/status", self.child.id());
        let until = Instant::now() + DEADLINE;
        let handled = || {
            let status = fs::read_to_string(&status).unwrap();
            let mut lines = status.lines();
            let mask = lines.find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            u64::from_str_radix(mask.trim(), 16).unwrap()
        };
        while handled() & SIGTERM == 0 {
            assert!(Instant::now() < until, "SIGTERM is not handled");
            thread::yield_now();
        }
    }

    /// Its number of open descriptors.
    pub fn open_files(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        files.unwrap().count()
    }

    /// Its limits on resources, as in /proc.
    pub fn limits(&self) -> String {
        fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap()
    }

    /// Sets its limit on a resource: an option of prlimit(1).
    pub fn limit(&self, option: &str) {
        let pid = self.child.id().to_string();
        let set = Command::new("prlimit")
            .args(["--pid", &pid, option])
            .status();
        assert!(set.unwrap().success(), "{option}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The response to a request with a JSON body, or none, on a connection of its own.
pub fn exchange(stream: &mut (impl Read + Write), method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

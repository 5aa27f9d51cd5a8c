//! A terminal for tests: tmux without a user.

use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

/// A program in a terminal, in which `ipvsctl` is in the path. Dropping it ends both.
pub struct Tmux {
    /// Name of the server's socket.
    name: String,
}

/// Time limit of a screen.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Time between two looks at the screen.
pub const POLL: Duration = Duration::from_millis(20);

// === impl Tmux ===

impl Tmux {
    /// Runs a shell command with these variables in a terminal of this size. `name` is that of the test.
    pub fn start(name: &str, size: (u16, u16), variables: &[(&str, &str)], command: &str) -> Self {
        let name = format!("ipvsctl-{}-{name}", std::process::id());
        let tmux = Self { name };
        let (width, height) = (size.0.to_string(), size.1.to_string());
        let mut words = vec!["new-session", "-d", "-x", &width, "-y", &height];
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        for variable in &variables {
            words.extend(["-e", variable]);
        }
        words.extend(["--", "/bin/sh", "-c", command]);
        // The status line would take a line of the terminal.
        tmux.run(
            &[
                "start-server",
                ";",
                "set-option",
                "-g",
                "status",
                "off",
                ";",
            ],
            &words,
        );
        tmux
    }

    fn run(&self, first: &[&str], words: &[&str]) -> String {
        let output = self.output(first, words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn output(&self, first: &[&str], words: &[&str]) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_ipvsctl"));
        // What tmux starts gets the path of the client, whatever else it is given.
        let path = format!("{}:/usr/bin:/bin", program.parent().unwrap().display());
        Command::new("tmux")
            .args(["-u", "-L", &self.name, "-f", "/dev/null"])
            .args(first)
            .args(words)
            .env_clear()
            .env("PATH", path)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("tmux: `lab/install tests` installs it")
    }

    /// The lines of the screen, without the blanks at their ends.
    pub fn screen(&self) -> String {
        self.capture(&["capture-pane", "-p"])
    }

    /// As [`screen`](Self::screen), with the codes of colors.
    pub fn colored_screen(&self) -> String {
        self.capture(&["capture-pane", "-p", "-e"])
    }

    fn capture(&self, words: &[&str]) -> String {
        let screen = self.run(&[], words);
        let lines: Vec<_> = screen.lines().map(str::trim_end).collect();
        lines.join("\n").trim_end().to_owned() + "\n"
    }

    /// Waits until the screen has a text; returns the screen.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until `holds` holds of the screen, which is `expected`; returns the screen.
    #[track_caller]
    pub fn wait_until(&self, expected: &str, holds: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let screen = self.screen();
            if holds(&screen) {
                return screen;
            }
            assert!(Instant::now() < end, "expected {expected:?}:\n{screen}");
            std::thread::sleep(POLL);
        }
    }

    /// Waits until the screen is this one.
    #[track_caller]
    pub fn wait_for_screen(&self, expected: &str) {
        self.wait_until(expected, |screen| screen == expected);
    }

    /// Presses keys, by tmux's names: `Enter`, `C-c`, `x`.
    pub fn keys(&self, keys: &[&str]) {
        self.run(&["send-keys"], keys);
    }

    pub fn resize(&self, width: u16, height: u16) {
        let (width, height) = (width.to_string(), height.to_string());
        self.run(&["resize-window"], &["-x", &width, "-y", &height]);
    }

    /// The process id of the command's shell.
    pub fn pid(&self) -> u32 {
        let pid = self.run(&["display-message"], &["-p", "#{pane_pid}"]);
        pid.trim().parse().unwrap()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.output(&[], &["kill-server"]);
    }
}

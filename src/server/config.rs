//! What the operator decides: the settings, their defaults, and why those.
//!
//! A configuration is checked whole before the daemon does anything, and every mistake in it is
//! reported at once, with its place. Where several sources set a key, the order is: command line,
//! environment (`IPVSD_LIMITS_MAX_BODY_BYTES` for `limits.max_body_bytes`), file, default.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::ListenAddress;
use super::args::Options;
use super::config_error::{ConfigError, ConfigErrors, LoadError, Place, Problem};
use super::keys::{self, KEYS, Key};
use super::value::Raw;
use crate::{app::AppOptions, executor::ExecutorLimits};

/// All settings of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen; every listener serves everything. Default: `127.0.0.1:4787`.
    pub listen: Vec<ListenAddress>,
    /// Permission bits of unix sockets, 0 to 0o777. Default: 0o660, owner and group.
    pub socket_mode: u32,
    /// Allows listeners that are not loopback, though nothing authenticates or encrypts.
    /// Default: false.
    pub insecure: bool,
    /// The network namespace to manage: a name known to `ip netns`, or the absolute path of a
    /// namespace file. Default: none, the namespace the daemon was started in.
    pub netns: Option<String>,
    /// Which kernel to talk to. Default: [`KernelKind::Netlink`].
    pub kernel: KernelKind,
    /// How to log.
    pub log: LogConfig,
    /// What nobody may exceed.
    pub limits: Limits,
}

/// Which kernel the executor talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelKind {
    /// The running one, by generic netlink. Needs CAP_NET_ADMIN.
    Netlink,
    /// An imitation in memory, for those who build clients without root.
    Fake,
}

/// How to log. The log goes to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Lines for people, or one JSON object a line. Default: text.
    pub format: LogFormat,
    /// What to log, as `target=level` directives. `RUST_LOG` wins over it. Default: `info`.
    pub filter: String,
}

/// The shape of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// What nobody may exceed. Ranges and reasons: `deploy/ipvsd.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections, all listeners together; more wait in the kernel's backlog. Default 10000.
    pub max_connections: usize,
    /// Requests between their head and the head of their answer; more are refused. Default 1024.
    pub max_concurrent_requests: usize,
    /// Requests at a time on one HTTP/2 connection. Default 200.
    pub max_concurrent_streams: u32,
    /// Bytes of a request's head. Default 32768.
    pub max_header_bytes: usize,
    /// Bytes of a request's body. Default 1 MiB.
    pub max_body_bytes: usize,
    /// From the first byte of an HTTP/1 request (for the first request: from the accept) to the
    /// end of its head. Default 10 s.
    pub header_read_timeout: Duration,
    /// From the head of a request to the end of its body. Default 30 s.
    pub body_read_timeout: Duration,
    /// A connection without a request. Default 60 s.
    pub idle_timeout: Duration,
    /// A client that takes nothing of what waits for it. Default 30 s.
    pub write_timeout: Duration,
    /// Silence after which the other side is asked whether it still lives (TCP keep-alive, HTTP/2
    /// ping). Default 30 s.
    pub keep_alive_interval: Duration,
    /// How long an operation may wait and run. Default 10 s.
    pub request_timeout: Duration,
    /// How long running requests may take to finish at shutdown. Default 10 s.
    pub shutdown_grace: Duration,
    /// Operations waiting for the kernel. Default 1024.
    pub queue_length: usize,
    /// Items in a page when the client names no size. Default 1000.
    pub default_page_size: usize,
    /// Items in a page at most. Default 100000.
    pub max_page_size: usize,
    /// Connection tables being streamed at a time. Default 4.
    pub max_connection_streams: usize,
}

/// Where a configuration comes from. See [`Config::from_sources`].
pub struct Sources<'a> {
    /// Name (for messages) and text of the file.
    pub file: Option<(&'a str, &'a str)>,
    /// Looks up an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// Key, flag and value of what the command line sets.
    pub flags: &'a [(&'static str, &'static str, String)],
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::default()],
            socket_mode: 0o660,
            insecure: false,
            netns: None,
            kernel: KernelKind::Netlink,
            log: LogConfig {
                format: LogFormat::Text,
                filter: "info".to_owned(),
            },
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let executor = ExecutorLimits::default();
        let app = AppOptions::default();
        Self {
            max_connections: 10_000,
            max_concurrent_requests: 1024,
            max_concurrent_streams: 200,
            max_header_bytes: 32 * 1024,
            max_body_bytes: 1024 * 1024,
            header_read_timeout: Duration::from_secs(10),
            body_read_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            keep_alive_interval: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(10),
            queue_length: executor.queue_length,
            default_page_size: app.default_page_size as usize,
            max_page_size: app.max_page_size as usize,
            max_connection_streams: executor.connection_streams,
        }
    }
}

impl Config {
    /// Reads the file named on the command line, the process environment and the command line.
    pub fn load(options: &Options) -> Result<Self, LoadError> {
        let text = options.config.as_deref().map(read).transpose()?;
        Ok(Self::from_sources(&Sources {
            file: text
                .as_ref()
                .map(|(name, text)| (name.as_str(), text.as_str())),
            environment: &|name| std::env::var(name).ok(),
            flags: &options.settings(),
        })?)
    }

    /// Puts a configuration together, or says everything that is wrong with it.
    ///
    /// An empty environment variable counts as not set. Unknown `IPVSD_*` variables are ignored:
    /// Kubernetes injects `IPVSD_PORT` and the like for a service of this name.
    pub fn from_sources(sources: &Sources<'_>) -> Result<Self, ConfigErrors> {
        let mut draft = Draft::default();
        if let Some((name, text)) = sources.file {
            draft.take_file(name, text);
        }
        for key in KEYS {
            let variable = key.variable();
            let words = (sources.environment)(&variable).filter(|words| !words.is_empty());
            if let Some(words) = words {
                draft.set(key, Place::Environment(variable), &Raw::Words(&words));
            }
        }
        for (name, flag, words) in sources.flags {
            if let Some(key) = keys::find(name) {
                draft.set(key, Place::Flag(flag), &Raw::Words(words));
            }
        }
        draft.finish()
    }

    /// The settings as a file that would set them all.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut table = "";
        for key in KEYS {
            let (section, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
            if section != table {
                table = section;
                text.push_str(&format!("\n[{section}]\n"));
            }
            text.push_str(&format!("{name} = {}\n", (key.show)(self)));
        }
        text
    }
}

fn read(path: &Path) -> Result<(String, String), LoadError> {
    let text = fs::read_to_string(path).map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok((path.display().to_string(), text))
}

/// A configuration in the making: what is set so far, by whom, and what was wrong.
#[derive(Default)]
struct Draft {
    config: Config,
    places: BTreeMap<&'static str, Place>,
    errors: Vec<ConfigError>,
}

impl Draft {
    fn set(&mut self, key: &Key, place: Place, raw: &Raw<'_>) {
        match (key.set)(&mut self.config, raw) {
            Ok(()) => drop(self.places.insert(key.name, place)),
            Err(problem) => self.reject(place, key.name, problem),
        }
    }

    fn reject(&mut self, place: Place, key: &str, problem: Problem) {
        self.errors.push(ConfigError {
            place,
            key: key.to_owned(),
            problem,
        });
    }

    fn take_file(&mut self, name: &str, text: &str) {
        let place = |span: std::ops::Range<usize>| {
            let before = text.as_bytes().get(..span.start).unwrap_or(text.as_bytes());
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Place::File {
                name: name.to_owned(),
                line,
            }
        };
        let (document, syntax) = DeTable::parse_recoverable(text);
        for error in syntax {
            let problem = Problem::Syntax(error.message().to_owned());
            self.reject(place(error.span().unwrap_or(0..0)), "", problem);
        }
        let mut found = Vec::new();
        flatten("", document.get_ref(), &mut found);
        for (name, span, value) in found {
            match (keys::find(&name), value) {
                (Some(key), value) => self.set(key, place(span), &Raw::Toml(value)),
                (None, value) if keys::is_table(&name) => {
                    let problem = Raw::Toml(value).unexpected("a table");
                    self.reject(place(span), &name, problem);
                }
                (None, _) => {
                    let problem = Problem::UnknownKey {
                        nearest: keys::nearest(&name),
                    };
                    self.reject(place(span), &name, problem);
                }
            }
        }
    }

    /// What no key can check alone.
    fn check_together(&mut self) {
        if !self.config.insecure {
            for address in self.config.listen.clone() {
                if !address.is_local() {
                    self.reject_set("listen", Problem::Exposed(address.to_string()));
                }
            }
        }
        let (page, limit) = (
            self.config.limits.default_page_size,
            self.config.limits.max_page_size,
        );
        if page > limit {
            let other = "limits.max_page_size";
            let problem = Problem::GreaterThan {
                value: page,
                other,
                limit,
            };
            self.reject_set("limits.default_page_size", problem);
        }
    }

    fn reject_set(&mut self, key: &'static str, problem: Problem) {
        let place = self.places.get(key).cloned().unwrap_or(Place::Default);
        self.reject(place, key, problem);
    }

    fn finish(mut self) -> Result<Config, ConfigErrors> {
        // With an unread `insecure` or page size, the rest would be blamed for it.
        if self.errors.is_empty() {
            self.check_together();
        }
        self.errors.sort_by(|a, b| a.place.cmp(&b.place));
        if self.errors.is_empty() {
            Ok(self.config)
        } else {
            Err(ConfigErrors(self.errors))
        }
    }
}

/// The leaves of a document with their full names; a table is entered only where keys live in it.
fn flatten<'a>(
    prefix: &str,
    table: &'a DeTable<'a>,
    found: &mut Vec<(String, std::ops::Range<usize>, &'a DeValue<'a>)>,
) {
    for (name, value) in table {
        let full = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        match value.get_ref() {
            DeValue::Table(inner) if keys::is_table(&full) => flatten(&full, inner, found),
            leaf => found.push((full, Spanned::span(name), leaf)),
        }
    }
}

#[cfg(test)]
mod tests;

//! Loading of the configuration from command line, environment and file.
//!
//! The configuration is checked completely before the daemon does anything, and all errors are
//! reported at once with their origin. Precedence: command line, environment
//! (`IPVSD_LIMITS_MAX_BODY_BYTES` for `limits.max_body_bytes`), file, default.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    io,
    ops::Range,
    path::Path,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    address::ListenAddress,
    args::ServeOptions,
    config::{Config, KernelKind, LogFormat},
    config_error::{ConfigError, ConfigErrors, ConfigProblem, LoadError, Origin},
    input_file,
    keys::{self, KEYS, Key},
    nearest,
    tls::ClientCertificates,
    traces::{TracingConfig, config as traces},
    value::RawValue,
};
use crate::journal::{self, Journal};

/// Maximum size of the configuration file in bytes. About a hundred times the shipped file.
const MAX_FILE: u64 = 1 << 20;

/// The environment variable with the log filter of a Rust program.
const LOG_VARIABLE: &str = "RUST_LOG";

/// The environment variable with the number of sockets that the service manager has opened (sd_listen_fds(3)).
const SOCKETS_VARIABLE: &str = "LISTEN_FDS";

/// The environment variable that names the stream to the journal (systemd.exec(5)).
const JOURNAL_VARIABLE: &str = "JOURNAL_STREAM";

/// The sources of a configuration. See [`Config::from_sources`].
pub struct Sources<'a> {
    /// Name (for messages) and text of the file.
    pub file: Option<(&'a str, &'a str)>,
    /// The environment variables, by name.
    pub environment: &'a BTreeMap<OsString, OsString>,
    /// Key, flag and value of each setting given on the command line.
    pub flags: &'a [(&'static str, &'static str, String)],
    /// The addresses of sockets that the service manager has opened.
    pub sockets: &'a [ListenAddress],
}

/// A configuration under construction.
#[derive(Default)]
struct ConfigBuilder {
    config: Config,
    /// Origin of every key that has been set.
    origins: BTreeMap<&'static str, Origin>,
    errors: Vec<ConfigError>,
}

impl Config {
    /// Loads the configuration from the command line, the process environment and the file named
    /// by `--config`.
    pub fn load(options: &ServeOptions) -> Result<Self, LoadError> {
        let text = options.config_file().as_deref().map(read).transpose()?;
        Ok(Self::from_sources(&Sources {
            file: text
                .as_ref()
                .map(|(name, text)| (name.as_str(), text.as_str())),
            environment: &env::vars_os().collect(),
            flags: &options.settings(),
            sockets: &options.sockets,
        })?)
    }

    /// Builds a configuration, or returns all errors.
    ///
    /// An empty environment variable counts as unset.
    pub fn from_sources(sources: &Sources<'_>) -> Result<Self, ConfigErrors> {
        let mut builder = ConfigBuilder::default();
        if let Some((name, text)) = sources.file {
            builder.read_file(name, text);
        }
        builder.read_environment(sources.environment);
        for (name, flag, text) in sources.flags {
            if let Some(key) = keys::find(name) {
                builder.set(key, Origin::Flag(flag), &RawValue::Text(text));
            }
        }
        builder.add_sockets(sources.sockets);
        builder.use_journal(sources.environment);
        builder.finish()
    }

    /// Formats all settings as a configuration file.
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

/// The name and the text of a file. It names the policy, and can make one unnecessary.
fn read(path: &Path) -> Result<(String, String), LoadError> {
    let read = input_file::read_text(path, MAX_FILE);
    let (text, file) = read.map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })?;
    input_file::check_writers(path, &file).map_err(LoadError::Unsafe)?;
    Ok((path.display().to_string(), text))
}

impl ConfigBuilder {
    fn set(&mut self, key: &Key, origin: Origin, raw: &RawValue<'_>) {
        match (key.set)(&mut self.config, raw) {
            Ok(()) => drop(self.origins.insert(key.name, origin)),
            Err(problem) => self.reject(origin, key.name, problem),
        }
    }

    fn reject(&mut self, origin: Origin, key: &str, problem: ConfigProblem) {
        self.errors.push(ConfigError {
            origin,
            key: key.to_owned(),
            problem,
        });
    }

    fn read_file(&mut self, name: &str, text: &str) {
        let origin = |span: Range<usize>| {
            let before = text.as_bytes().get(..span.start).unwrap_or(text.as_bytes());
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Origin::File {
                name: name.to_owned(),
                line,
            }
        };
        let (document, syntax) = DeTable::parse_recoverable(text);
        for error in syntax {
            let problem = ConfigProblem::Syntax(error.message().to_owned());
            self.reject(origin(error.span().unwrap_or(0..0)), "", problem);
        }
        let mut found = Vec::new();
        flatten("", document.get_ref(), &mut found);
        for (name, span, value) in found {
            match (keys::find(&name), value) {
                (Some(key), value) => self.set(key, origin(span), &RawValue::Toml(value)),
                (None, value) if keys::is_table(&name) => {
                    let problem = RawValue::Toml(value).unexpected("a table");
                    self.reject(origin(span), &name, problem);
                }
                (None, _) => {
                    let problem = ConfigProblem::UnknownKey {
                        nearest: nearest::nearest(&name),
                    };
                    self.reject(origin(span), &name, problem);
                }
            }
        }
    }

    fn read_environment(&mut self, environment: &BTreeMap<OsString, OsString>) {
        for key in KEYS {
            self.read_variable(key, key.variable(), environment);
        }
        // The usual variable of Rust programs comes last, so that it takes precedence.
        if let Some(key) = keys::find("log.filter") {
            self.read_variable(key, LOG_VARIABLE.to_owned(), environment);
        }
        let set = environment.iter().filter(|(_, value)| !value.is_empty());
        for (name, value) in set.map(|(n, v)| (n.to_string_lossy(), v.to_string_lossy())) {
            if name.starts_with(keys::PREFIX) && !keys::is_variable(&name, &value) {
                let nearest = nearest::nearest_variable(&name);
                let problem = ConfigProblem::UnknownVariable { nearest };
                self.reject(Origin::Environment(name.into_owned()), "", problem);
            }
        }
    }

    fn read_variable(
        &mut self,
        key: &Key,
        variable: String,
        environment: &BTreeMap<OsString, OsString>,
    ) {
        let value = environment.get(OsStr::new(&variable));
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            return;
        };
        let origin = Origin::Environment(variable);
        match value.to_str() {
            Some(text) => self.set(key, origin, &RawValue::Text(text)),
            None => {
                let problem = ConfigProblem::Unexpected {
                    expected: "UTF-8 text".to_owned(),
                    got: format!("{value:?}"),
                };
                self.reject(origin, key.name, problem);
            }
        }
    }

    /// Listens on the sockets of the service manager: instead of the default addresses, beside those that were
    /// chosen.
    fn add_sockets(&mut self, sockets: &[ListenAddress]) {
        if sockets.is_empty() {
            return;
        }
        let mut listen = sockets.to_vec();
        if self.origins.contains_key("listen") {
            let chosen = self.config.listen.iter();
            listen.extend(chosen.filter(|address| !sockets.contains(address)).cloned());
        } else {
            let origin = Origin::Environment(SOCKETS_VARIABLE.to_owned());
            self.origins.insert("listen", origin);
        }
        self.config.listen = listen;
    }

    /// Logs to the journal if standard error is a stream to it, unless a format was chosen.
    fn use_journal(&mut self, environment: &BTreeMap<OsString, OsString>) {
        let stream = environment.get(OsStr::new(JOURNAL_VARIABLE));
        let is_stream = |name: &str| journal::is_stream(name, io::stderr());
        if !self.origins.contains_key("log.format")
            && stream.and_then(|name| name.to_str()).is_some_and(is_stream)
            // Its socket may be hidden from the daemon.
            && Journal::open(journal::SOCKET.as_ref()).is_ok()
        {
            self.config.log.format = LogFormat::Journal;
        }
    }

    /// Checks that concern more than one key.
    fn check_dependencies(&mut self) {
        let listen = self.config.listen.clone();
        for (index, address) in listen.iter().enumerate() {
            let mut before = listen.iter().take(index);
            if let Some(other) = before.find(|other| other.excludes(address)) {
                let problem = ConfigProblem::Overlap(other.to_string(), address.to_string());
                self.reject_value_of("listen", problem);
            }
        }
        if self.config.dev && self.config.policy.is_some() {
            self.reject_value_of("dev", ConfigProblem::DevWithPolicy);
        }
        for address in listen.into_iter().filter(|address| !address.is_local()) {
            let is_tls = address.is_tls();
            let address = address.to_string();
            if self.config.dev {
                self.reject_value_of("listen", ConfigProblem::NotForDevelopment(address));
            } else if !self.config.insecure && !is_tls {
                self.reject_value_of("listen", ConfigProblem::NotLoopback(address));
            }
        }
        if self.config.audit.journal && self.config.audit.file.is_some() {
            self.reject_value_of("audit.journal", ConfigProblem::Excludes("audit.file"));
        }
        self.check_tls();
        self.check_tracing();
        let (page, limit) = (
            self.config.limits.default_page_size,
            self.config.limits.max_page_size,
        );
        if page > limit {
            let other = "limits.max_page_size";
            let problem = ConfigProblem::GreaterThan {
                value: page,
                other,
                limit,
            };
            self.reject_value_of("limits.default_page_size", problem);
        }
    }

    /// Checks of the keys of `[tls]`. The files are read when they are used.
    fn check_tls(&mut self) {
        let (tls, listen) = (self.config.tls.clone(), &self.config.listen);
        let listener = listen.iter().find(|address| address.is_tls());
        let requires = |value: String, other, purpose| ConfigProblem::Requires {
            value,
            other,
            purpose,
        };
        if let Some(address) = listener.map(ToString::to_string) {
            for (path, key, purpose) in [
                (
                    &tls.certificate,
                    "tls.certificate",
                    "the PEM file with its certificate",
                ),
                (
                    &tls.key,
                    "tls.key",
                    "the PEM file with the key of its certificate",
                ),
            ] {
                if path.is_none() {
                    self.reject_value_of("listen", requires(address.clone(), key, purpose));
                }
            }
        }
        if tls.client_certificates == ClientCertificates::None {
            let files = [(&tls.client_ca, "tls.client_ca"), (&tls.crl, "tls.crl")];
            for (_, key) in files.into_iter().filter(|(path, _)| path.is_some()) {
                let problem = ConfigProblem::NoEffect("tls.client_certificates = \"none\"");
                self.reject_value_of(key, problem);
            }
        } else if tls.client_ca.is_none() {
            let purpose = "the PEM file with the authorities that issue client certificates";
            let value = format!("{:?}", tls.client_certificates).to_ascii_lowercase();
            let problem = requires(format!("{value:?}"), "tls.client_ca", purpose);
            self.reject_value_of("tls.client_certificates", problem);
        }
    }

    /// Checks of the keys of `[tracing]`. The files are read when they are used.
    fn check_tracing(&mut self) {
        let TracingConfig {
            endpoint: Some(endpoint),
            protocol,
            headers_file,
            ..
        } = self.config.tracing.clone()
        else {
            return;
        };
        if !traces::is_endpoint(&endpoint, protocol) {
            self.reject_value_of("tracing.endpoint", ConfigProblem::PathOfGrpc(endpoint));
        } else if headers_file.is_some() && traces::is_exposed(&endpoint) {
            let problem = ConfigProblem::ExposedHeaders(endpoint);
            self.reject_value_of("tracing.headers_file", problem);
        }
    }

    fn reject_value_of(&mut self, key: &'static str, problem: ConfigProblem) {
        let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
        self.reject(origin, key, problem);
    }

    fn finish(mut self) -> Result<Config, ConfigErrors> {
        if self.config.dev && !self.origins.contains_key("listen") {
            self.config.listen = vec![ListenAddress::default()];
        }
        // What concerns a simulated kernel, or the attempts of a developer, is not that of the director.
        let is_trial = self.config.dev || self.config.kernel == KernelKind::Fake;
        if is_trial && !self.origins.contains_key("state_dir") {
            self.config.state_dir = None;
        }
        // If `insecure` or a page size was not read, these checks would report follow-up errors.
        if self.errors.is_empty() {
            self.check_dependencies();
        }
        self.errors.sort_by(|a, b| a.origin.cmp(&b.origin));
        if self.errors.is_empty() {
            Ok(self.config)
        } else {
            Err(ConfigErrors(self.errors))
        }
    }
}

/// Collects the leaves of a document with their full names. Only tables that have keys are entered.
fn flatten<'a>(
    prefix: &str,
    table: &'a DeTable<'a>,
    found: &mut Vec<(String, Range<usize>, &'a DeValue<'a>)>,
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

//! The table of keys: how each setting is parsed, checked and formatted. The file, the environment,
//! the command line and `--check-config` use it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    address::ListenAddress,
    args::CONFIG_VARIABLE,
    config::{Config, KernelKind, LogFormat},
    config_error::ConfigProblem,
    log,
    tls::ClientCertificates,
    value::{RawValue, format_duration},
};
use crate::{
    app::{Interrupted, RestoreOnStart},
    identity::Host,
};

/// Prefix of the environment variables of the daemon.
pub(super) const PREFIX: &str = "IPVSD_";

/// One key.
pub(super) struct Key {
    /// Full name, such as `kernel` or `limits.max_body_bytes`.
    pub name: &'static str,
    /// Parses a value into a configuration.
    pub set: fn(&mut Config, &RawValue<'_>) -> Result<(), ConfigProblem>,
    /// Formats the value as TOML.
    pub show: fn(&Config) -> String,
}

/// A key of `[limits]`, or of the table that is named, with an integer value.
macro_rules! integer {
    ($name:ident, $low:literal ..= $high:literal) => {
        integer!(limits.$name, $low..=$high)
    };
    ($table:ident.$name:ident, $low:literal ..= $high:literal) => {
        Key {
            name: concat!(stringify!($table), ".", stringify!($name)),
            set: |config, raw| {
                let number = raw.integer($low..=$high)?;
                config.$table.$name = number
                    .try_into()
                    .map_err(|_| raw.unexpected("a number within the range of this machine"))?;
                Ok(())
            },
            show: |config| config.$table.$name.to_string(),
        }
    };
}

/// A key of `[limits]`, or of the table that is named, with a duration value.
macro_rules! duration {
    ($name:ident, $low:expr, $high:expr) => {
        duration!(limits.$name, $low, $high)
    };
    ($table:ident.$name:ident, $low:expr, $high:expr) => {
        Key {
            name: concat!(stringify!($table), ".", stringify!($name)),
            set: |config, raw| {
                raw.duration($low..=$high)
                    .map(|value| config.$table.$name = value)
            },
            show: |config| format!("{:?}", format_duration(config.$table.$name)),
        }
    };
}

/// A key of a table that is true or false.
macro_rules! boolean {
    ($table:ident.$name:ident) => {
        Key {
            name: concat!(stringify!($table), ".", stringify!($name)),
            set: |config, raw| raw.boolean().map(|value| config.$table.$name = value),
            show: |config| config.$table.$name.to_string(),
        }
    };
}

/// A key of a table with one of the words of a list.
macro_rules! choice {
    ($table:ident.$name:ident, $words:ident) => {
        Key {
            name: concat!(stringify!($table), ".", stringify!($name)),
            set: |config, raw| raw.choice($words).map(|value| config.$table.$name = value),
            show: |config| quote(choice_name($words, config.$table.$name)),
        }
    };
}

/// A key of `[tls]` with the path of a file; "" for none.
macro_rules! tls_file {
    ($name:ident) => {
        Key {
            name: concat!("tls.", stringify!($name)),
            set: |config, raw| {
                config.tls.$name = file(raw)?;
                Ok(())
            },
            show: |config| {
                let path = config.tls.$name.as_deref();
                quote(&path.map(|path| path.to_string_lossy()).unwrap_or_default())
            },
        }
    };
}

/// The value of `state_dir` for state that ends with the daemon.
const IN_MEMORY: &str = "memory";

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const SECOND: Duration = Duration::from_secs(1);
const TEN_MILLISECONDS: Duration = Duration::from_millis(10);

const KERNELS: &[(&str, KernelKind)] =
    &[("netlink", KernelKind::Netlink), ("fake", KernelKind::Fake)];
const INTERRUPTED: &[(&str, Interrupted)] = &[
    ("complete", Interrupted::Complete),
    ("undo", Interrupted::Undo),
];
const RESTORE_ON_START: &[(&str, RestoreOnStart)] = &[
    ("never", RestoreOnStart::Never),
    ("if-empty", RestoreOnStart::IfEmpty),
    ("always", RestoreOnStart::Always),
];
const CLIENT_CERTIFICATES: &[(&str, ClientCertificates)] = &[
    ("none", ClientCertificates::None),
    ("optional", ClientCertificates::Optional),
    ("required", ClientCertificates::Required),
];
const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Every key, in the order of `deploy/ipvsd.toml`.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "listen",
        set: |config, raw| {
            let mut addresses = Vec::new();
            for text in raw.list()? {
                let address: ListenAddress =
                    text.parse().map_err(|_| ConfigProblem::Unexpected {
                        expected: "ADDRESS:PORT, [ADDRESS]:PORT, tls:ADDRESS:PORT or \
                               unix:/absolute/path (at most 107 bytes)"
                            .to_owned(),
                        got: format!("{text:?}"),
                    })?;
                if addresses.contains(&address) {
                    return Err(ConfigProblem::ListedTwice(address.to_string()));
                }
                addresses.push(address);
            }
            if addresses.is_empty() {
                return Err(ConfigProblem::Unexpected {
                    expected: "at least one address".to_owned(),
                    got: "an empty list".to_owned(),
                });
            }
            config.listen = addresses;
            Ok(())
        },
        show: |config| list(config.listen.iter()),
    },
    Key {
        name: "socket_mode",
        set: |config, raw| {
            let mode = raw
                .text()
                .ok()
                .and_then(|text| u32::from_str_radix(text, 8).ok());
            let expected = "the permission bits in octal, as a string from \"0000\" to \"0777\"";
            config.socket_mode = mode
                .filter(|mode| *mode <= 0o777)
                .ok_or_else(|| raw.unexpected(expected))?;
            Ok(())
        },
        show: |config| format!("\"{:04o}\"", config.socket_mode),
    },
    Key {
        name: "socket_group",
        set: |config, raw| {
            let text = raw.text()?;
            config.socket_group = Some(text.to_owned()).filter(|name| !name.is_empty());
            Ok(())
        },
        show: |config| quote(config.socket_group.as_deref().unwrap_or_default()),
    },
    Key {
        name: "policy",
        set: |config, raw| {
            let text = raw.text()?;
            if text.contains('\0') {
                return Err(raw.unexpected("the path of a file, or \"\""));
            }
            config.policy = Some(PathBuf::from(text)).filter(|path| path != Path::new(""));
            Ok(())
        },
        show: |config| {
            let path = config.policy.as_deref().unwrap_or(Path::new(""));
            quote(&path.to_string_lossy())
        },
    },
    Key {
        name: "dev",
        set: |config, raw| raw.boolean().map(|value| config.dev = value),
        show: |config| config.dev.to_string(),
    },
    Key {
        name: "insecure",
        set: |config, raw| raw.boolean().map(|value| config.insecure = value),
        show: |config| config.insecure.to_string(),
    },
    Key {
        name: "allowed_hosts",
        set: |config, raw| {
            let mut names = Vec::new();
            for text in raw.list()? {
                let name = text.trim_end_matches('.').to_ascii_lowercase();
                let is_name = matches!(name.parse(), Ok(Host::Name(_)))
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
                if name != "*" && (!is_name || name.is_empty()) {
                    return Err(ConfigProblem::Unexpected {
                        expected: "a host name without port, or \"*\" for any".to_owned(),
                        got: format!("{text:?}"),
                    });
                }
                if names.contains(&name) {
                    return Err(ConfigProblem::ListedTwice(name));
                }
                names.push(name);
            }
            config.allowed_hosts = names;
            Ok(())
        },
        show: |config| list(config.allowed_hosts.iter()),
    },
    Key {
        name: "netns",
        set: |config, raw| {
            let text = raw.text()?;
            let named = !text.contains('/') && text != "." && text != "..";
            if text.contains('\0') || !(named || text.starts_with('/')) {
                return Err(raw.unexpected(
                    "the name of a network namespace (ip netns list), the absolute path of a \
                     namespace file, or \"\"",
                ));
            }
            config.netns = Some(text.to_owned()).filter(|name| !name.is_empty());
            Ok(())
        },
        show: |config| quote(config.netns.as_deref().unwrap_or_default()),
    },
    Key {
        name: "kernel",
        set: |config, raw| {
            config.kernel = raw.choice(KERNELS)?;
            if config.kernel == KernelKind::Fake && !cfg!(feature = "fake-kernel") {
                let expected = "\"netlink\", because this build lacks the feature fake-kernel";
                return Err(raw.unexpected(expected));
            }
            Ok(())
        },
        show: |config| quote(choice_name(KERNELS, config.kernel)),
    },
    Key {
        name: "state_dir",
        set: |config, raw| {
            let text = raw.text()?;
            if text != IN_MEMORY && (!text.starts_with('/') || text.contains('\0')) {
                return Err(raw.unexpected("the absolute path of a directory, or \"memory\""));
            }
            config.state_dir = Some(PathBuf::from(text)).filter(|_| text != IN_MEMORY);
            Ok(())
        },
        show: |config| match &config.state_dir {
            Some(path) => quote(&path.to_string_lossy()),
            None => quote(IN_MEMORY),
        },
    },
    choice!(log.format, FORMATS),
    Key {
        name: "log.filter",
        set: |config, raw| {
            let text = raw.text()?;
            if log::parse_filter(text).is_err() {
                return Err(raw.unexpected(
                    "a level (error, warn, info, debug, trace, off) or target=level directives \
                     separated by commas",
                ));
            }
            config.log.filter = text.to_owned();
            Ok(())
        },
        show: |config| quote(&config.log.filter),
    },
    boolean!(store.required),
    choice!(tables.interrupted, INTERRUPTED),
    choice!(tables.restore_on_start, RESTORE_ON_START),
    duration!(tables.snapshot_interval, Duration::ZERO, DAY),
    integer!(idempotency.max_keys, 1..=10_000_000),
    Key {
        name: "audit.file",
        set: |config, raw| {
            let text = raw.text()?;
            let is_path = text.starts_with('/') && !text.ends_with('/') && !text.contains('\0');
            if !text.is_empty() && !is_path {
                return Err(raw.unexpected("the absolute path of a file, or \"\""));
            }
            config.audit.file = Some(text.into()).filter(|_| !text.is_empty());
            Ok(())
        },
        show: |config| {
            let file = config.audit.file.as_deref();
            quote(&file.unwrap_or(Path::new("")).to_string_lossy())
        },
    },
    boolean!(audit.journal),
    integer!(audit.max_file_bytes, 65_536..=1_099_511_627_776),
    duration!(audit.max_file_age, Duration::ZERO, YEAR),
    integer!(audit.max_files, 1..=1000),
    boolean!(audit.fsync),
    integer!(audit.max_queue_bytes, 65_536..=1_073_741_824),
    tls_file!(certificate),
    tls_file!(key),
    tls_file!(client_ca),
    choice!(tls.client_certificates, CLIENT_CERTIFICATES),
    tls_file!(crl),
    duration!(tls.expiry_warning, Duration::ZERO, YEAR),
    integer!(max_connections, 1..=1_000_000),
    integer!(max_concurrent_requests, 1..=1_000_000),
    integer!(max_concurrent_streams, 1..=10_000),
    integer!(max_header_bytes, 8192..=1_048_576),
    integer!(max_memory_bytes, 16_777_216..=1_099_511_627_776),
    integer!(max_body_bytes, 1024..=1_073_741_824),
    duration!(header_read_timeout, TEN_MILLISECONDS, HOUR),
    duration!(body_read_timeout, TEN_MILLISECONDS, HOUR),
    duration!(idle_timeout, TEN_MILLISECONDS, DAY),
    duration!(write_timeout, TEN_MILLISECONDS, HOUR),
    duration!(keep_alive_interval, SECOND, HOUR),
    duration!(request_timeout, TEN_MILLISECONDS, HOUR),
    duration!(shutdown_grace, Duration::ZERO, HOUR),
    integer!(queue_length, 1..=1_000_000),
    integer!(default_page_size, 1..=1_000_000),
    integer!(max_page_size, 1..=1_000_000),
    duration!(min_read_interval, Duration::ZERO, HOUR),
    integer!(max_connection_streams, 1..=1024),
    integer!(quota.reads_per_second, 0..=1_000_000),
    integer!(quota.reads_burst, 0..=1_000_000_000),
    integer!(quota.writes_per_second, 0..=1_000_000),
    integer!(quota.writes_burst, 0..=1_000_000_000),
    integer!(quota.bytes_per_second, 0..=1_000_000_000_000),
    integer!(quota.bytes_burst, 0..=1_000_000_000_000),
    integer!(quota.failed_logins_per_minute, 0..=1_000_000),
    duration!(watch.retention, Duration::ZERO, HOUR),
    integer!(watch.max_watchers, 1..=100_000),
    integer!(watch.max_events, 1..=1_000_000),
    duration!(watch.dump_interval, TEN_MILLISECONDS, HOUR),
    integer!(watch.max_load_percent, 1..=100),
    integer!(stats.max_streams, 1..=100_000),
    duration!(stats.history, Duration::ZERO, HOUR),
    integer!(stats.max_history_bytes, 65_536..=1_073_741_824),
    integer!(stats.max_load_percent, 1..=100),
    duration!(metrics.max_age, Duration::ZERO, HOUR),
    integer!(metrics.max_servers, 0..=10_000_000),
    boolean!(metrics.node_exporter_names),
];

impl Key {
    /// The environment variable of the key, such as `IPVSD_LIMITS_MAX_BODY_BYTES`.
    pub(super) fn variable(&self) -> String {
        format!(
            "{PREFIX}{}",
            self.name.replace('.', "_").to_ascii_uppercase()
        )
    }
}

/// The key with this full name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether a table of this name has keys.
pub(super) fn is_table(name: &str) -> bool {
    KEYS.iter().any(|key| {
        key.name
            .split_once('.')
            .is_some_and(|(table, _)| table == name)
    })
}

/// The key that was probably meant: one with the same last component (`max_body_bytes` outside of
/// `[limits]`), or the nearest by edit distance, up to a third of the length of `name`.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let last = |name: &'_ str| {
        name.rsplit_once('.')
            .map_or(name, |(_, last)| last)
            .to_owned()
    };
    if let Some(key) = KEYS.iter().find(|key| last(key.name) == last(name)) {
        return Some(key.name);
    }
    nearest_of(KEYS.iter().map(|key| key.name), name)
}

/// The environment variable that was probably meant: one with the same end (IPVSD_MAX_BODY_BYTES), or
/// the nearest.
pub(super) fn nearest_variable(name: &str) -> Option<String> {
    let name = name.trim_start_matches(PREFIX);
    let keys = KEYS.iter().map(Key::variable);
    let known = keys.chain([CONFIG_VARIABLE.to_owned()]);
    // Without the common prefix, which would make short names similar.
    let mut known = known.map(|known| known.trim_start_matches(PREFIX).to_owned());
    let same_end = known
        .clone()
        .find(|known| known.ends_with(&format!("_{name}")));
    let nearest = same_end.or_else(|| nearest_of(&mut known, name))?;
    Some(format!("{PREFIX}{nearest}"))
}

/// Whether the daemon accepts this variable: that of a key, that of `--config`, or one that Kubernetes
/// sets in each container of a namespace with a Service named `ipvsd` or `ipvsd-*`, such as
/// `IPVSD_SERVICE_HOST=10.0.0.1` and `IPVSD_PORT=tcp://10.0.0.1:4787`.
pub(super) fn is_variable(name: &str, value: &str) -> bool {
    let words: Vec<_> = name.split('_').collect();
    let of_kubernetes = words.windows(2).any(|pair| match pair {
        ["SERVICE", "HOST" | "PORT"] => true,
        ["PORT", number] => number.parse::<u16>().is_ok(),
        [_, "PORT"] => value.contains("://"),
        _ => false,
    });
    of_kubernetes || name == CONFIG_VARIABLE || KEYS.iter().any(|key| key.variable() == name)
}

/// The nearest name by edit distance, up to a third of the length of `name`.
fn nearest_of<T: AsRef<str> + Ord>(names: impl Iterator<Item = T>, name: &str) -> Option<T> {
    let scored = names.map(|known| (edit_distance(known.as_ref(), name), known));
    scored
        .min()
        .filter(|(distance, _)| distance * 3 <= name.len())
        .map(|(_, name)| name)
}

/// Levenshtein distance.
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

fn choice_name<T: PartialEq>(choices: &[(&'static str, T)], value: T) -> &'static str {
    choices
        .iter()
        .find(|(_, choice)| *choice == value)
        .map_or("", |(name, _)| name)
}

/// The path of a file; `None` for "".
fn file(raw: &RawValue<'_>) -> Result<Option<PathBuf>, ConfigProblem> {
    let text = raw.text()?;
    if text.contains('\0') {
        return Err(raw.unexpected("the path of a file, or \"\""));
    }
    Ok(Some(text)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from))
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let quoted: Vec<_> = items.map(|item| quote(&item.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}

fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

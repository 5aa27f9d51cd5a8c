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
    traces::{
        TraceProtocol,
        config::{ENDPOINT_FORM, SampleRatio, attribute, is_endpoint, is_text},
    },
    value::{RawValue, choice_name, format_duration, list, quote},
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

/// A key of `[tls]`, or of the table that is named, with the path of a file; "" for none.
macro_rules! path {
    ($name:ident) => {
        path!(tls.$name)
    };
    ($table:ident.$name:ident) => {
        Key {
            name: concat!(stringify!($table), ".", stringify!($name)),
            set: |config, raw| file(raw).map(|path| config.$table.$name = path),
            show: |config| {
                let path = config.$table.$name.as_deref();
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
const TRACE_PROTOCOLS: &[(&str, Option<TraceProtocol>)] = &[
    ("", None),
    ("grpc", Some(TraceProtocol::Grpc)),
    ("http/protobuf", Some(TraceProtocol::Http)),
];
const FORMATS: &[(&str, LogFormat)] = &[
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
    ("journal", LogFormat::Journal),
];

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
            config.policy = file(raw)?;
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
    boolean!(health.restore_weights_at_stop),
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
    path!(certificate),
    path!(key),
    path!(client_ca),
    choice!(tls.client_certificates, CLIENT_CERTIFICATES),
    path!(crl),
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
    Key {
        name: "tracing.export",
        set: |config, raw| {
            config.tracing.export = raw.boolean()?;
            if config.tracing.export && !cfg!(feature = "otel") {
                return Err(raw.unexpected("false, because this build lacks the feature otel"));
            }
            Ok(())
        },
        show: |config| config.tracing.export.to_string(),
    },
    Key {
        name: "tracing.endpoint",
        set: |config, raw| {
            let text = raw.text()?;
            if !text.is_empty() && !is_endpoint(text, None) {
                return Err(raw.unexpected(ENDPOINT_FORM));
            }
            config.tracing.endpoint = Some(text.to_owned()).filter(|text| !text.is_empty());
            Ok(())
        },
        show: |config| quote(config.tracing.endpoint.as_deref().unwrap_or_default()),
    },
    choice!(tracing.protocol, TRACE_PROTOCOLS),
    path!(tracing.headers_file),
    path!(tracing.ca),
    Key {
        name: "tracing.sample_ratio",
        set: |config, raw| {
            let ratio = raw.decimal().and_then(SampleRatio::parse);
            let ratio = ratio.ok_or_else(|| raw.unexpected("a number from 0 to 1"))?;
            config.tracing.sample_ratio = ratio;
            Ok(())
        },
        show: |config| config.tracing.sample_ratio.to_string(),
    },
    Key {
        name: "tracing.service_name",
        set: |config, raw| {
            let text = raw.text()?;
            if !text.is_empty() && !is_text(text) {
                return Err(
                    raw.unexpected("a name of at most 256 bytes without control characters")
                );
            }
            config.tracing.service_name = Some(text.to_owned()).filter(|text| !text.is_empty());
            Ok(())
        },
        show: |config| quote(config.tracing.service_name.as_deref().unwrap_or_default()),
    },
    Key {
        name: "tracing.resource_attributes",
        set: |config, raw| {
            let texts = raw.list()?.into_iter().filter(|text| !text.is_empty());
            let attributes: Vec<_> = texts.map(str::to_owned).collect();
            let is_known = |text: &String| attribute(text).is_some();
            if attributes.len() > 64 || !attributes.iter().all(is_known) {
                let expected = "at most 64 texts name=value, each of at most 256 bytes without control characters";
                return Err(raw.unexpected(expected));
            }
            config.tracing.resource_attributes = attributes;
            Ok(())
        },
        show: |config| list(config.tracing.resource_attributes.iter()),
    },
    integer!(tracing.max_queue_spans, 1..=100_000),
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

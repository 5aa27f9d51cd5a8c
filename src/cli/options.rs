//! ipvsctl's global options. Both parsers, the help, the manual page and the shell completions are
//! generated from the table in this file.

use std::time::Duration;

use super::{credentials::Credentials, error::CliError};
use crate::{
    ipvsadm::{ExtraOption, ExtraValue},
    model::Sha256,
};

/// Values of the global options.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    pub endpoint: Option<String>,
    pub director: Option<String>,
    pub all: bool,
    /// The time from one listing to the next.
    pub watch: Option<Duration>,
    pub timeout: Option<Duration>,
    pub format: Format,
    pub color: Color,
    pub keep_going: bool,
    pub credentials: Credentials,
}

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    /// Text; for ipvsadm's commands, the text that ipvsadm prints.
    #[default]
    Table,
    /// The JSON of the API.
    Json,
    /// The same as YAML.
    Yaml,
}

/// When messages and plans are colored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// A global option.
#[derive(Clone, Copy, Debug)]
pub(super) struct GlobalOption {
    /// Syntax among ipvsadm's options.
    pub syntax: ExtraOption,
    /// Placeholder of the value in the documentation; empty if the option takes no value.
    pub placeholder: &'static str,
    /// What the option without a value stands for, if it may have none; otherwise empty.
    pub default_value: &'static str,
    /// The accepted values; empty if `set` decides.
    pub values: &'static [&'static str],
    /// Sentences for the documentation: a summary, then syntax and default.
    pub help: &'static str,
    /// Stores the value.
    set: fn(&mut Options, String) -> Result<(), CliError>,
}

/// All global options.
pub(super) const GLOBAL_OPTIONS: [GlobalOption; 14] = [
    option(
        "endpoint",
        "URL",
        "Endpoint of the daemon. http://HOST[:PORT], https://HOST[:PORT] or unix:///PATH. Default \
         port 4787, of https:// 4788. Default: IPVSCTL_ENDPOINT, the configured default director, \
         unix:///run/ipvsd/ipvsd.sock if it exists, http://127.0.0.1:4787, to which no token is sent unless \
         it is named.",
        |options, value| {
            options.endpoint = Some(value);
            Ok(())
        },
    ),
    option(
        "director",
        "NAME",
        "Name of a director in the configuration.",
        |options, value| {
            options.director = Some(value);
            Ok(())
        },
    ),
    option(
        "ca",
        "FILE",
        "File of CA certificates that are trusted too. PEM; in addition to those of the system \
         (SSL_CERT_FILE). https:// only. Default: IPVSCTL_CA, ca of the director.",
        |options, value| {
            options.credentials.ca = Some(value.into());
            Ok(())
        },
    ),
    option(
        "cert",
        "FILE",
        "File of the client certificate. PEM, intermediate CAs after it. https:// only. Default: \
         IPVSCTL_CERT, cert of the director.",
        |options, value| {
            options.credentials.cert = Some(value.into());
            Ok(())
        },
    ),
    option(
        "key",
        "FILE",
        "File of the key of the client certificate. PEM, readable by its owner alone. Default: the file of \
         the certificate.",
        |options, value| {
            options.credentials.key = Some(value.into());
            Ok(())
        },
    ),
    option(
        "token-file",
        "FILE",
        "File of the bearer token. Readable by its owner alone. Default: token or token_file of the director, \
         IPVSCTL_TOKEN, IPVSCTL_TOKEN_FILE.",
        |options, value| {
            options.credentials.token_file = Some(value.into());
            Ok(())
        },
    ),
    option(
        "insecure-token",
        "",
        "Send the token over http:// to another machine. Everybody on the way can read it.",
        |options, _| {
            options.credentials.insecure_token = true;
            Ok(())
        },
    ),
    option(
        "fingerprint",
        "HEX",
        "SHA-256 fingerprint of the daemon's certificate, the only one that is accepted. It replaces the checks of \
         CA, name and time; with --ca, they are made too. https:// only. Default: IPVSCTL_FINGERPRINT, \
         fingerprint of the director.",
        |options, value| {
            options.credentials.fingerprint = Some(fingerprint(value)?);
            Ok(())
        },
    ),
    option(
        "all",
        "",
        "Query all configured directors (read-only commands).",
        |options, _| {
            options.all = true;
            Ok(())
        },
    ),
    GlobalOption {
        syntax: ExtraOption {
            long: "watch",
            value: ExtraValue::Optional,
            only_before_command: false,
        },
        default_value: "2",
        ..option(
            "watch",
            "SECONDS",
            "Repeat the listing until interrupted (read-only commands). Every so many seconds, 1 to 3600, default 2; \
             each listing is complete, and begins with a line of its time. json: a document per line; yaml: \
             after ---. A listing that fails is reported, and the others follow.",
            |options, value| {
                options.watch = Some(interval(value)?);
                Ok(())
            },
        )
    },
    GlobalOption {
        syntax: ExtraOption {
            long: "timeout",
            value: ExtraValue::Required,
            // After the command, ipvsadm has an option of this name.
            only_before_command: true,
        },
        ..option(
            "timeout",
            "SECONDS",
            "Request timeout in seconds. 0.001 to 31536000; before ipvsadm's command only. The limit of a \
             whole response; of connections and of the events of a restore, of each. Default 30.",
            |options, value| {
                options.timeout = Some(timeout(value)?);
                Ok(())
            },
        )
    },
    GlobalOption {
        values: &["table", "json", "yaml"],
        ..option(
            "output",
            "FORMAT",
            "Output format. table, json (as in the API) or yaml. Default table.",
            |options, value| {
                options.format = match value.as_str() {
                    "json" => Format::Json,
                    "yaml" => Format::Yaml,
                    _ => Format::Table,
                };
                Ok(())
            },
        )
    },
    GlobalOption {
        values: &["auto", "always", "never"],
        ..option(
            "color",
            "WHEN",
            "Color messages, plans and top. auto, always or never. Default auto: on a terminal.",
            |options, value| {
                options.color = match value.as_str() {
                    "always" => Color::Always,
                    "never" => Color::Never,
                    _ => Color::Auto,
                };
                Ok(())
            },
        )
    },
    option(
        "keep-going",
        "",
        "Continue after errors (-R). Reports the line of each error. The exit code is 1 if there was \
         an error.",
        |options, _| {
            options.keep_going = true;
            Ok(())
        },
    ),
];

const fn option(
    long: &'static str,
    placeholder: &'static str,
    help: &'static str,
    set: fn(&mut Options, String) -> Result<(), CliError>,
) -> GlobalOption {
    GlobalOption {
        syntax: ExtraOption {
            long,
            value: match placeholder.is_empty() {
                true => ExtraValue::None,
                false => ExtraValue::Required,
            },
            only_before_command: false,
        },
        placeholder,
        default_value: "",
        values: &[],
        help,
        set,
    }
}

// === impl GlobalOption ===

impl GlobalOption {
    /// The option with its value: `--endpoint URL`.
    pub(super) fn usage(&self) -> String {
        let Self {
            syntax: ExtraOption { long, value, .. },
            placeholder,
            ..
        } = self;
        match value {
            ExtraValue::None => format!("--{long}"),
            ExtraValue::Required => format!("--{long} {placeholder}"),
            ExtraValue::Optional => format!("--{long}[={placeholder}]"),
        }
    }

    /// Validates and stores a value.
    pub(super) fn set(&self, options: &mut Options, value: String) -> Result<(), CliError> {
        if !self.values.is_empty() && !self.values.contains(&value.as_str()) {
            return Err(CliError::InvalidValue {
                option: self.syntax.long,
                value,
                expected: self.values.join(", "),
            });
        }
        (self.set)(options, value)
    }
}

// === impl Options ===

impl Options {
    /// Collects the global options of one of ipvsadm's command lines: index and value.
    pub(super) fn from_parsed(given: Vec<(usize, Option<String>)>) -> Result<Self, CliError> {
        let mut options = Self::default();
        for (index, value) in given {
            if let Some(option) = GLOBAL_OPTIONS.get(index) {
                let value = value.unwrap_or_else(|| option.default_value.to_owned());
                option.set(&mut options, value)?;
            }
        }
        Ok(options)
    }

    /// Rejects `--all`, for commands that write.
    pub(super) fn reject_all(&self) -> Result<(), CliError> {
        match self.all {
            true => Err(CliError::AllIsReadOnly),
            false => Ok(()),
        }
    }

    /// Rejects `--watch`, for commands that are no listings.
    pub(super) fn reject_watch(&self) -> Result<(), CliError> {
        match self.watch {
            Some(_) => Err(CliError::WatchIsReadOnly),
            None => Ok(()),
        }
    }
}

/// The time from one listing to the next.
fn interval(value: String) -> Result<Duration, CliError> {
    let seconds = value.parse().ok().filter(|s| (1..=3600).contains(s));
    let time = seconds.map(Duration::from_secs);
    time.ok_or_else(|| CliError::InvalidValue {
        option: "watch",
        value,
        expected: "a number of seconds from 1 to 3600".to_owned(),
    })
}

/// The values of a timeout.
pub(super) const SECONDS: &str = "a number of seconds from 0.001 to 31536000";

/// The time of a number of seconds; `None` if it is not one of [`SECONDS`].
pub(super) fn seconds(seconds: f64) -> Option<Duration> {
    let range = 0.001..=31_536_000.0;
    let seconds = Some(seconds).filter(|seconds| range.contains(seconds))?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn fingerprint(value: String) -> Result<Sha256, CliError> {
    value.parse().map_err(|_| CliError::InvalidValue {
        option: "fingerprint",
        value,
        expected: "64 hexadecimal digits, with or without a colon between pairs".to_owned(),
    })
}

fn timeout(value: String) -> Result<Duration, CliError> {
    let time = value.parse().ok().and_then(seconds);
    time.ok_or_else(|| CliError::InvalidValue {
        option: "timeout",
        value,
        expected: SECONDS.to_owned(),
    })
}

//! ipvsctl's own options, beside ipvsadm's.

use std::time::Duration;

use super::{CliError, output::Format};
use crate::ipvsadm::OwnOption;

/// What they say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    pub endpoint: Option<String>,
    pub director: Option<String>,
    pub all: bool,
    pub timeout: Option<Duration>,
    pub format: Format,
    pub color: Color,
    pub keep_going: bool,
}

/// When output is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// The options. `--timeout` is ipvsadm's own word after a command, which takes no value there.
pub(super) const OWN: [OwnOption; 7] = [
    own("endpoint", true),
    own("director", true),
    own("all", false),
    OwnOption {
        name: "timeout",
        takes_value: true,
        only_before_command: true,
    },
    own("output", true),
    own("color", true),
    own("keep-going", false),
];

const fn own(name: &'static str, takes_value: bool) -> OwnOption {
    OwnOption {
        name,
        takes_value,
        only_before_command: false,
    }
}

// === impl Options ===

impl Options {
    /// What the options of a command line say.
    pub(super) fn of(given: Vec<(usize, Option<String>)>) -> Result<Self, CliError> {
        let mut options = Self::default();
        for (place, value) in given {
            let name = OWN.get(place).map_or("", |own| own.name);
            let value = value.unwrap_or_default();
            match name {
                "endpoint" => options.endpoint = Some(value),
                "director" => options.director = Some(value),
                "all" => options.all = true,
                "timeout" => options.timeout = Some(timeout(value)?),
                "output" => options.format = value.parse()?,
                "color" => {
                    options.color = match value.as_str() {
                        "auto" => Color::Auto,
                        "always" => Color::Always,
                        "never" => Color::Never,
                        _ => {
                            return Err(CliError::Option {
                                option: "color",
                                text: value,
                                wanted: "auto, always or never",
                            });
                        }
                    };
                }
                _ => options.keep_going = true,
            }
        }
        Ok(options)
    }
}

/// Seconds, with a fraction if need be.
pub(super) fn timeout(text: String) -> Result<Duration, CliError> {
    text.parse()
        .ok()
        .filter(|seconds: &f64| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or(CliError::Option {
            option: "timeout",
            text,
            wanted: "a number of seconds above 0",
        })
}

//! Unparsed values of settings and their parsers. Every error names the expected and the actual
//! value.

use std::{ops::RangeInclusive, time::Duration};

use toml::{Spanned, de::DeValue};

use super::config_error::ConfigProblem;

/// The value of a setting as written by the user.
pub(super) enum RawValue<'a> {
    /// From the environment or the command line. List items are separated by commas.
    Text(&'a str),
    /// From the file.
    Toml(&'a DeValue<'a>),
}

const DURATION_FORM: &str = "\"500ms\", \"10s\", \"5m\", \"1h\", or a number of seconds";

impl RawValue<'_> {
    /// The text of a string value.
    pub(super) fn text(&self) -> Result<&str, ConfigProblem> {
        match self {
            RawValue::Text(text) => Ok(text),
            RawValue::Toml(DeValue::String(text)) => Ok(text),
            RawValue::Toml(_) => Err(self.unexpected("a string")),
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, ConfigProblem> {
        match self {
            RawValue::Text("true") | RawValue::Toml(DeValue::Boolean(true)) => Ok(true),
            RawValue::Text("false") | RawValue::Toml(DeValue::Boolean(false)) => Ok(false),
            _ => Err(self.unexpected("true or false")),
        }
    }

    /// An integer within `range`.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64, ConfigProblem> {
        let number = match self {
            RawValue::Text(text) => text.parse().ok(),
            RawValue::Toml(DeValue::Integer(digits)) => {
                u64::from_str_radix(digits.as_str(), digits.radix()).ok()
            }
            RawValue::Toml(_) => None,
        };
        number
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                self.unexpected(format!(
                    "an integer from {} to {}",
                    range.start(),
                    range.end()
                ))
            })
    }

    /// The text of a number with or without decimals.
    pub(super) fn decimal(&self) -> Option<&str> {
        match self {
            RawValue::Text(text) => Some(text),
            RawValue::Toml(DeValue::Integer(digits)) if digits.radix() == 10 => {
                Some(digits.as_str())
            }
            RawValue::Toml(DeValue::Float(digits)) => Some(digits.as_str()),
            RawValue::Toml(_) => None,
        }
    }

    /// A duration within `range`: a number with a unit (`"10s"`), or a number of seconds (`10`, `0.5`).
    pub(super) fn duration(
        &self,
        range: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigProblem> {
        let duration = match self {
            RawValue::Text(text) => parse_duration(text),
            RawValue::Toml(DeValue::String(text)) => parse_duration(text),
            RawValue::Toml(DeValue::Integer(digits)) if digits.radix() == 10 => {
                parse_duration(digits.as_str())
            }
            RawValue::Toml(DeValue::Float(digits)) => parse_duration(digits.as_str()),
            RawValue::Toml(_) => None,
        };
        duration
            .filter(|duration| range.contains(duration))
            .ok_or_else(|| {
                let (low, high) = (
                    format_duration(*range.start()),
                    format_duration(*range.end()),
                );
                self.unexpected(format!("a duration from {low} to {high} ({DURATION_FORM})"))
            })
    }

    /// One or more strings; text is split at commas.
    pub(super) fn list(&self) -> Result<Vec<&str>, ConfigProblem> {
        let item = |item: &'_ Spanned<DeValue<'_>>| RawValue::Toml(item.get_ref()).describe();
        match self {
            RawValue::Text(text) => Ok(text.split(',').map(str::trim).collect()),
            RawValue::Toml(DeValue::String(text)) => Ok(vec![text]),
            RawValue::Toml(DeValue::Array(items)) => items
                .iter()
                .map(|value| {
                    value
                        .get_ref()
                        .as_str()
                        .ok_or_else(|| ConfigProblem::Unexpected {
                            expected: "a list of strings".into(),
                            got: format!("a list with {}", item(value)),
                        })
                })
                .collect(),
            RawValue::Toml(_) => Err(self.unexpected("a list of strings")),
        }
    }

    /// The value of the name in `choices`.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, ConfigProblem> {
        let given = self.text().ok();
        let found = choices.iter().find(|(name, _)| Some(*name) == given);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = choices
                .iter()
                .map(|(name, _)| format!("\"{name}\""))
                .collect();
            self.unexpected(names.join(" or "))
        })
    }

    /// The error for this value.
    pub(super) fn unexpected(&self, expected: impl Into<String>) -> ConfigProblem {
        ConfigProblem::Unexpected {
            expected: expected.into(),
            got: self.describe(),
        }
    }

    fn describe(&self) -> String {
        match self {
            RawValue::Text(text) => format!("{text:?}"),
            RawValue::Toml(DeValue::String(text)) => format!("{text:?}"),
            RawValue::Toml(DeValue::Integer(digits)) => digits.to_string(),
            RawValue::Toml(DeValue::Float(digits)) => digits.to_string(),
            RawValue::Toml(DeValue::Boolean(truth)) => truth.to_string(),
            RawValue::Toml(DeValue::Datetime(time)) => time.to_string(),
            RawValue::Toml(DeValue::Array(_)) => "a list".to_owned(),
            RawValue::Toml(DeValue::Table(_)) => "a table".to_owned(),
        }
    }
}

/// Parses `500ms`, `10s`, `5m`, `1h`, `1.5s`; a number without unit is in seconds.
fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let number_ends = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number_ends);
    let unit_in_millis = match unit.trim_start() {
        "ms" => 1.0,
        "" | "s" => 1000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    // Rounded to the resolution of timers, so that 0.3 is 300 ms and not a little less.
    Duration::try_from_secs_f64((number * unit_in_millis).round() / 1000.0).ok()
}

/// Formats a duration in the shortest form that [`RawValue::duration`] parses to the same value.
pub(super) fn format_duration(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "0s".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// The name of a choice.
pub(super) fn choice_name<T: PartialEq>(choices: &[(&'static str, T)], value: T) -> &'static str {
    choices
        .iter()
        .find(|(_, choice)| *choice == value)
        .map_or("", |(name, _)| name)
}

/// Formats a list of strings as TOML.
pub(super) fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let quoted: Vec<_> = items.map(|item| quote(&item.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}

/// Formats a string as TOML.
pub(super) fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_with_and_without_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("10", 10_000),
            ("0.3", 300),
            ("1.5s", 1500),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("2 s", 2000),
            ("0", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn invalid_durations_are_rejected() {
        for text in [
            "",
            "s",
            "-1s",
            "10x",
            "1e3s",
            "1s2",
            "1.2.3s",
            "1m30s",
            "99999999999999999999h",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn formatted_durations_parse_to_the_same_value() {
        for millis in [0, 1, 999, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }
    }
}

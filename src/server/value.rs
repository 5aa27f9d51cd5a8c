//! One setting as it was written, in the file or in words (environment, command line), and the
//! readings a key can ask of it. Every refusal says what was expected and what was found.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::config_error::Problem;

/// A value before anybody gave it a meaning.
pub(super) enum Raw<'a> {
    /// From the environment or the command line. Lists are separated by commas.
    Words(&'a str),
    /// From the file.
    Toml(&'a DeValue<'a>),
}

const DURATION_FORM: &str = "\"500ms\", \"10s\", \"5m\", \"1h\", or a number of seconds";

impl Raw<'_> {
    /// The text of a string value.
    pub(super) fn text(&self) -> Result<&str, Problem> {
        match self {
            Raw::Words(words) => Ok(words),
            Raw::Toml(DeValue::String(text)) => Ok(text),
            Raw::Toml(_) => Err(self.unexpected("a string")),
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, Problem> {
        match self {
            Raw::Words("true") | Raw::Toml(DeValue::Boolean(true)) => Ok(true),
            Raw::Words("false") | Raw::Toml(DeValue::Boolean(false)) => Ok(false),
            _ => Err(self.unexpected("true or false")),
        }
    }

    /// An integer within `range`.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64, Problem> {
        let number = match self {
            Raw::Words(words) => words.parse().ok(),
            Raw::Toml(DeValue::Integer(digits)) => {
                u64::from_str_radix(digits.as_str(), digits.radix()).ok()
            }
            Raw::Toml(_) => None,
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

    /// A length of time within `range`: a number with a unit (`"10s"`), or bare seconds (`10`, `0.5`).
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Result<Duration, Problem> {
        let duration = match self {
            Raw::Words(words) => parse_duration(words),
            Raw::Toml(DeValue::String(text)) => parse_duration(text),
            Raw::Toml(DeValue::Integer(digits)) if digits.radix() == 10 => {
                parse_duration(digits.as_str())
            }
            Raw::Toml(DeValue::Float(digits)) => parse_duration(digits.as_str()),
            Raw::Toml(_) => None,
        };
        duration
            .filter(|duration| range.contains(duration))
            .ok_or_else(|| {
                let (low, high) = (show_duration(*range.start()), show_duration(*range.end()));
                self.unexpected(format!("a duration from {low} to {high} ({DURATION_FORM})"))
            })
    }

    /// One string or several; words are split at commas.
    pub(super) fn list(&self) -> Result<Vec<&str>, Problem> {
        let item = |item: &'_ Spanned<DeValue<'_>>| Raw::Toml(item.get_ref()).describe();
        match self {
            Raw::Words(words) => Ok(words.split(',').map(str::trim).collect()),
            Raw::Toml(DeValue::String(text)) => Ok(vec![text]),
            Raw::Toml(DeValue::Array(items)) => items
                .iter()
                .map(|value| {
                    value.get_ref().as_str().ok_or_else(|| Problem::Unexpected {
                        expected: "a list of strings".into(),
                        got: format!("a list with {}", item(value)),
                    })
                })
                .collect(),
            Raw::Toml(_) => Err(self.unexpected("a list of strings")),
        }
    }

    /// One of the words in `choices`, translated.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Problem> {
        let word = self.text().ok();
        let found = choices.iter().find(|(name, _)| Some(*name) == word);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<_> = choices
                .iter()
                .map(|(name, _)| format!("\"{name}\""))
                .collect();
            self.unexpected(names.join(" or "))
        })
    }

    /// The refusal of this value.
    pub(super) fn unexpected(&self, expected: impl Into<String>) -> Problem {
        Problem::Unexpected {
            expected: expected.into(),
            got: self.describe(),
        }
    }

    fn describe(&self) -> String {
        match self {
            Raw::Words(words) => format!("{words:?}"),
            Raw::Toml(DeValue::String(text)) => format!("{text:?}"),
            Raw::Toml(DeValue::Integer(digits)) => digits.to_string(),
            Raw::Toml(DeValue::Float(digits)) => digits.to_string(),
            Raw::Toml(DeValue::Boolean(truth)) => truth.to_string(),
            Raw::Toml(DeValue::Datetime(time)) => time.to_string(),
            Raw::Toml(DeValue::Array(_)) => "a list".to_owned(),
            Raw::Toml(DeValue::Table(_)) => "a table".to_owned(),
        }
    }
}

/// Reads `500ms`, `10s`, `5m`, `1h`, `1.5s`; a number alone is seconds.
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
    // Timers know no smaller steps; rounded, so that 0.3 is 300 ms and not a little less.
    Duration::try_from_secs_f64((number * unit_in_millis).round() / 1000.0).ok()
}

/// The shortest way to write a duration that [`Raw::duration`] reads back as the same.
pub(super) fn show_duration(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "0s".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_with_units_and_as_seconds() {
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
    fn what_is_not_a_duration_is_refused() {
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
    fn a_shown_duration_reads_back_as_itself() {
        for millis in [0, 1, 999, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }
    }
}

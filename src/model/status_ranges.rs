//! Status codes of HTTP, as a text.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::key::serde_as_text;

/// Status codes of HTTP: `200-299,301`. In order, without overlaps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StatusRanges(Vec<(u16, u16)>);

/// The text is not a list of status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be up to 16 status codes or ranges from 100 to 599, such as 200-299,301")]
pub struct InvalidStatusRanges;

// === impl StatusRanges ===

impl StatusRanges {
    const MAX: usize = 16;

    /// 200 to 399.
    pub fn usual() -> Self {
        Self(vec![(200, 399)])
    }

    /// Whether a status code is among them.
    pub fn contains(&self, code: u16) -> bool {
        let mut ranges = self.0.iter();
        ranges.any(|(first, last)| (*first..=*last).contains(&code))
    }
}

impl fmt::Display for StatusRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for StatusRanges {
    type Err = InvalidStatusRanges;

    fn from_str(text: &str) -> Result<Self, InvalidStatusRanges> {
        let code = |text: &str| {
            let code = plain(text).and_then(|code| u16::try_from(code).ok());
            code.filter(|code| (100..=599).contains(code))
                .ok_or(InvalidStatusRanges)
        };
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let part = part.trim();
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (code(first.trim())?, code(last.trim())?);
            if first > last || ranges.len() == Self::MAX {
                return Err(InvalidStatusRanges);
            }
            ranges.push((first, last));
        }
        ranges.sort_unstable();
        let mut joined: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        Ok(Self(joined))
    }
}

/// A number of digits alone.
pub(super) fn plain(text: &str) -> Option<u32> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

serde_as_text!(StatusRanges);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_are_joined_and_in_order() {
        for (text, shown) in [
            ("200-399", "200-399"),
            ("301, 200 - 299", "200-299,301"),
            ("200,201,202", "200-202"),
            ("500-599,100-550", "100-599"),
        ] {
            let ranges: StatusRanges = text.parse().unwrap();
            assert_eq!(ranges.to_string(), shown);
        }
        let some: StatusRanges = "200-299,301".parse().unwrap();
        let codes = [199, 200, 299, 300, 301, 302].map(|code| some.contains(code));
        assert_eq!(codes, [false, true, true, false, true, false]);
        let many = vec!["200"; 17].join(",");
        for text in [
            "",
            "99",
            "600",
            "300-200",
            "200-",
            "2xx",
            "200,",
            "+200",
            many.as_str(),
        ] {
            assert!(text.parse::<StatusRanges>().is_err(), "{text}");
        }
    }
}

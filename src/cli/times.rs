//! Times on the command line: RFC 3339, or a distance from now.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// What a time may be, for messages.
const EXPECTED: &str = "expected a time of RFC 3339, such as 2027-01-01T00:00:00Z, or a number of \
                        s, m, h, d or w, such as 90d";

/// A time in the past: `2h` is two hours ago.
pub(super) fn past(text: &str) -> Result<Timestamp, String> {
    time(text, Timestamp::now(), |now, distance| {
        now.checked_sub(distance)
    })
}

/// A time in the future: `90d` is in 90 days.
pub(super) fn future(text: &str) -> Result<Timestamp, String> {
    let now = Timestamp::now();
    let time = time(text, now, |now, distance| now.checked_add(distance))?;
    match time > now {
        true => Ok(time),
        false => Err("is not in the future".to_owned()),
    }
}

/// In whole seconds.
fn time(
    text: &str,
    now: Timestamp,
    at: impl FnOnce(Timestamp, SignedDuration) -> Result<Timestamp, jiff::Error>,
) -> Result<Timestamp, String> {
    let time = match text.parse() {
        Ok(time) => Some(time),
        Err(_) => distance(text).and_then(|distance| at(now, distance).ok()),
    };
    time.and_then(|time| Timestamp::from_second(time.as_second()).ok())
        .ok_or_else(|| EXPECTED.to_owned())
}

/// The time that a text such as `90d` or `2h30m` stands for. A day has 24 hours.
fn distance(text: &str) -> Option<SignedDuration> {
    let span: Span = text.parse().ok()?;
    let distance = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    (distance > SignedDuration::ZERO).then_some(distance)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn distances_are_counted_from_now() {
        let now: Timestamp = "2026-11-28T12:00:00.9Z".parse().unwrap();
        for (text, expected) in [
            ("90d", "2027-02-26T12:00:00Z"),
            ("2h30m", "2026-11-28T14:30:00Z"),
            ("1w", "2026-12-05T12:00:00Z"),
            ("2027-01-01T00:00:00+01:00", "2026-12-31T23:00:00Z"),
        ] {
            let time = time(text, now, |now, distance| now.checked_add(distance));
            assert_eq!(time.unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_times() {
        for text in [
            "",
            "90",
            "-90d",
            "0d",
            "1 month",
            "2027-01-01",
            "9999999w",
            "soon",
        ] {
            assert!(past(text).is_err(), "{text}");
        }
        assert!(future("2020-01-01T00:00:00Z").is_err());
        assert!(past("2020-01-01T00:00:00Z").is_ok());
    }
}

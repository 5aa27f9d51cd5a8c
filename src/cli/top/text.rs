//! Numbers and names in few characters.

use std::time::Duration;

/// A rate in at most 5 characters: 0.25, 12.5, 1234, 12.3k, 123k, 1.23M.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate < 0.005 => "0".to_owned(),
        Some(rate) if rate < 9.995 => format!("{rate:.2}"),
        Some(rate) if rate < 99.95 => format!("{rate:.1}"),
        Some(rate) if rate < 9999.5 => format!("{rate:.0}"),
        Some(rate) => scaled(rate),
    }
}

/// A number in at most 6 characters: 123456, 1.23M.
pub(super) fn count(count: u64) -> String {
    match count {
        0..=999_999 => count.to_string(),
        count => scaled(approximate(count)),
    }
}

/// Three digits and the unit: 12.3k.
fn scaled(mut number: f64) -> String {
    for unit in ["", "k", "M", "G", "T", "P"] {
        if number < 999.5 {
            let decimals = match number {
                number if number < 9.995 => 2,
                number if number < 99.95 => 1,
                _ => 0,
            };
            return format!("{number:.decimals$}{unit}");
        }
        number /= 1000.0;
    }
    "much".to_owned()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "three digits of it are shown, or its order is compared"
)]
pub(super) fn approximate(count: u64) -> f64 {
    count as f64
}

/// An age: 12 s, 3 min, 5 h, 2 d.
pub(super) fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// Cuts a name in its middle, so that it has at most `width` characters: the end of an id, the port, is
/// what differs most often.
pub(super) fn shorten(name: &str, width: usize, ellipsis: char) -> String {
    let length = name.chars().count();
    if length <= width {
        return name.to_owned();
    }
    let Some(kept) = width.checked_sub(1) else {
        return String::new();
    };
    let end = kept.div_ceil(2);
    let head = name.chars().take(kept - end);
    let tail = name.chars().skip(length - end);
    head.chain([ellipsis]).chain(tail).collect()
}

/// Cuts the end of a sentence, so that it has at most `width` characters.
pub(super) fn cut(text: &str, width: usize, ellipsis: char) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let head = text.chars().take(width.saturating_sub(1));
    head.chain([ellipsis]).take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_at_most_5_characters_and_counts_6() {
        for (number, expected) in [
            (0.0, "0"),
            (0.004, "0"),
            (0.25, "0.25"),
            (9.994, "9.99"),
            (9.996, "10.0"),
            (99.94, "99.9"),
            (99.96, "100"),
            (9999.0, "9999"),
            (9999.6, "10.0k"),
            (12_345.0, "12.3k"),
            (999_499.0, "999k"),
            (999_600.0, "1.00M"),
            (1.25e9, "1.25G"),
            (9.994e17, "999P"),
            (1e30, "much"),
        ] {
            assert_eq!(rate(Some(number)), expected, "{number}");
        }
        assert_eq!(rate(None), "-");
        for (number, expected) in [
            (0, "0"),
            (999_999, "999999"),
            (1_000_000, "1.00M"),
            (u64::MAX, "much"),
        ] {
            assert_eq!(count(number), expected);
        }
    }

    #[test]
    fn a_name_that_is_too_long_keeps_its_beginning_and_its_end() {
        assert_eq!(shorten("tcp-192.0.2.1-80", 16, '~'), "tcp-192.0.2.1-80");
        assert_eq!(shorten("tcp-192.0.2.1-80", 15, '~'), "tcp-192~.2.1-80");
        assert_eq!(shorten("éèéè", 3, '…'), "é…è");
        assert_eq!(shorten("ab", 1, '…'), "…");
        assert_eq!(shorten("ab", 0, '…'), "");
    }

    #[test]
    fn a_sentence_that_is_too_long_keeps_its_beginning() {
        assert_eq!(cut("refused", 7, '~'), "refused");
        assert_eq!(cut("refused", 6, '~'), "refus~");
        assert_eq!(cut("ab", 1, '…'), "…");
        assert_eq!(cut("ab", 0, '…'), "");
    }

    #[test]
    fn ages_have_one_unit() {
        for (seconds, expected) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7200, "2 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), expected);
        }
    }
}

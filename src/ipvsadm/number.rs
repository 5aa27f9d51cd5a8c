//! Numbers as the C library reads them, and as ipvsadm prints counters.

use super::columns::Line;

/// `strtol` in base 10 of a whole word: blanks and a sign before it, nothing after it, at least one
/// digit.
pub(super) fn whole(text: &str) -> Option<i64> {
    let (number, rest) = prefix(text)?;
    rest.is_empty().then_some(number).flatten()
}

/// `string_to_number`: a whole word from 0 or more to `max`.
pub(super) fn in_range<T: TryFrom<i64>>(text: &str, min: i64, max: i64) -> Option<T> {
    let number = whole(text).filter(|number| (min..=max).contains(number))?;
    T::try_from(number).ok()
}

/// `atoi`: what of the word's begin is a number, 0 where nothing is.
pub(super) fn leading(text: &str) -> i64 {
    match prefix(text) {
        // C keeps the low 32 bits; what overflows even 64 is all ones there.
        #[allow(clippy::cast_possible_truncation, reason = "as C does")]
        Some((number, _)) => i64::from(number.unwrap_or(-1) as i32),
        None => 0,
    }
}

/// The number at the begin, `None` inside where it overflows, and what follows it.
fn prefix(text: &str) -> Option<(Option<i64>, &str)> {
    let bare = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let (negative, digits) = match bare.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, bare.strip_prefix('+').unwrap_or(bare)),
    };
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let (number, rest) = digits.split_at(end);
    let number = number.bytes().try_fold(0_i64, |number, digit| {
        let digit = i64::from(digit - b'0');
        let digit = if negative { -digit } else { digit };
        number.checked_mul(10)?.checked_add(digit)
    });
    Some((number, rest))
}

/// A counter in a column of 9: shortened in steps of 1000, or whole.
pub(super) fn counter(line: &mut Line, value: u64, exact: bool) {
    let (value, unit) = match value {
        0..100_000_000 => (value, None),
        _ if exact => (value, None),
        100_000_000..1_000_000_000 => (value / 1_000, Some('K')),
        1_000_000_000..100_000_000_000 => (value / 1_000_000, Some('M')),
        100_000_000_000..100_000_000_000_000 => (value / 1_000_000_000, Some('G')),
        _ => (value / 1_000_000_000_000, Some('T')),
    };
    if unit.is_none() {
        line.text.push(' ');
    }
    line.right_number(value, 8);
    line.text.extend(unit);
}

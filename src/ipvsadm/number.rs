//! Parses numbers like the C library, and prints counters like ipvsadm.

use super::columns::ColumnWriter;

/// Parses a whole word like strtol(3) in base 10: leading blanks and a sign are accepted, trailing
/// characters are not.
pub(super) fn whole(text: &str) -> Option<i64> {
    let (number, rest) = prefix(text)?;
    rest.is_empty().then_some(number).flatten()
}

/// Parses a whole word between `min` and `max`.
pub(super) fn in_range<T: TryFrom<i64>>(text: &str, min: i64, max: i64) -> Option<T> {
    let number = whole(text).filter(|number| (min..=max).contains(number))?;
    T::try_from(number).ok()
}

/// Parses the leading digits of a word like atoi(3); 0 if there are none.
pub(super) fn leading(text: &str) -> i64 {
    match prefix(text) {
        // C keeps the low 32 bits. glibc returns LONG_MAX on overflow, whose low 32 bits are all ones.
        #[allow(clippy::cast_possible_truncation, reason = "C truncates too")]
        Some((number, _)) => i64::from(number.unwrap_or(-1) as i32),
        None => 0,
    }
}

/// The leading number, `None` if it overflows, and the rest of the text.
fn prefix(text: &str) -> Option<(Option<i64>, &str)> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let blanks = text.bytes().take_while(is_blank).count();
    let (negative, start) = match text.as_bytes().get(blanks) {
        Some(b'-') => (true, blanks + 1),
        Some(b'+') => (false, blanks + 1),
        _ => (false, blanks),
    };
    let digits = text.get(start..)?;
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
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

/// Appends a counter in a column of 9 characters, abbreviated with a unit unless `exact`.
pub(super) fn counter(line: &mut ColumnWriter, value: u64, exact: bool) {
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

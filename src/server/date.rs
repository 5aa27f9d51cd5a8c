//! The `Date` of responses (RFC 9110, section 6.6.1).

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use http::HeaderValue;

/// A value, and when the wall clock was read for it.
struct Rendered {
    value: HeaderValue,
    at: Instant,
}

/// Age up to which a value is sent again. Reading the wall clock is a system call on some machines.
const MAX_AGE: Duration = Duration::from_millis(100);

/// The value for a response that is sent `now`.
///
/// hyper would add one of its own. It renders that once per second of the wall clock, and not while
/// the clock is behind the last one: after the clock was set back by an hour, it is wrong for an hour.
pub(super) fn at(now: Instant) -> HeaderValue {
    static LAST: Mutex<Option<Rendered>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    match &*last {
        Some(last) if now.saturating_duration_since(last.at) < MAX_AGE => last.value.clone(),
        _ => {
            let value = httpdate::fmt_http_date(SystemTime::now());
            // ASCII text is always a valid value.
            let value = HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(""));
            let at = now;
            last.insert(Rendered { value, at }).value.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_sent_again_for_a_short_time() {
        let now = Instant::now();
        let first = at(now);
        assert_eq!(at(now + MAX_AGE / 2), first);
        // A value that another test has rendered, or this one: it is of the current second or the last.
        let date =
            |value: &HeaderValue| httpdate::parse_http_date(value.to_str().unwrap()).unwrap();
        let renewed = at(now + 2 * MAX_AGE);
        let age = SystemTime::now().duration_since(date(&renewed)).unwrap();
        assert!(age < Duration::from_secs(2), "{age:?}");
        assert!(date(&renewed) >= date(&first));
    }
}

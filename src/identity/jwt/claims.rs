//! The claims of a token (RFC 7519, section 4), by name or path.

use serde_json::{Map, Value};

/// The claims of a token.
pub(super) type Claims = Map<String, Value>;

/// The latest time of a claim: the end of the year 9999, in seconds since 1970. A later one is an error of
/// the issuer, such as milliseconds.
const MAX_TIME: u64 = 253_402_300_799;

/// A time in a claim (NumericDate), in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    /// Rounded down.
    pub(super) low: u64,
    /// Rounded up.
    pub(super) high: u64,
}

/// A claim has the wrong type or is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The claim with this name or path. `realm_access.roles` is the member `roles` of `realm_access`. Names
/// may contain dots, as in `kubernetes.io.serviceaccount.name`; the whole path is tried as a name first, then
/// each split of it from the left. A claim that is null is absent.
pub(super) fn find<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value).filter(|value| !value.is_null());
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let (name, rest) = path.split_at_checked(dot)?;
        find(claims.get(name)?.as_object()?, rest.get(1..)?)
    })
}

/// Whether a claim is this string, or an array that contains it.
pub(super) fn has(claim: &Value, expected: &str) -> bool {
    match claim {
        Value::String(text) => text == expected,
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(expected)),
        _ => false,
    }
}

/// A time, which is a number, not a string. `None`: the claim is absent.
pub(super) fn time(claims: &Claims, name: &str) -> Result<Option<Time>, Malformed> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let time = match value.as_u64() {
        Some(seconds) => Time {
            low: seconds,
            high: seconds,
        },
        None => {
            let seconds = value
                .as_f64()
                .filter(|s| (0.0..=MAX_TIME as f64).contains(s));
            let seconds = seconds.ok_or(Malformed)?;
            Time {
                low: seconds.trunc() as u64,
                high: seconds.ceil() as u64,
            }
        }
    };
    match time.high <= MAX_TIME {
        true => Ok(Some(time)),
        false => Err(Malformed),
    }
}

/// The values of a claim that is a string or an array of strings (`aud`).
pub(super) fn strings(claim: &Value) -> Result<Vec<&str>, Malformed> {
    match claim {
        Value::String(text) => Ok(vec![text]),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().ok_or(Malformed))
            .collect(),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_path_leads_through_names_with_dots() {
        let claims = claims(json!({
            "sub": "a",
            "realm_access": {"roles": ["x", "y"]},
            "kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "sa"}},
            "https://example.com/role": "z",
            "a.b": 1, "a": {"b": 2, "c.d": {"e": 3}},
            "none": null,
        }));
        for (path, expected) in [
            ("sub", json!("a")),
            ("realm_access.roles", json!(["x", "y"])),
            ("kubernetes.io.serviceaccount.name", json!("sa")),
            ("kubernetes.io.namespace", json!("ns")),
            ("https://example.com/role", json!("z")),
            ("a.b", json!(1)),
            ("a.c.d.e", json!(3)),
        ] {
            assert_eq!(find(&claims, path), Some(&expected), "{path}");
        }
        for path in [
            "",
            ".",
            "sub.x",
            "roles",
            "realm_access.",
            ".roles",
            "a..b",
            "none",
            "a.c",
        ] {
            assert_eq!(find(&claims, path), None, "{path}");
        }
    }

    #[test]
    fn a_claim_has_a_value_if_it_is_equal_or_contains_it() {
        assert!(has(&json!("a"), "a"));
        assert!(has(&json!(["b", "a", 1]), "a"));
        for other in [
            json!("a b"),
            json!("A"),
            json!(["ab"]),
            json!({"a": "a"}),
            json!([["a"]]),
            json!(1),
        ] {
            assert!(!has(&other, "a"), "{other}");
        }
        assert!(!has(&json!(1), "1"));
    }

    #[test]
    fn times_are_numbers() {
        let time = |value: Value| time(&claims(json!({"exp": value})), "exp");
        assert_eq!(time(json!(5)), Ok(Some(Time { low: 5, high: 5 })));
        assert_eq!(time(json!(5.5)), Ok(Some(Time { low: 5, high: 6 })));
        assert_eq!(time(json!(MAX_TIME)).map(|time| time.is_some()), Ok(true));
        for wrong in [
            json!("5"),
            json!(-1),
            json!(-0.5),
            json!(1e300),
            json!(MAX_TIME + 1),
            json!(u64::MAX),
            json!([5]),
            json!(true),
            json!(null),
        ] {
            assert_eq!(time(wrong.clone()), Err(Malformed), "{wrong}");
        }
    }

    #[test]
    fn an_audience_is_a_string_or_several() {
        assert_eq!(strings(&json!("a")), Ok(vec!["a"]));
        assert_eq!(strings(&json!(["a", "b"])), Ok(vec!["a", "b"]));
        assert_eq!(strings(&json!([])), Ok(vec![]));
        for wrong in [json!(["a", 1]), json!(1), json!({"a": 1}), json!(null)] {
            assert_eq!(strings(&wrong), Err(Malformed), "{wrong}");
        }
    }
}

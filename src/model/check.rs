//! Checks that several drafts share.

use std::{fmt::Display, net::IpAddr, str::FromStr};

use super::{Error, Field, Name, Violation, key::parse_address};

/// The field `address`.
pub(super) fn address(text: &str) -> Result<IpAddr, Violation> {
    parse_address(text).ok_or_else(|| {
        Violation::new(
            "address",
            format!("{text:?} is not an IPv4 or IPv6 address"),
        )
    })
}

/// The field `port`.
pub(super) fn port(number: i64) -> Result<u16, Violation> {
    in_range(number, "port", 0, u16::MAX.into())
}

/// An identifying field with another value than the key that `named` describes.
pub(super) fn contradiction(field: &str, value: &impl Display, named: &dyn Display) -> Violation {
    Violation::new(
        field,
        format!("{value} contradicts {named}; what identifies an object cannot be changed"),
    )
}

/// The `id` of a draft, if it has one.
pub(super) fn parse_id<K: FromStr<Err = Error>>(id: Option<&str>) -> Option<Result<K, Violation>> {
    Some(
        id?.parse()
            .map_err(|error: Error| Violation::new("id", error.detail)),
    )
}

/// Checks that a draft names no other object than `key`, that of the request path: neither by its id
/// nor by another field, of which `contradictions` returns those that differ.
pub(super) fn same_object<K: Copy + PartialEq + Display>(
    key: K,
    id: Option<Result<K, Violation>>,
    contradictions: impl FnOnce(K, &dyn Display) -> Vec<Violation>,
) -> Result<(), Error> {
    let request = format_args!("the request, which is for {key}");
    let mut violations = Vec::new();
    match id {
        Some(Ok(id)) if id != key => violations.push(contradiction("id", &id, &request)),
        Some(Err(violation)) => violations.push(violation),
        _ => {}
    }
    violations.extend(contradictions(key, &request));
    accept((), violations)
}

/// `value` as a number from `min` to `max`.
pub(super) fn in_range<T: TryFrom<i64>>(
    value: i64,
    field: &str,
    min: i64,
    max: i64,
) -> Result<T, Violation> {
    (min..=max)
        .contains(&value)
        .then(|| T::try_from(value).ok())
        .flatten()
        .ok_or_else(|| Violation::new(field, format!("{value} is out of range: {min} to {max}")))
}

/// `text` as a kernel name of at most `max` bytes.
pub(super) fn kernel_name(
    text: &str,
    field: &str,
    max: usize,
    violations: &mut Vec<Violation>,
) -> Option<Name> {
    let name = Name::new(text, max);
    if name.is_none() {
        violations.push(Violation::new(
            field,
            format!("{text:?} is not a name of 1 to {max} visible ASCII characters"),
        ));
    }
    name
}

/// `field` applied to `base`. A value outside `min` to `max` adds a violation and keeps `base`, unless
/// it equals `base`: what another program has set may be sent back.
pub(super) fn number<T: TryFrom<i64> + Copy + Into<i64>>(
    field: &Field<i64>,
    name: &str,
    (base, default): (T, T),
    (min, max): (i64, i64),
    violations: &mut Vec<Violation>,
) -> T {
    match *field {
        Field::Keep => base,
        Field::Clear => default,
        Field::Set(value) if value == base.into() => base,
        Field::Set(value) => in_range(value, name, min, max).unwrap_or_else(|violation| {
            violations.push(violation);
            base
        }),
    }
}

/// `value` if there are no violations.
pub(super) fn accept<T>(value: T, violations: Vec<Violation>) -> Result<T, Error> {
    if violations.is_empty() {
        Ok(value)
    } else {
        Err(Error::from_violations(violations))
    }
}

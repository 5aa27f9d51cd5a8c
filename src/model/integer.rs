//! Integers in requests: JSON numbers without a fraction, so 1.0 and 1e3 too, as JSON Schema defines
//! its type `integer`.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

use super::Field;

#[derive(Deserialize)]
struct Integer(#[serde(deserialize_with = "one")] i64);

struct IntegerVisitor;

impl Visitor<'_> for IntegerVisitor {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<i64, E> {
        // 2^63, the first number that is none of i64.
        const LIMIT: f64 = -(i64::MIN as f64);
        if number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number) {
            Ok(number as i64)
        } else {
            Err(E::invalid_type(Unexpected::Float(number), &self))
        }
    }
}

/// `#[serde(deserialize_with)]` of an integer.
pub(super) fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    // The deserialiser of untagged enums accepts only integers for `deserialize_i64`.
    deserializer.deserialize_any(IntegerVisitor)
}

/// `#[serde(deserialize_with)]` of two integers.
pub(super) fn pair<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[i64; 2], D::Error> {
    let [Integer(first), Integer(second)] = Deserialize::deserialize(deserializer)?;
    Ok([first, second])
}

/// `#[serde(deserialize_with)]` of an integer that may be absent.
pub(super) fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let number = Option::<Integer>::deserialize(deserializer)?;
    Ok(number.map(|Integer(number)| number))
}

/// `#[serde(deserialize_with)]` of a field.
pub(super) fn field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Field<i64>, D::Error> {
    Ok(option(deserializer)?.map_or(Field::Clear, Field::Set))
}

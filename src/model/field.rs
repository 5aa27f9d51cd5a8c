//! Presence of an optional field in a request.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An optional field of a request. An absent field is not zero, and differs from a cleared one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Field<T> {
    /// Absent: an update keeps the current value, a create takes the default.
    #[default]
    Keep,
    /// Set to the default: `null` in JSON; in gRPC, named in the field mask but absent.
    Clear,
    /// Set to this value.
    Set(T),
}

// === impl Field ===

impl<T> Field<T> {
    /// Whether the request contains the field, including as `null`.
    pub fn is_present(&self) -> bool {
        !matches!(self, Self::Keep)
    }

    /// The same field, set to the default if it is absent.
    #[must_use]
    pub fn or_clear(self) -> Self {
        match self {
            Self::Keep => Self::Clear,
            field => field,
        }
    }

    /// Whether the field is left as it is.
    pub fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The resulting value, given the current one.
    pub fn resolve(self, base: T, default: T) -> T {
        match self {
            Self::Keep => base,
            Self::Clear => default,
            Self::Set(value) => value,
        }
    }

    /// The field with its value borrowed.
    pub fn as_ref(&self) -> Field<&T> {
        match self {
            Self::Keep => Field::Keep,
            Self::Clear => Field::Clear,
            Self::Set(value) => Field::Set(value),
        }
    }
}

/// `None` is [`Field::Keep`].
impl<T> From<Option<T>> for Field<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Keep, Self::Set)
    }
}

/// `null` is [`Field::Clear`]. An absent key must use `#[serde(default)]`.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

/// In a merge patch: `null` clears. [`Field::Keep`] has no representation; skip it
/// (`#[serde(skip_serializing_if = "Field::is_keep")]`).
impl<T: Serialize> Serialize for Field<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => serializer.serialize_some(value),
        }
    }
}

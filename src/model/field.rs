use serde::{Deserialize, Deserializer};

/// What a client said of one optional field. Absent is not zero, and neither is "take it away".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Field<T> {
    /// Not mentioned: an update keeps what is there, a create takes the default.
    #[default]
    Keep,
    /// `null` in JSON, named in the field mask but absent in gRPC: back to the default.
    Clear,
    /// This value.
    Set(T),
}

// === impl Field ===

impl<T> Field<T> {
    /// Whether the client mentioned the field at all.
    pub fn is_mentioned(&self) -> bool {
        !matches!(self, Self::Keep)
    }

    /// Lays this field over `base`.
    pub fn over(self, base: T, default: T) -> T {
        match self {
            Self::Keep => base,
            Self::Clear => default,
            Self::Set(value) => value,
        }
    }

    /// The same field with its value borrowed.
    pub fn as_ref(&self) -> Field<&T> {
        match self {
            Self::Keep => Field::Keep,
            Self::Clear => Field::Clear,
            Self::Set(value) => Field::Set(value),
        }
    }
}

/// Present in a list of defaults: absent keeps.
impl<T> From<Option<T>> for Field<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Keep, Self::Set)
    }
}

/// `null` clears; an absent key never gets here and keeps (`#[serde(default)]`).
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

//! Names in the kernel.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name of at most 16 bytes in the kernel: of a scheduler, a persistence engine or an interface.
/// Stored inline, so that a large table needs no allocation for its names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    bytes: [u8; Self::MAX],
}

// === impl Name ===

impl Name {
    /// The longest name in bytes (`IP_VS_PENAME_MAXLEN`). Names of schedulers and interfaces have at
    /// most 15.
    pub const MAX: usize = 16;

    /// The first [`Self::MAX`] bytes up to a NUL. Bytes that are not visible ASCII become `?`.
    pub const fn from_kernel(bytes: &[u8]) -> Self {
        let mut name = Self {
            bytes: [0; Self::MAX],
        };
        let mut place = 0;
        while place < Self::MAX && place < bytes.len() && bytes[place] != 0 {
            let is_visible = bytes[place].is_ascii_graphic();
            name.bytes[place] = if is_visible { bytes[place] } else { b'?' };
            place += 1;
        }
        name
    }

    /// A name of 1 to `max` visible ASCII characters; `None` if `text` is not one.
    pub fn new(text: &str, max: usize) -> Option<Self> {
        let fits = (1..=max.min(Self::MAX)).contains(&text.len());
        (fits && text.bytes().all(|b| b.is_ascii_graphic()))
            .then(|| Self::from_kernel(text.as_bytes()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let end = self.bytes.iter().position(|&b| b == 0).unwrap_or(Self::MAX);
        // Both constructors store ASCII only.
        std::str::from_utf8(&self.bytes[..end]).unwrap_or_default()
    }
}

impl FromStr for Name {
    type Err = super::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text, Self::MAX).ok_or_else(|| {
            super::Error::invalid(
                "",
                format!("{text:?} is not a name of 1 to 16 visible characters"),
            )
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

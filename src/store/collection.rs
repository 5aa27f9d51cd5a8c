//! Collections: named groups of records of one type.

use std::{fmt, marker::PhantomData};

use super::error::StoreError;

/// A collection of records of the type `V`, as a constant:
///
/// ```
/// use ipvsd::store::Collection;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Label {
///     text: String,
/// }
///
/// const LABELS: Collection<Label> = Collection::new("labels");
/// ```
///
/// The name is part of the format of the file and must not change. Two collections of one name are the same.
/// The records are JSON: a field that is added later needs `#[serde(default)]`.
pub struct Collection<V> {
    name: &'static str,
    record: PhantomData<fn() -> V>,
}

/// What a scan calls for each record, with its key and its value. An error ends the scan.
pub(super) type Visit<'a> = dyn FnMut(&str, &[u8]) -> Result<(), StoreError> + 'a;

/// Longest name in bytes.
pub(super) const MAX_NAME: usize = 64;

// === impl Collection ===

impl<V> Collection<V> {
    /// The collection of this name: 1 to 64 of `a`-`z`, `0`-`9`, `-` and `_`, a letter first. Another name
    /// does not compile in a constant.
    pub const fn new(name: &'static str) -> Self {
        assert!(is_name(name.as_bytes()), "the name of a collection");
        Self {
            name,
            record: PhantomData,
        }
    }

    /// The name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<V> fmt::Debug for Collection<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Collection").field(&self.name).finish()
    }
}

/// Whether a collection may have this name. Other names are those of the store itself.
pub(super) const fn is_name(name: &[u8]) -> bool {
    if name.is_empty() || name.len() > MAX_NAME || !name[0].is_ascii_lowercase() {
        return false;
    }
    let mut index = 0;
    while index < name.len() {
        let byte = name[index];
        if !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_') {
            return false;
        }
        index += 1;
    }
    true
}

//! Labels of services, and their changes in requests.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Entries, Error, Violation, check::accept};

/// The labels of a service: values by keys. A key is a name of 1 to 63 characters `A-Z`, `a-z`, `0-9`, `.`, `_`
/// and `-`, the first and the last of them a letter or a digit, if need be after a DNS name of up to 253
/// characters and `/`. A value is such a name, or empty. At most 64. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Option<Arc<BTreeMap<String, String>>>);

/// Labels in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelsDraft {
    /// Values by keys; `None` removes a label.
    pub entries: BTreeMap<String, Option<String>>,
    /// Whether an update removes the labels that `entries` does not name.
    pub is_whole: bool,
}

/// Labels of a service at most.
const MAX_LABELS: usize = 64;
/// Longest name in a key, and longest value, in bytes.
const MAX_NAME: usize = 63;
/// Longest prefix of a key in bytes.
const MAX_PREFIX: usize = 253;

// === impl Labels ===

impl Labels {
    /// No labels.
    pub const NONE: &Self = &Self(None);

    /// [`NONE`](Self::NONE), where a value is needed.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The value of a label, if there is this label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.as_ref()?.get(key).map(String::as_str)
    }

    /// Values by keys.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.0.as_deref().cloned().unwrap_or_default()
    }

    /// Memory in bytes, about.
    pub fn bytes(&self) -> usize {
        let entries = self.0.iter().flat_map(|labels| labels.iter());
        let of_entry =
            |(key, value): (&String, &String)| 2 * size_of::<String>() + key.len() + value.len();
        entries.map(of_entry).sum()
    }
}

/// The hash of something with its labels is that without them, if there are none.
impl Hash for Labels {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        if let Some(labels) = &self.0 {
            labels.hash(hasher);
        }
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        Self((!labels.is_empty()).then(|| Arc::new(labels)))
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().flat_map(|labels| labels.iter()))
    }
}

/// As stored: the labels were checked in the request that set them.
impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self::from)
    }
}

// === impl LabelsDraft ===

impl<'de> Deserialize<'de> for LabelsDraft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Entries(entries) = Entries::deserialize(deserializer)?;
        Ok(Self {
            entries,
            is_whole: false,
        })
    }
}

impl LabelsDraft {
    /// What this makes of labels.
    pub(super) fn apply(&self, base: &Labels) -> Result<Labels, Error> {
        let mut labels = match self.is_whole {
            true => BTreeMap::new(),
            false => base.to_map(),
        };
        let mut violations = Vec::new();
        for (key, value) in &self.entries {
            violations.extend(check_key(key).err());
            match value {
                Some(value) => {
                    violations.extend(check_value(key, value).err());
                    labels.insert(key.clone(), value.clone());
                }
                None => drop(labels.remove(key)),
            }
        }
        let count = labels.len();
        if count > MAX_LABELS {
            let message = format!("{count} labels are too many: at most {MAX_LABELS}");
            violations.push(Violation::new("labels", message));
        }
        accept(labels.into(), violations)
    }
}

/// Checks a key of a label.
pub(super) fn check_key(key: &str) -> Result<(), Violation> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if is_name(name) && prefix.is_none_or(is_dns_name) {
        return Ok(());
    }
    let message = format!(
        "{key:?} is not the key of a label: 1 to {MAX_NAME} characters A-Z, a-z, 0-9, \".\", \"_\" and \"-\", the \
         first and the last a letter or a digit, if need be after a DNS name and \"/\""
    );
    Err(Violation::new("labels", message))
}

/// Checks a value of the label with this key.
pub(super) fn check_value(key: &str, value: &str) -> Result<(), Violation> {
    if value.is_empty() || is_name(value) {
        return Ok(());
    }
    let message = format!(
        "{key}: {value:?} is not the value of a label: up to {MAX_NAME} characters A-Z, a-z, 0-9, \".\", \"_\" and \
         \"-\", the first and the last a letter or a digit"
    );
    Err(Violation::new("labels", message))
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_end = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let is_inner = |c: &u8| c.is_ascii_alphanumeric() || b"._-".contains(c);
    bytes.len() <= MAX_NAME
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(is_inner)
}

fn is_dns_name(text: &str) -> bool {
    let is_simple = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(is_simple)
            && bytes.last().is_some_and(is_simple)
            && bytes.iter().all(|c| is_simple(c) || *c == b'-')
    };
    text.len() <= MAX_PREFIX && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Field, ServiceDraft};

    fn draft(json: &str) -> ServiceDraft {
        serde_json::from_str(json).unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Labels::from(pairs.iter().map(owned).collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn keys_and_values_have_the_syntax_of_kubernetes() {
        let long = "x".repeat(63);
        let prefixed = format!("{}/a", "p".repeat(253));
        for key in ["a", "A.b_c-D9", "example.com/team", &long, &prefixed] {
            check_key(key).unwrap();
        }
        let longer = "x".repeat(64);
        let prefixed = format!("{}/a", "p".repeat(254));
        for key in [
            "", "-a", "a-", "a/", "/a", "a/b/c", "A.b/c", "a..b/c", "-a/c", "ä", "a b", &longer,
            &prefixed,
        ] {
            assert_eq!(check_key(key).unwrap_err().field, "labels", "{key}");
        }
        for value in ["", "1", "web", "a_b", &long] {
            check_value("a", value).unwrap();
        }
        for value in ["a/b", ".a", "a.", "ü", &longer] {
            assert!(check_value("a", value).is_err(), "{value}");
        }
    }

    #[test]
    fn an_update_merges_and_a_replacement_keeps_only_what_it_does_not_name_at_all() {
        let base = labels(&[("a", "1"), ("b", "2")]);
        let patch = draft(r#"{"labels": {"a": null, "c": "3", "b": "4"}}"#);
        let merged = patch.updated_labels(&base).unwrap();
        assert_eq!(merged, labels(&[("b", "4"), ("c", "3")]));
        assert_eq!(patch.whole_labels().unwrap(), Some(merged));
        assert_eq!(draft("{}").updated_labels(&base).unwrap(), base);
        assert_eq!(draft("{}").whole_labels().unwrap(), None);
        let none = draft(r#"{"labels": null}"#);
        assert!(none.updated_labels(&base).unwrap().is_empty());
        assert!(none.whole_labels().unwrap().unwrap().is_empty());
        let empty = draft(r#"{"labels": {}}"#);
        assert_eq!(empty.updated_labels(&base).unwrap(), base);
        assert!(empty.whole_labels().unwrap().unwrap().is_empty());
    }

    #[test]
    fn labels_are_bounded_and_each_error_is_reported() {
        let many = |count: usize| {
            let entry = |number: usize| (format!("k{number}"), Some(String::new()));
            let mut draft = ServiceDraft::default();
            draft.labels = Field::Set(LabelsDraft {
                entries: (0..count).map(entry).collect(),
                is_whole: false,
            });
            draft
        };
        many(64).whole_labels().unwrap();
        assert!(many(65).whole_labels().is_err());
        let base = labels(&[("other", "")]);
        assert!(many(64).updated_labels(&base).is_err());
        let bad = draft(r#"{"labels": {"-": "x", "b": "/"}}"#);
        assert_eq!(bad.whole_labels().unwrap_err().violations.len(), 2);
        assert!(serde_json::from_str::<ServiceDraft>(r#"{"labels": {"a": 1}}"#).is_err());
        let twice = r#"{"labels": {"a": "1", "a": "2"}}"#;
        assert!(serde_json::from_str::<ServiceDraft>(twice).is_err());
    }
}

//! The fields of a service that the daemon stores, because the kernel has no place for them.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize};

use super::{HealthCheck, Labels};

/// The fields of a service that the daemon stores. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredFields {
    /// Labels.
    pub labels: Labels,
    /// The health check.
    pub health_check: Option<Arc<HealthCheck>>,
}

/// The stored fields that a service is to have. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTarget {
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// The health check, or none.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub health_check: Option<Option<Arc<HealthCheck>>>,
}

// === impl StoredFields ===

impl StoredFields {
    /// No labels and no health check.
    pub const NONE: &Self = &Self {
        labels: Labels::none(),
        health_check: None,
    };

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.health_check.is_none()
    }

    /// Memory in bytes, about.
    pub fn bytes(&self) -> usize {
        let check = self.health_check.as_ref();
        self.labels.bytes() + check.map_or(0, |check| check.bytes())
    }
}

/// The hash of something with its stored fields is that without them, if there are none.
impl Hash for StoredFields {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.labels.hash(hasher);
        if let Some(check) = &self.health_check {
            ("health_check", check).hash(hasher);
        }
    }
}

impl From<Labels> for StoredFields {
    fn from(labels: Labels) -> Self {
        Self {
            labels,
            health_check: None,
        }
    }
}

// === impl StoredTarget ===

impl StoredTarget {
    /// What becomes of the fields that a service has.
    pub fn over(&self, base: &StoredFields) -> StoredFields {
        let Self {
            labels,
            health_check,
        } = self;
        StoredFields {
            labels: labels.as_ref().unwrap_or(&base.labels).clone(),
            health_check: health_check.as_ref().unwrap_or(&base.health_check).clone(),
        }
    }

    /// The same, and what it leaves as it is becomes that of `base`.
    #[must_use]
    pub fn or(&self, base: &StoredFields) -> Self {
        Self::exactly(self.over(base))
    }

    /// These fields and no others.
    pub fn exactly(fields: StoredFields) -> Self {
        Self {
            labels: Some(fields.labels),
            health_check: Some(fields.health_check),
        }
    }

    /// The fields that there are. A field that is not, stays as it is.
    pub fn of_present(fields: &StoredFields) -> Self {
        Self {
            labels: Some(fields.labels.clone()).filter(|labels| !labels.is_empty()),
            health_check: fields.health_check.clone().map(Some),
        }
    }
}

/// The hash of something that names no stored fields is that without them.
impl Hash for StoredTarget {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        if let Some(labels) = &self.labels {
            ("labels", labels).hash(hasher);
        }
        if let Some(check) = &self.health_check {
            ("health_check", check).hash(hasher);
        }
    }
}

/// `null` is a value of its own.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

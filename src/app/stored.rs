//! The stored fields of services in the store.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use crate::{
    executor::{FieldStore, KeptStore},
    model::{Error, HealthCheck, Labels, ServiceKey, StoredFields},
    store::{Collection, Store, StoreError, WriteBatch},
};

/// Labels by services.
const LABELS: Collection<Labels> = Collection::new("service-labels");
/// Health checks by services.
const HEALTH_CHECKS: Collection<Arc<HealthCheck>> = Collection::new("service-health-checks");

#[derive(Debug)]
struct InStore(Store);

/// Reads the fields, and stores them from now on. Blocks.
pub(super) fn load(store: &Store, kept: &KeptStore) -> Result<(), StoreError> {
    let mut fields: BTreeMap<ServiceKey, StoredFields> = BTreeMap::new();
    for (key, labels) in store.load_if_available(&LABELS)? {
        if let Some(entry) = entry(&mut fields, &key) {
            entry.or_default().labels = labels;
        }
    }
    for (key, check) in store.load_if_available(&HEALTH_CHECKS)? {
        if let Some(entry) = entry(&mut fields, &key) {
            entry.or_default().health_check = Some(check);
        }
    }
    kept.load_stored(
        Box::new(InStore(store.clone())),
        fields.into_iter().collect(),
    );
    Ok(())
}

/// The fields of the service with this id.
fn entry<'a>(
    fields: &'a mut BTreeMap<ServiceKey, StoredFields>,
    key: &str,
) -> Option<Entry<'a, ServiceKey, StoredFields>> {
    let service = key.parse().ok();
    if service.is_none() {
        tracing::warn!(
            key,
            "a stored label or health check has no valid service; it is left as it is"
        );
    }
    service.map(|service| fields.entry(service))
}

// === impl FieldStore ===

impl FieldStore for InStore {
    fn write(&self, changes: &[(ServiceKey, StoredFields)]) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        for (service, fields) in changes {
            let StoredFields {
                labels,
                health_check,
            } = fields;
            match labels.is_empty() {
                true => batch.delete(&LABELS, service.to_string())?,
                false => batch.put(&LABELS, service.to_string(), labels)?,
            }
            match health_check {
                None => batch.delete(&HEALTH_CHECKS, service.to_string())?,
                Some(check) => batch.put(&HEALTH_CHECKS, service.to_string(), check)?,
            }
        }
        Ok(self.0.write_blocking(batch)?)
    }
}

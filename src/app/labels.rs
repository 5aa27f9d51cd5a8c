//! The labels of services in the store.

use crate::{
    executor::{KeptStore, LabelStore},
    model::{Error, Labels, ServiceKey},
    store::{Collection, Store, StoreError, WriteBatch},
};

/// Labels by services.
const LABELS: Collection<Labels> = Collection::new("service-labels");

#[derive(Debug)]
struct InStore(Store);

/// Reads the labels, and stores them from now on. Blocks.
pub(super) fn load(store: &Store, kept: &KeptStore) -> Result<(), StoreError> {
    let stored = store.load_if_available(&LABELS)?.into_iter();
    let labels = stored.filter_map(|(key, labels)| match key.parse() {
        Ok(service) => Some((service, labels)),
        Err(_) => {
            tracing::warn!(
                key,
                "stored labels have no valid service; they are left as they are"
            );
            None
        }
    });
    kept.load_labels(Box::new(InStore(store.clone())), labels.collect());
    Ok(())
}

// === impl LabelStore ===

impl LabelStore for InStore {
    fn write(&self, changes: &[(ServiceKey, Labels)]) -> Result<(), Error> {
        let mut batch = WriteBatch::new();
        for (service, labels) in changes {
            match labels.is_empty() {
                true => batch.delete(&LABELS, service.to_string())?,
                false => batch.put(&LABELS, service.to_string(), labels)?,
            }
        }
        Ok(self.0.write_blocking(batch)?)
    }
}

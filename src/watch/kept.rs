//! What the daemon keeps about services. A change of it is an event, like one of the kernel's table.

use std::{collections::HashMap, sync::Arc};

use crate::model::{Kept, KeptFields, Labels, Owner, ServiceKey};

/// What is kept about all services.
#[derive(Clone, Debug, Default)]
pub struct KeptServices {
    by_service: HashMap<ServiceKey, Arc<Kept>>,
    /// What is kept about the others.
    others: KeptFields,
}

// === impl KeptServices ===

impl KeptServices {
    /// What a daemon knows that serves without its store: nothing about any service.
    pub(super) fn unknown() -> Self {
        Self {
            by_service: HashMap::new(),
            others: Some(Arc::new(Kept::default())),
        }
    }

    /// What is kept about a service.
    pub fn of(&self, service: ServiceKey) -> KeptFields {
        let kept = self.by_service.get(&service);
        kept.or(self.others.as_ref()).cloned()
    }

    /// Whether nothing is kept about any service.
    pub fn is_empty(&self) -> bool {
        self.by_service.is_empty() && self.others.is_none()
    }

    /// A table claims a service, or none does any more.
    pub(super) fn claim(&mut self, service: ServiceKey, owner: Option<Owner>) {
        let owner = owner.unwrap_or_else(Owner::unmanaged);
        let before = self.of(service);
        if Kept::owner(&before) != Some(&owner) {
            self.set(service, Kept::owned(&before, owner));
        }
    }

    /// Sets the labels of a service.
    pub(super) fn label(&mut self, service: ServiceKey, labels: &Labels) {
        self.set(service, Kept::labelled(&self.of(service), labels.clone()));
    }

    fn set(&mut self, service: ServiceKey, kept: KeptFields) {
        match kept {
            Some(kept) => drop(self.by_service.insert(service, kept)),
            None => drop(self.by_service.remove(&service)),
        }
    }

    /// The services that have labels.
    pub fn labelled(&self) -> Vec<ServiceKey> {
        let labelled = self
            .by_service
            .iter()
            .filter(|(_, kept)| !kept.labels.is_empty());
        labelled.map(|(service, _)| *service).collect()
    }
}

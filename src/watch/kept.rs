//! What the daemon keeps about services. A change of it is an event, like one of the kernel's table.

use std::{collections::HashMap, sync::Arc};

use crate::model::{HealthCheck, Kept, KeptFields, Owner, ServiceKey, StoredFields};

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

    /// Sets the stored fields of a service.
    pub(super) fn store(&mut self, service: ServiceKey, stored: &StoredFields) {
        self.set(service, Kept::storing(&self.of(service), stored.clone()));
    }

    fn set(&mut self, service: ServiceKey, kept: KeptFields) {
        match kept {
            Some(kept) => drop(self.by_service.insert(service, kept)),
            None => drop(self.by_service.remove(&service)),
        }
    }

    /// The services that have stored fields.
    pub fn with_stored(&self) -> Vec<ServiceKey> {
        let all = self.by_service.iter();
        let with = all.filter(|(_, kept)| !kept.stored.is_empty());
        with.map(|(service, _)| *service).collect()
    }

    /// The services that have a health check, with it.
    pub fn checked(&self) -> impl Iterator<Item = (ServiceKey, &Arc<HealthCheck>)> {
        let all = self.by_service.iter();
        all.filter_map(|(service, kept)| Some((*service, kept.stored.health_check.as_ref()?)))
    }
}

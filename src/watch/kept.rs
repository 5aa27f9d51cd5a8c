//! What the daemon keeps about services. A change of it is an event, like one of the kernel's table.

use std::{collections::HashMap, sync::Arc};

use crate::model::{Kept, KeptFields, Owner, ServiceKey};

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
            others: Some(Arc::new(Kept { owner: None })),
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

    /// A table claims a service, or none does any more. Returns what was kept about it, and what is.
    pub(super) fn claim(
        &mut self,
        service: ServiceKey,
        owner: Option<Owner>,
    ) -> (KeptFields, KeptFields) {
        let before = self.of(service);
        match owner {
            Some(owner) if Kept::owner(&before) == Some(&owner) => {}
            Some(owner) => {
                let kept = Kept { owner: Some(owner) };
                self.by_service.insert(service, Arc::new(kept));
            }
            None => drop(self.by_service.remove(&service)),
        }
        (before, self.of(service))
    }
}

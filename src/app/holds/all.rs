//! Drains and ramps in memory, and what they have in common.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};

use super::listed::Listed;
use crate::{
    model::{Drain, DrainState, Error, HoldId, Ramp, RampState, Reason, Server, ServiceKey},
    store::{Collection, Store, StoreError},
    watch::{RecordKey, Resource},
};

/// The drains and ramps.
#[derive(Debug, Default)]
pub(super) struct All {
    pub drains: BTreeMap<HoldId, Drain>,
    pub ramps: BTreeMap<HoldId, Ramp>,
    /// The numbers of the looks that are noted, of the services with members of drains.
    pub looks: HashMap<ServiceKey, u64>,
    /// Whether the task runs.
    pub has_task: bool,
}

/// The servers of a service as they were read.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// A later look has a higher number.
    pub number: u64,
    /// `None` if there is no such service.
    pub servers: Option<Arc<Vec<Server>>>,
}

/// A drain or a ramp, as it is kept and stored.
pub(super) trait Record: Listed + Serialize + DeserializeOwned + Send + 'static {
    /// Where those of its kind are stored, by id.
    const COLLECTION: Collection<Self>;

    /// Those of its kind.
    fn of(all: &mut All) -> &mut BTreeMap<HoldId, Self>;

    /// Whether it holds servers.
    fn is_active(&self) -> bool;

    /// Ends it, because it is deleted.
    fn cancel(&mut self);

    /// What watchers know it by.
    fn record_key(id: HoldId) -> RecordKey;

    /// It as watchers see it.
    fn resource(&self) -> Resource;

    /// The error for an id that none of its kind has.
    fn not_found(id: HoldId) -> Error;

    /// Reads those that are stored. Blocks.
    fn load(store: &Store, all: &mut All) -> Result<(), StoreError> {
        let stored = store.load_if_available(&Self::COLLECTION)?.into_iter();
        Self::of(all).extend(stored.map(|(_, record)| (record.key(), record)));
        Ok(())
    }
}

// === impl All ===

impl All {
    /// The drains that hold servers.
    pub fn active_drains(&self) -> impl Iterator<Item = &Drain> {
        self.drains.values().filter(|drain| drain.is_active())
    }

    /// As [`active_drains`](Self::active_drains), to be changed.
    pub fn active_drains_mut(&mut self) -> impl Iterator<Item = &mut Drain> {
        self.drains.values_mut().filter(|drain| drain.is_active())
    }

    /// Notes looks at the servers of services, unless later ones are noted: several may be in progress.
    pub fn see(&mut self, mut seen: BTreeMap<ServiceKey, Look>) {
        seen.retain(|service, look| {
            let noted = self.looks.get(service);
            noted.is_none_or(|noted| *noted < look.number)
        });
        for drain in self.active_drains_mut() {
            drain.see(&|service| {
                let look = seen.get(&service)?;
                Some(look.servers.as_ref().map(|servers| servers.as_slice()))
            });
        }
        let services: HashSet<_> = self
            .active_drains()
            .flat_map(Drain::member_services)
            .collect();
        self.looks
            .extend(seen.iter().map(|(service, look)| (*service, look.number)));
        self.looks.retain(|service, _| services.contains(service));
    }

    /// The ramps that have not ended.
    pub fn active_ramps(&self) -> impl Iterator<Item = &Ramp> {
        self.ramps.values().filter(|ramp| ramp.is_active())
    }
}

// === impl Record ===

impl Record for Drain {
    const COLLECTION: Collection<Self> = Collection::new("drains");

    fn of(all: &mut All) -> &mut BTreeMap<HoldId, Self> {
        &mut all.drains
    }

    fn is_active(&self) -> bool {
        self.is_active()
    }

    fn cancel(&mut self) {
        self.end(DrainState::Cancelled);
    }

    fn record_key(id: HoldId) -> RecordKey {
        RecordKey::Drain(id)
    }

    fn resource(&self) -> Resource {
        Resource::of_drain(self)
    }

    fn not_found(id: HoldId) -> Error {
        Error::new(Reason::DrainNotFound, format!("there is no drain {id}"))
    }
}

impl Record for Ramp {
    const COLLECTION: Collection<Self> = Collection::new("ramps");

    fn of(all: &mut All) -> &mut BTreeMap<HoldId, Self> {
        &mut all.ramps
    }

    fn is_active(&self) -> bool {
        self.is_active()
    }

    fn cancel(&mut self) {
        self.end(RampState::Cancelled);
    }

    fn record_key(id: HoldId) -> RecordKey {
        RecordKey::Ramp(id)
    }

    fn resource(&self) -> Resource {
        Resource::of_ramp(self)
    }

    fn not_found(id: HoldId) -> Error {
        Error::new(Reason::RampNotFound, format!("there is no ramp {id}"))
    }
}

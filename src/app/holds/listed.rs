//! What lists need to know of drains and of ramps.

use std::hash::Hash;

use crate::{
    app::paging::Keyed,
    identity::Principal,
    model::{Drain, DrainMember, DrainState, HoldId, Ramp, RampState, ServiceKey},
};

/// A drain or a ramp in a list.
pub trait Listed: Clone + Keyed<Key = HoldId> {
    /// How far it is.
    type State: Copy + Hash + PartialEq;

    /// How far it is.
    fn state(&self) -> Self::State;

    /// The services of its members.
    fn services(&self) -> impl Iterator<Item = ServiceKey>;

    /// Whether the principal may read it.
    fn is_seen_by(&self, principal: &Principal) -> bool {
        self.services().all(|service| principal.sees(service))
    }

    /// The memory that it occupies, about.
    fn size(&self) -> usize;
}

// === impl Drain, Ramp ===

impl Keyed for Drain {
    type Key = HoldId;

    fn key(&self) -> HoldId {
        self.id
    }
}

impl Listed for Drain {
    type State = DrainState;

    fn state(&self) -> DrainState {
        self.state
    }

    fn services(&self) -> impl Iterator<Item = ServiceKey> {
        self.member_services()
    }

    fn size(&self) -> usize {
        let services = self.services.as_deref().unwrap_or_default();
        let blockers = self
            .blockers
            .iter()
            .map(|text| size_of_val(text) + text.len());
        size_of::<Self>()
            + size_of::<DrainMember>() * self.members.len()
            + size_of_val(services)
            + blockers.sum::<usize>()
    }
}

impl Keyed for Ramp {
    type Key = HoldId;

    fn key(&self) -> HoldId {
        self.id
    }
}

impl Listed for Ramp {
    type State = RampState;

    fn state(&self) -> RampState {
        self.state
    }

    fn services(&self) -> impl Iterator<Item = ServiceKey> {
        std::iter::once(self.service)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

//! The fallback servers, for the use cases.

use std::{collections::BTreeSet, time::Instant};

use super::{
    fallback::{FallbackOps, FallbackTarget},
    hold_state::State,
    holds::Holds,
    member::Member,
};
use crate::model::{Server, ServiceKey};

// === impl Holds ===

impl Holds {
    /// Sets the fallback servers of a service; `None`: it has none. Returns whether that is a change. What follows is
    /// done by the next look at the service.
    pub fn set_fallback(&self, service: ServiceKey, target: Option<FallbackTarget>) -> bool {
        self.change(|state| {
            let fallbacks = &mut state.fallbacks;
            let was_undecided = fallbacks.undecided.remove(&service);
            let before = match target.clone() {
                Some(target) => fallbacks.targets.insert(service, target),
                None => fallbacks.targets.remove(&service),
            };
            was_undecided || before != target
        })
    }

    /// Loads the fallback servers that are stored. Nothing happens to those of a service before its
    /// [target](Self::set_fallback) is set.
    pub fn load_fallbacks(&self, members: impl IntoIterator<Item = Member>) {
        self.change(|state| state.fallbacks.load(members));
    }

    /// After a start, before the [targets](Self::set_fallback) of services are set: nothing takes their last server
    /// out.
    pub fn await_fallback(&self, services: impl IntoIterator<Item = ServiceKey>) {
        self.change(|state| state.fallbacks.undecided.extend(services));
    }

    /// The services with fallback servers, and those of which it is not known whether they have some.
    pub fn fallback_services(&self) -> BTreeSet<ServiceKey> {
        self.read(|state| {
            let undecided = state.fallbacks.undecided.iter().copied();
            state.fallbacks.services().chain(undecided).collect()
        })
    }

    /// Whether a service has fallback servers, or may get some.
    pub fn may_fall_back(&self, service: ServiceKey) -> bool {
        let fallbacks = |state: &State| {
            let fallbacks = &state.fallbacks;
            fallbacks.targets.contains_key(&service)
                || fallbacks.undecided.contains(&service)
                || !fallbacks.members(service).is_empty()
        };
        !self.is_unused() && self.read(fallbacks)
    }

    /// What is to be done with the fallback servers of a service that has these servers. See [`FallbackOps`].
    /// The operations must be executed before the next ones of others; [`close_fallbacks`](Self::close_fallbacks)
    /// follows.
    pub fn plan_fallbacks(
        &self,
        service: ServiceKey,
        servers: &[Server],
        is_served: bool,
        now: Instant,
    ) -> FallbackOps {
        self.change(|state| state.fallbacks.plan(service, servers, is_served, now))
    }

    /// Ends the operations of [`plan_fallbacks`](Self::plan_fallbacks), of this plan and of those before.
    pub fn close_fallbacks(&self, service: ServiceKey, number: u64) {
        self.change(|state| state.fallbacks.close(service, number, Instant::now()));
    }

    /// Forgets the fallback servers of a service that does not exist.
    pub fn forget_fallbacks(&self, service: ServiceKey) {
        self.change(|state| {
            state.fallbacks.forget(|(of, _)| of == service);
        });
    }
}

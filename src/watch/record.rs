//! What the daemon keeps beside the kernel's table, as watchers see it: drains, ramps, declared tables and health. Those
//! who keep it show each change here.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use super::{kept::KeptServices, resource::Resource};
use crate::model::{
    Drain, HoldId, KeptFields, Owner, Ramp, ServerHealthReport, ServerKey, ServiceKey, TableSummary,
};

/// The identity of a record. The order is that of the state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKey {
    /// A drain.
    Drain(HoldId),
    /// A ramp.
    Ramp(HoldId),
    /// The table of an owner.
    Table(Owner),
    /// The health of a server.
    Health(ServiceKey, ServerKey),
}

/// A drain, a ramp, a declared table or the health of a server, and what filters and scopes look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// As events show it.
    pub resource: Resource,
    /// The services that it is about, with what was kept about them.
    pub about: Arc<[About]>,
}

/// A service, and what was kept about it. (Of a table, what is kept is not looked at, and is not here.)
pub type About = (ServiceKey, KeptFields);

/// Which changes of a record are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Showing {
    /// All, from now on.
    First,
    /// All, if it was shown before.
    All,
    /// All but progress, if it was shown before: the numbers of connections of a drain, the states of its members
    /// and its blockers, and the weight of a ramp.
    ButProgress,
}

/// The records as they were shown last.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<RecordKey, Record>);

/// A record before and after a change.
pub(super) type Shown = (Option<Record>, Option<Record>);

/// Entries of lists that are about as long as a server as text.
const ENTRIES_PER_SERVER: usize = 4;

// === impl Record ===

impl Record {
    /// Its length as text, as a number of servers.
    pub(super) fn weight(&self) -> usize {
        1 + self.resource.listed() / ENTRIES_PER_SERVER
    }

    /// Bytes that it occupies beside another one.
    pub(super) fn bytes_beside(&self, other: Option<&Self>) -> usize {
        let shares = other.is_some_and(|other| Arc::ptr_eq(&self.about, &other.about));
        let about = match shares {
            true => 0,
            false => size_of_val(&*self.about),
        };
        let of_resource = match &self.resource {
            Resource::Drain(drain, _) => {
                let services = drain.services.as_deref().unwrap_or_default();
                let blockers = drain.blockers.iter();
                let blockers = blockers.map(|text| size_of_val(text) + text.len());
                size_of::<Drain>()
                    + size_of_val(&*drain.members)
                    + size_of_val(services)
                    + blockers.sum::<usize>()
            }
            Resource::Ramp(_) => size_of::<Ramp>(),
            Resource::Table(table) => size_of::<TableSummary>() + size_of_val(&*table.lost),
            Resource::Health(_, health) => {
                let reason = health.reason.as_ref();
                size_of::<ServerHealthReport>() + reason.map_or(0, String::len)
            }
            Resource::Service(..) | Resource::Server(..) => 0,
        };
        about + of_resource
    }
}

// === impl Records ===

impl Records {
    /// Replaces a record, or deletes it. Returns it before and after, if that is shown.
    pub(super) fn put(
        &mut self,
        key: &RecordKey,
        resource: Option<(Resource, Vec<ServiceKey>)>,
        kept: &KeptServices,
        showing: Showing,
    ) -> Option<Shown> {
        let before = self.0.get(key);
        if before.is_none() && (showing != Showing::First || resource.is_none()) {
            return None;
        }
        let after = resource.map(|(resource, services)| {
            let kept_of = |service| match key {
                RecordKey::Table(_) => (service, None),
                RecordKey::Drain(_) | RecordKey::Ramp(_) | RecordKey::Health(..) => {
                    (service, kept.of(service))
                }
            };
            let about: Vec<About> = services.into_iter().map(kept_of).collect();
            let same = before.filter(|before| *before.about == *about);
            let about = same.map_or_else(|| about.into(), |same| same.about.clone());
            Record { resource, about }
        });
        let is_shown = match (before, &after) {
            (Some(before), Some(after)) if showing == Showing::ButProgress => {
                after.resource.is_news(&before.resource) || before.about != after.about
            }
            (before, after) => before != after.as_ref(),
        };
        if !is_shown {
            return None;
        }
        let before = match after.clone() {
            Some(after) => self.0.insert(key.clone(), after),
            None => self.0.remove(key),
        };
        Some((before, after))
    }

    /// The records after this one, in their order.
    pub(super) fn after(
        &self,
        last: Option<&RecordKey>,
    ) -> impl Iterator<Item = (&RecordKey, &Record)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.0.range((from, Bound::Unbounded))
    }
}

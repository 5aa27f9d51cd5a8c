//! When objects of a table under repair are repaired: one that another program changes back is left alone for
//! longer and longer.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::model::{Op, ServerKey, ServiceKey, SyncState};

/// What is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A service.
    Service(ServiceKey),
    /// A server of a service.
    Server(ServiceKey, ServerKey),
    /// The timeouts.
    Timeouts,
    /// A sync daemon.
    SyncDaemon(SyncState),
}

/// The repairs of a table.
#[derive(Debug, Default)]
pub(in crate::app) struct Repairs(BTreeMap<Object, Repaired>);

/// The repairs of an object, of which each undid the same or another change of another program.
#[derive(Clone, Copy, Debug)]
struct Repaired {
    /// Number of them.
    count: u32,
    last: Instant,
}

/// An object that another program keeps changing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The object.
    pub object: Object,
    /// Repairs one after the other, at least 3.
    pub repairs: u32,
    /// When it may be repaired again; now or before if it may be now.
    pub next_time: Timestamp,
}

/// Conflicts of a table that are listed.
const MAX_LISTED: usize = 100;
/// Repairs after which it is a conflict.
const CONFLICT: u32 = 3;
/// Time between the second repair and the third. It doubles with each.
const FIRST_DELAY: Duration = Duration::from_secs(10);
/// Longest time between two repairs of an object.
const MAX_DELAY: Duration = Duration::from_secs(600);
/// An object that has not been repaired for so long, and for twice its delay, begins anew.
const MEMORY: Duration = Duration::from_secs(60);

// === impl Repairs ===

impl Repairs {
    /// Whether an object may be repaired.
    pub(super) fn is_due(&self, object: Object, now: Instant) -> bool {
        let repaired = self.0.get(&object);
        repaired.is_none_or(|repaired| now >= repaired.next())
    }

    /// Notes that objects are repaired. Returns those that have become conflicts by it.
    pub(super) fn note(
        &mut self,
        objects: impl IntoIterator<Item = Object>,
        now: Instant,
    ) -> Vec<Object> {
        let count = |object| {
            let repaired = self.0.entry(object).or_insert(Repaired {
                count: 0,
                last: now,
            });
            repaired.count = repaired.count.saturating_add(1);
            repaired.last = now;
            (repaired.count == CONFLICT).then_some(object)
        };
        let objects: HashSet<_> = objects.into_iter().collect();
        objects.into_iter().filter_map(count).collect()
    }

    /// Forgets the objects that have been as they are declared for long.
    pub(super) fn forget(&mut self, drifted: &HashSet<Object>, now: Instant) {
        self.0.retain(|object, repaired| {
            let memory = MEMORY.max(2 * repaired.delay());
            drifted.contains(object) || now.saturating_duration_since(repaired.last) < memory
        });
    }

    /// The first objects that other programs keep changing. `time` is that of `now`.
    pub(super) fn conflicts(&self, now: Instant, time: Timestamp) -> Vec<Conflict> {
        let conflicts = self.0.iter().filter(|(_, one)| one.count >= CONFLICT);
        let conflicts = conflicts.map(|(object, repaired)| {
            let wait = repaired.next().saturating_duration_since(now);
            Conflict {
                object: *object,
                repairs: repaired.count,
                next_time: time.checked_add(wait).unwrap_or(time),
            }
        });
        conflicts.take(MAX_LISTED).collect()
    }
}

// === impl Repaired ===

impl Repaired {
    /// Time after the last repair.
    fn delay(&self) -> Duration {
        match self.count {
            0 | 1 => Duration::ZERO,
            count => {
                let doubled = 2_u32.saturating_pow(count - 2);
                FIRST_DELAY.saturating_mul(doubled).min(MAX_DELAY)
            }
        }
    }

    fn next(&self) -> Instant {
        self.last + self.delay()
    }
}

// === impl Object ===

impl Object {
    /// What an operation repairs, if it is a part of tables.
    pub(super) fn of(op: &Op) -> Option<Self> {
        match (op, op.service(), op.server()) {
            (Op::SetTimeouts(_), ..) => Some(Self::Timeouts),
            (Op::StartSyncDaemon(config), ..) => Some(Self::SyncDaemon(config.state)),
            (Op::StopSyncDaemon(state), ..) => Some(Self::SyncDaemon(*state)),
            (_, Some(service), Some(server)) => Some(Self::Server(service, server)),
            (_, Some(service), None) => Some(Self::Service(service)),
            (_, None, _) => None,
        }
    }

    /// The kind of resource in the API.
    pub fn resource(&self) -> &'static str {
        match self {
            Self::Service(_) => "service",
            Self::Server(..) => "server",
            Self::Timeouts => "timeouts",
            Self::SyncDaemon(_) => "sync_daemon",
        }
    }

    /// The service of a service or a server.
    pub fn service(&self) -> Option<ServiceKey> {
        match self {
            Self::Service(service) | Self::Server(service, _) => Some(*service),
            Self::Timeouts | Self::SyncDaemon(_) => None,
        }
    }

    /// The server.
    pub fn server(&self) -> Option<ServerKey> {
        match self {
            Self::Server(_, server) => Some(*server),
            Self::Service(_) | Self::Timeouts | Self::SyncDaemon(_) => None,
        }
    }

    /// The role of a sync daemon.
    pub fn sync_daemon(&self) -> Option<SyncState> {
        match self {
            Self::SyncDaemon(state) => Some(*state),
            Self::Service(_) | Self::Server(..) | Self::Timeouts => None,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => service.fmt(f),
            Self::Server(service, server) => write!(f, "{server} of {service}"),
            Self::Timeouts => f.write_str("timeouts"),
            Self::SyncDaemon(state) => write!(f, "sync daemon {state}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Family;

    const SECOND: Duration = Duration::from_secs(1);

    fn mark(mark: u32) -> Object {
        let family = Family::Ipv4;
        Object::Service(ServiceKey::Fwmark { family, mark })
    }

    #[test]
    fn an_object_that_is_changed_back_is_repaired_more_and_more_rarely() {
        let start = Instant::now();
        let (mut repairs, mut now) = (Repairs::default(), start);
        let mut times = Vec::new();
        while now < start + 2000 * SECOND {
            if repairs.is_due(mark(1), now) {
                times.push((now - start).as_secs());
                let begun = repairs.note([mark(1), mark(1)], now);
                assert_eq!(begun.len(), usize::from(times.len() == 3), "{times:?}");
            }
            repairs.forget(&HashSet::new(), now);
            now += SECOND;
        }
        assert_eq!(times, [0, 1, 11, 31, 71, 151, 311, 631, 1231, 1831]);
        let conflicts = repairs.conflicts(start + 1901 * SECOND, Timestamp::UNIX_EPOCH);
        assert_eq!(conflicts.len(), 1);
        let (repairs_made, next) = (conflicts[0].repairs, conflicts[0].next_time.as_second());
        assert_eq!((repairs_made, next), (10, 530));
        assert!(repairs.is_due(mark(2), now), "others are not delayed");
    }

    #[test]
    fn an_object_that_stays_as_it_is_declared_begins_anew() {
        let now = Instant::now();
        let mut repairs = Repairs::default();
        for _ in 0..3 {
            repairs.note([mark(1)], now);
        }
        let drifted = HashSet::from([mark(1)]);
        let conflicts = |repairs: &Repairs| repairs.conflicts(now, Timestamp::UNIX_EPOCH).len();
        repairs.forget(&drifted, now + 3600 * SECOND);
        assert_eq!(conflicts(&repairs), 1, "it is not as declared");
        repairs.forget(&HashSet::new(), now + 59 * SECOND);
        assert_eq!(conflicts(&repairs), 1, "not for long enough");
        repairs.forget(&HashSet::new(), now + 60 * SECOND);
        assert_eq!(conflicts(&repairs), 0);
        assert!(repairs.is_due(mark(1), now));
    }
}

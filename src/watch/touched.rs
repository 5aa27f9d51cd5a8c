//! What has changed while a read was in progress: of this, the read shows an unknown moment.

use foldhash::{HashMap, HashMapExt, HashSet};

use super::event::Change;
use crate::model::{Op, ServerKey, ServiceKey};

/// What an operation or an event changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Touch {
    /// The table.
    Everything,
    /// A service and its servers.
    Whole(ServiceKey),
    /// A service without its servers.
    Service(ServiceKey),
    /// A server.
    Server(ServiceKey, ServerKey),
}

/// What has changed during a read, or is about to.
#[derive(Debug)]
pub(super) struct Touched {
    everything: bool,
    /// Whether there was an event of it.
    some: HashMap<Touch, bool>,
}

/// Objects that are distinguished at most, about 1 MB. A restore can change more during one dump; then
/// the dump is not compared, and the next one is.
const MAX_TOUCHED: usize = 16_384;

// === impl Touch ===

impl Touch {
    /// What an operation changes of the table.
    pub(super) fn of_op(op: &Op) -> Option<Self> {
        match op {
            Op::Clear => Some(Self::Everything),
            Op::CreateService(key, ..) | Op::DeleteService(key) => Some(Self::Whole(*key)),
            Op::SetService(key, _) | Op::SetStored(key, _) => Some(Self::Service(*key)),
            Op::CreateServer(key, server, _)
            | Op::SetServer(key, server, _)
            | Op::DeleteServer(key, server) => Some(Self::Server(*key, *server)),
            Op::ZeroAll
            | Op::ZeroService(_)
            | Op::SetTimeouts(_)
            | Op::StartSyncDaemon(_)
            | Op::StopSyncDaemon(_)
            | Op::SetSetting { .. } => None,
        }
    }

    pub(super) fn of_change(service: ServiceKey, change: &Change) -> Self {
        match change {
            Change::Service {
                before: Some(_),
                after: Some(_),
                ..
            } => Self::Service(service),
            Change::Service { .. } => Self::Whole(service),
            Change::Server { key, .. } => Self::Server(service, *key),
        }
    }
}

// === impl Touched ===

impl Touched {
    pub(super) fn new() -> Self {
        Self {
            everything: false,
            some: HashMap::new(),
        }
    }

    /// An operation is about to change it, or an event says that it has changed.
    pub(super) fn add(&mut self, touch: Touch, by_event: bool) {
        if self.everything {
            return;
        }
        if touch == Touch::Everything || self.some.len() >= MAX_TOUCHED {
            self.everything = true;
            self.some = HashMap::new();
            return;
        }
        *self.some.entry(touch).or_default() |= by_event;
    }

    pub(super) fn is_nothing(&self) -> bool {
        !self.everything && self.some.is_empty()
    }

    /// Whether the service, apart from its servers, has changed, and there was an event of it.
    pub(super) fn service(&self, key: ServiceKey) -> Option<bool> {
        self.any(Touch::Service(key), key)
    }

    /// Services of which a server has changed: they have existed since the read began.
    pub(super) fn services_of_servers(&self) -> HashSet<ServiceKey> {
        let touches = self.some.keys();
        let service = |touch: &Touch| match touch {
            Touch::Server(key, _) => Some(*key),
            _ => None,
        };
        touches.filter_map(service).collect()
    }

    /// Whether the server has changed, and there was an event of it.
    pub(super) fn server(&self, key: ServiceKey, server: ServerKey) -> Option<bool> {
        self.any(Touch::Server(key, server), key)
    }

    fn any(&self, touch: Touch, service: ServiceKey) -> Option<bool> {
        if self.everything {
            return Some(false);
        }
        if self.some.is_empty() {
            return None;
        }
        let (part, whole) = (self.some.get(&touch), self.some.get(&Touch::Whole(service)));
        match touch {
            Touch::Service(_) => part.max(whole).copied(),
            // The event of a service is none of its servers: each has its own.
            _ => part.copied().or(whole.map(|_| false)),
        }
    }
}

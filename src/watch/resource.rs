//! Objects as events show them.

use std::sync::Arc;

use crate::model::{
    Drain, DrainMember, KeptFields, Ramp, ServerConfig, ServerHealthReport, ServerKey,
    ServiceConfig, ServiceKey, TableSummary,
};

/// An object as events show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A service, without its servers, and what is kept about it.
    Service(ServiceKey, ServiceConfig, KeptFields),
    /// A server of a service.
    Server(ServiceKey, ServerKey, ServerConfig),
    /// A drain, with its first members, and the number of all of them.
    Drain(Arc<Drain>, usize),
    /// A ramp.
    Ramp(Arc<Ramp>),
    /// A declared table, without its services.
    Table(Arc<TableSummary>),
    /// The health of a server of a service, without its last check.
    Health(ServiceKey, Arc<ServerHealthReport>),
}

/// Entries of each list in a record: about 20 KB as text.
pub const MAX_LISTED: usize = 50;

// === impl Resource ===

impl Resource {
    /// The service, or the service of the server.
    pub fn service(&self) -> Option<ServiceKey> {
        match self {
            Self::Service(key, ..) | Self::Server(key, ..) | Self::Health(key, _) => Some(*key),
            Self::Ramp(ramp) => Some(ramp.service),
            Self::Drain(..) | Self::Table(_) => None,
        }
    }

    /// The server, if it is one.
    pub fn server(&self) -> Option<ServerKey> {
        match self {
            Self::Server(_, key, _) => Some(*key),
            Self::Ramp(ramp) => Some(ramp.server),
            Self::Health(_, health) => Some(health.server),
            Self::Service(..) | Self::Drain(..) | Self::Table(_) => None,
        }
    }

    /// The name of its kind in the API.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Service(..) => "service",
            Self::Server(..) => "server",
            Self::Drain(..) => "drain",
            Self::Ramp(_) => "ramp",
            Self::Table(_) => "table",
            Self::Health(..) => "health",
        }
    }

    /// A drain as events show it.
    pub fn of_drain(drain: &Drain) -> Self {
        let first = |members: &[DrainMember]| members.iter().take(MAX_LISTED).copied().collect();
        let services = drain.services.as_ref();
        let shown = Drain {
            services: services.map(|all| all.iter().take(MAX_LISTED).copied().collect()),
            members: first(&drain.members),
            blockers: drain.blockers.iter().take(MAX_LISTED).cloned().collect(),
            ..drain.header()
        };
        Self::Drain(Arc::new(shown), drain.members.len())
    }

    /// A ramp as events show it.
    pub fn of_ramp(ramp: &Ramp) -> Self {
        Self::Ramp(Arc::new(ramp.clone()))
    }

    /// The health of a server as events show it.
    pub fn of_health(service: ServiceKey, health: ServerHealthReport) -> Self {
        let shown = ServerHealthReport {
            last_check_time: None,
            latency_seconds: None,
            transitions: Vec::new(),
            ..health
        };
        Self::Health(service, Arc::new(shown))
    }

    /// A declared table as events show it.
    pub fn of_table(mut table: TableSummary) -> Self {
        table.lost.truncate(MAX_LISTED);
        Self::Table(Arc::new(table))
    }

    /// Entries of its lists.
    pub(super) fn listed(&self) -> usize {
        match self {
            Self::Service(..) | Self::Server(..) | Self::Ramp(_) | Self::Health(..) => 0,
            Self::Drain(drain, _) => {
                let services = drain.services.as_ref().map_or(0, Vec::len);
                services + drain.members.len() + drain.blockers.len()
            }
            Self::Table(table) => table.lost.len(),
        }
    }

    /// Whether more than its progress differs from what was shown before.
    pub(super) fn is_news(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Drain(drain, total), Self::Drain(before, before_total)) => {
                let key = |member: &DrainMember| (member.service, member.server);
                (drain.state, drain.end_time, total)
                    != (before.state, before.end_time, before_total)
                    || !(drain.members.iter().map(key)).eq(before.members.iter().map(key))
            }
            (Self::Ramp(ramp), Self::Ramp(before)) => {
                (ramp.state, ramp.end_time) != (before.state, before.end_time)
            }
            _ => self != before,
        }
    }
}

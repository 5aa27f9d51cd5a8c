//! Verbs: the units of permission. Each operation and each query of the kernel has one, and each verb
//! has the role that it requires.

use std::{fmt, str::FromStr};

use super::role::Role;
use crate::model::{Op, Query};

/// What a scope is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// One service.
    Service,
    /// The whole director. A principal with a scope may not do it.
    Director,
    /// No service: it is the same for all principals.
    Nothing,
}

macro_rules! verbs {
    ($($(#[$doc:meta])* $verb:ident = $name:literal, $role:ident, $extent:ident, $kind:ident;)+) => {
        /// A unit of permission.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Verb {
            $($(#[$doc])* $verb,)+
        }

        impl Verb {
            /// All verbs.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$verb),+];

            /// The name in the API.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$verb => $name,)+
                }
            }

            /// The lowest role that has the verb.
            pub fn role(self) -> Role {
                match self {
                    $(Self::$verb => Role::$role,)+
                }
            }

            /// What a scope is compared with.
            pub fn extent(self) -> Extent {
                match self {
                    $(Self::$verb => Extent::$extent,)+
                }
            }

            /// Whether it changes something. The scope of a principal applies to reads only with
            /// `scope_reads`.
            pub fn is_write(self) -> bool {
                const READ: bool = false;
                const WRITE: bool = true;
                match self {
                    $(Self::$verb => $kind,)+
                }
            }
        }
    };
}

verbs! {
    /// Versions and capabilities (`/v1/info`).
    ReadInfo = "read_info", Viewer, Nothing, READ;
    /// Timeouts, settings and sync daemons.
    ReadSettings = "read_settings", Viewer, Nothing, READ;
    /// Services and their servers. A list shows those within the scope.
    ReadServices = "read_services", Viewer, Service, READ;
    /// What is made of the whole table: totals, metrics, rules, listings.
    ReadTable = "read_table", Viewer, Director, READ;
    /// The connection table. It has the addresses of clients.
    ReadConnections = "read_connections", Operator, Director, READ;
    /// The audit trail.
    ReadAudit = "read_audit", Admin, Director, READ;
    /// Changes the weight of a server, and nothing else of it.
    UpdateWeight = "update_weight", Operator, Service, WRITE;
    /// Resets the counters of a service and its servers.
    ZeroService = "zero_service", Operator, Service, WRITE;
    /// Resets all counters.
    ZeroAll = "zero_all", Operator, Director, WRITE;
    /// Drains servers, or ends a drain.
    Drain = "drain", Operator, Service, WRITE;
    /// Changes the weight of a server in steps, or ends that.
    Ramp = "ramp", Operator, Service, WRITE;
    /// Forces a server that is checked up or down, or ends that.
    OverrideHealth = "override_health", Operator, Service, WRITE;
    /// Reports the result of a health check.
    ReportHealth = "report_health", Operator, Service, WRITE;
    /// Creates a service.
    CreateService = "create_service", Editor, Service, WRITE;
    /// Changes a service.
    UpdateService = "update_service", Editor, Service, WRITE;
    /// Deletes a service with its servers.
    DeleteService = "delete_service", Editor, Service, WRITE;
    /// Creates a server.
    CreateServer = "create_server", Editor, Service, WRITE;
    /// Changes a server.
    UpdateServer = "update_server", Editor, Service, WRITE;
    /// Deletes a server.
    DeleteServer = "delete_server", Editor, Service, WRITE;
    /// Applies or deletes a declared table, with all that it changes.
    ApplyTable = "apply_table", Editor, Service, WRITE;
    /// Sends a batch. Each of its operations requires its own verb, too.
    ApplyBatch = "apply_batch", Operator, Nothing, WRITE;
    /// Deletes all services.
    Clear = "clear", Admin, Director, WRITE;
    /// Executes rules (ipvsadm -R), or makes the table equal to them.
    RestoreRules = "restore_rules", Admin, Director, WRITE;
    /// Sets timeouts.
    SetTimeouts = "set_timeouts", Admin, Director, WRITE;
    /// Starts a sync daemon.
    StartSyncDaemon = "start_sync_daemon", Admin, Director, WRITE;
    /// Stops a sync daemon.
    StopSyncDaemon = "stop_sync_daemon", Admin, Director, WRITE;
    /// Changes a setting (`/proc/sys/net/ipv4/vs`).
    SetSetting = "set_setting", Admin, Director, WRITE;
}

/// The text is not the name of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a verb")]
pub struct InvalidVerb;

// === impl Verb ===

impl Verb {
    /// The verb of an operation. `before` is the operation that reverts it: without it, what the
    /// operation changes is unknown.
    pub fn of_operation(op: &Op, before: Option<&Op>) -> Self {
        match op {
            Op::CreateService(..) => Self::CreateService,
            Op::SetStored(..) => Self::UpdateService,
            Op::SetService(..) => Self::UpdateService,
            Op::DeleteService(_) => Self::DeleteService,
            Op::CreateServer(..) => Self::CreateServer,
            Op::SetServer(service, server, new) => match before {
                Some(Op::SetServer(old_service, old_server, old))
                    if (service, server) == (old_service, old_server) =>
                {
                    let mut reweighted = *old;
                    reweighted.weight = new.weight;
                    match reweighted == *new {
                        true => Self::UpdateWeight,
                        false => Self::UpdateServer,
                    }
                }
                _ => Self::UpdateServer,
            },
            Op::DeleteServer(..) => Self::DeleteServer,
            Op::Clear => Self::Clear,
            Op::ZeroAll => Self::ZeroAll,
            Op::ZeroService(_) => Self::ZeroService,
            Op::SetTimeouts(_) => Self::SetTimeouts,
            Op::StartSyncDaemon(_) => Self::StartSyncDaemon,
            Op::StopSyncDaemon(_) => Self::StopSyncDaemon,
            Op::SetSetting { .. } => Self::SetSetting,
        }
    }

    /// The verb of a query. That of a list is [`ReadServices`](Self::ReadServices), because it shows
    /// only what is within the scope.
    pub fn of_query(query: &Query) -> Self {
        match query {
            Query::Info | Query::System => Self::ReadInfo,
            Query::Timeouts | Query::SyncDaemons | Query::Settings | Query::Estimation => {
                Self::ReadSettings
            }
            Query::Service(_)
            | Query::ServiceWithServers(_)
            | Query::Servers(_)
            | Query::Server(..) => Self::ReadServices,
            Query::Services | Query::Table | Query::Totals => Self::ReadTable,
            Query::Connections | Query::ConnectionCounts => Self::ReadConnections,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = InvalidVerb;

    fn from_str(text: &str) -> Result<Self, InvalidVerb> {
        let mut all = Self::ALL.into_iter();
        all.find(|verb| verb.as_str() == text).ok_or(InvalidVerb)
    }
}

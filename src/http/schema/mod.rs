//! The schemas of the OpenAPI document. They describe what the model reads and writes as JSON; tests
//! compare them with the model's own encoding. One schema of a resource serves requests and
//! responses.

mod access;
mod audit;
mod batch;
mod health;
mod holds;
mod problems;
mod reports;
mod resources;
mod settings;
mod stats_stream;
mod tables;
mod watch;

#[cfg(test)]
mod tests;

pub(super) use holds::hold_id;
pub(super) use problems::*;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::shape;

/// Declares the component schemas.
macro_rules! schemas {
    ($($name:ident = $schema:expr;)+) => {
        $(
            #[doc = concat!("The schema `", stringify!($name), "`.")]
            pub(super) struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    $schema
                }
            }

            impl ToSchema for $name {
                fn name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }
            }
        )+

        /// All component schemas, by name.
        pub(super) fn all() -> Vec<(&'static str, RefOr<Schema>)> {
            vec![$((stringify!($name), $name::schema())),+]
        }
    };
}

schemas! {
    Service = resources::service();
    ServiceList = resources::service_list();
    Labels = resources::labels();
    HealthCheck = health::check();
    ServerCheck = health::of_one();
    ServiceHealth = health::of_service();
    ServiceHealthList = health::list();
    ServerHealth = health::of_server();
    HealthTransition = health::transition();
    HealthOverride = health::health_override();
    HealthResult = health::health_result();
    Persistence = resources::persistence();
    Server = resources::server();
    ServerList = resources::server_list();
    ServerBatch = resources::server_batch();
    ServerOrBatch = shape::one_of("One server, or several.", &["ServerBatch", "Server"]);
    Tunnel = resources::tunnel();
    Hold = holds::hold();
    Holds = holds::holds();
    Drain = holds::drain();
    WatchedDrain = holds::watched_drain();
    DrainMember = holds::drain_member();
    DrainList = holds::drain_list();
    DrainRequest = holds::drain_request();
    Ramp = holds::ramp();
    RampList = holds::ramp_list();
    RampRequest = holds::ramp_request();
    Table = tables::table();
    TableList = tables::list();
    TableOverview = tables::overview();
    TableStatus = tables::status();
    TableConflict = tables::conflict();
    TableSettings = tables::settings();
    LastApply = tables::last_apply();
    Applied = tables::applied();
    TableOperation = tables::operation();
    TableOperationList = tables::operation_list();
    ApplySummary = tables::summary();
    Batch = batch::batch();
    BatchOperation = batch::operation();
    BatchValue = batch::value();
    BatchApplied = tables::batch_applied();
    Protocol = resources::protocol();
    Family = resources::family();
    SchedulerFlag = resources::scheduler_flag();
    Forwarding = resources::forwarding();
    TunnelType = resources::tunnel_type();
    TunnelChecksum = resources::tunnel_checksum();
    InterfaceState = resources::interface_state();
    SyncDaemonRole = resources::sync_daemon_role();
    Timeouts = settings::timeouts();
    SyncDaemon = settings::sync_daemon();
    ListedSyncDaemon = settings::listed_sync_daemon();
    SyncDaemonList = settings::sync_daemon_list();
    Settings = settings::settings();
    Stats = reports::stats();
    Rates = reports::rates();
    StatsReport = reports::stats_report();
    StatsFrame = stats_stream::frame();
    StatsFrameTotals = stats_stream::totals();
    StatsFrameService = stats_stream::service();
    StatsFrameServer = stats_stream::server();
    StatsNotice = stats_stream::notice();
    StatsHistory = stats_stream::history();
    MeasuredRates = stats_stream::rates();
    StatsInclude = stats_stream::include();
    TopService = reports::top_service();
    TopServer = reports::top_server();
    Info = reports::info();
    Kernel = reports::kernel();
    Scheduler = reports::scheduler();
    Connection = reports::connection();
    Endpoint = reports::endpoint();
    ConnectionList = reports::connection_list();
    ConnectionCount = reports::connection_count();
    ConnectionCounts = reports::connection_counts();
    ConnectionListOrCounts =
        shape::one_of("Connections, or counts.", &["ConnectionList", "ConnectionCounts"]);
    Cleared = reports::cleared();
    Restored = reports::restored();
    Replaced = reports::replaced();
    Index = reports::index();
    IndexEntry = reports::index_entry();
    Health = reports::health();
    ServiceInclude = reports::service_include();
    ServerInclude = reports::server_include();
    ListSort = reports::list_sort();
    StatsSort = reports::stats_sort();
    Principal = access::principal();
    ScopeRule = access::scope_rule();
    Permission = access::permission();
    AuditRecord = audit::record();
    AuditRecordList = audit::record_list();
    AuditState = audit::state();
    AuditStateOfOne = audit::state_of_one();
    AuditStateOfSeveral = audit::state_of_several();
    AuditTruncated = audit::truncated();
    AuditOutcome = audit::outcome();
    WatchEvent = watch::event();
    WatchState = watch::state();
    Problem = problems::problem();
    Violation = problems::violation();
    Reason = problems::reason();
}

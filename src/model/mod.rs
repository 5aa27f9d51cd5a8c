//! The domain model of IPVS: keys, configurations, drafts and their validation, responses, errors.
//! Pure: no I/O and no protocol.
//!
//! A request is parsed into a *draft* ([`ServiceDraft`], [`ServerDraft`], …), in which every field
//! records whether it was present. A draft applied to the defaults (create) or to the current
//! configuration (update) gives a validated *configuration* ([`ServiceConfig`], [`ServerConfig`],
//! …). Values read from the kernel are not validated: other programs may have set values that ipvsd
//! would reject.

mod address_text;
mod batch_draft;
mod check;
mod connection;
mod diff;
mod director;
#[cfg(feature = "daemon")]
mod drain;
mod error;
mod etag;
mod existence;
mod fallback_server;
mod field;
mod fixed_buffer;
mod health_check;
mod health_check_dns;
mod health_check_draft;
mod health_check_kinds;
mod health_check_lists;
mod health_check_text;
#[cfg(any(feature = "daemon", feature = "client"))]
mod health_report;
#[cfg(any(feature = "daemon", feature = "client"))]
mod health_result;
mod hidden;
mod hold;
mod hold_draft;
mod info;
mod integer;
mod kept;
mod key;
mod label_selector;
mod labels;
mod mask;
mod name;
mod named_number;
mod netmask;
mod object;
mod op;
mod owner;
#[cfg(feature = "daemon")]
mod ramp;
mod reason;
mod scheduler;
mod server;
mod server_check;
mod server_draft;
mod server_index;
mod service;
mod service_draft;
mod settings;
mod sha256;
mod stats;
mod status_ranges;
mod stored_fields;
mod sync_daemon;
mod table;
mod table_draft;
mod table_settings;
#[cfg(feature = "daemon")]
mod table_summary;
mod timeouts;
mod tunnel;
mod view;
mod word;
mod written;

#[cfg(test)]
mod tests;

pub use address_text::AddressText;
pub use batch_draft::{BatchDraft, BatchOp, OperationDraft, ValueDraft};
pub use connection::{
    Connection, ConnectionFilter, ConnectionProtocol, ConnectionService, CountBy, Endpoint,
    EndpointFilter,
};
pub use diff::{Change, Diff, DiffCounts, diff, diff_servers, diff_service, diff_with_director};
pub use director::{Director, DirectorState};
#[cfg(feature = "daemon")]
pub use drain::{Drain, DrainMember, DrainState, MemberState};
pub use error::{Cause, Errno, Error, Progress, Violation, both};
pub use etag::{Etag, EtagScope, Fingerprint, fingerprint};
pub use fallback_server::FallbackServer;
pub use field::Field;
pub use fixed_buffer::FixedBuffer;
pub use health_check::{
    BelowMin, CheckMethod, CheckType, DownAction, HealthCheck, InvalidServerShare, ServerShare,
};
pub use health_check_dns::{InvalidRcodes, QueryType, Rcodes, Transport};
pub use health_check_draft::HealthCheckDraft;
#[cfg(any(feature = "daemon", feature = "client"))]
pub use health_report::{
    Forced, HealthReport, HealthState, HealthTransition, OverrideDraft, OverrideRequest,
    ServerHealthReport,
};
#[cfg(any(feature = "daemon", feature = "client"))]
pub use health_result::{HealthResult, HealthResultDraft};
pub use hidden::is_hidden;
pub use hold::{DrainTarget, Hold, HoldId, HoldKind, InvalidDrainTarget, InvalidHoldId};
pub use hold_draft::{DrainDraft, DrainRequest, RampDraft, RampRequest, Then};
pub use info::Info;
pub use kept::{Kept, KeptFields, KeptFilter};
pub use key::{Family, Protocol, ServerKey, ServiceKey};
pub use label_selector::LabelSelector;
pub use labels::{Labels, LabelsDraft};
pub use mask::Mask;
pub use name::Name;
pub use netmask::{MaskText, Netmask};
pub use object::{Entries, Object};
pub use op::{Op, Query};
pub use owner::Owner;
#[cfg(feature = "daemon")]
pub use ramp::{Ramp, RampState};
pub use reason::Reason;
pub use scheduler::{SCHEDULERS, SchedulerFlags};
pub use server::{Forwarding, Membership, Server, ServerConfig};
pub use server_check::{ServerCheck, ServerCheckDraft};
pub use server_draft::ServerDraft;
pub use server_index::ServerIndex;
pub use service::{Service, ServiceConfig, ServiceEntry};
pub use service_draft::{PersistenceDraft, ServiceDraft};
pub use settings::{SETTINGS, SettingKind, SettingSpec, SettingValue, Settings};
pub use sha256::{Sha256, Sha256Error};
pub use stats::{Rates, Stats};
pub use status_ranges::{InvalidStatusRanges, StatusRanges};
pub use stored_fields::{StoredFields, StoredTarget};
pub use sync_daemon::{InterfaceState, SyncDaemon, SyncDaemonConfig, SyncDaemonDraft, SyncState};
pub use table::{Table, TargetServer, TargetService};
pub use table_draft::{Adopt, Deletions, OnFailure, TableDraft};
pub use table_settings::{Reconcile, Removal, TableSettings};
#[cfg(feature = "daemon")]
pub use table_summary::{ApplyOutcome, LastApply, TableStatus, TableSummary};
pub use timeouts::{Timeouts, TimeoutsDraft};
pub use tunnel::{Checksum, Tunnel, TunnelDraft, TunnelType};
pub use view::{
    Include, Persistence, ServerConfigView, ServerView, ServiceView, SyncDaemonView, TunnelView,
};
pub use written::{changed, written};

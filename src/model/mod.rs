//! The domain: what IPVS is made of, its names, defaults and rules. Pure: no IO, no protocol.
//!
//! Everything a client can say becomes a *draft* ([`ServiceDraft`], [`ServerDraft`], …): raw values
//! with presence. A draft laid over a base (the defaults, or what the kernel has) gives a *config*,
//! checked once, here, for every face. What comes from the kernel is never refused: other programs
//! may have put things there that ipvsd would not.

mod connection;
mod error;
mod etag;
mod field;
mod info;
mod key;
mod name;
mod object;
mod op;
mod scheduler;
pub mod schema;
mod server;
mod service;
mod settings;
mod stats;
mod sync_daemon;
mod timeouts;
mod tunnel;
mod view;

#[cfg(test)]
mod tests;

pub use connection::{
    Connection, ConnectionFilter, ConnectionProtocol, CountBy, Endpoint, EndpointFilter,
};
pub use error::{Errno, Error, Reason, Violation};
pub use etag::{Etag, EtagScope, Fingerprint, fingerprint};
pub use field::Field;
pub use info::Info;
pub use key::{Family, Protocol, ServerKey, ServiceKey};
pub use name::Name;
pub use object::Object;
pub use op::{Op, Query};
pub use scheduler::{SCHEDULERS, SchedulerFlags};
pub use server::{Forwarding, Server, ServerConfig, ServerDraft};
pub use service::{
    MaskText, Netmask, PersistenceDraft, Service, ServiceConfig, ServiceDraft, ServiceEntry,
};
pub use settings::{SETTINGS, SettingKind, SettingSpec, SettingValue, Settings};
pub use stats::{Rates, Stats};
pub use sync_daemon::{SyncDaemon, SyncDaemonConfig, SyncDaemonDraft, SyncState};
pub use timeouts::{Timeouts, TimeoutsDraft};
pub use tunnel::{Checksum, Tunnel, TunnelDraft, TunnelType};
pub use view::{Include, Persistence, ServerView, ServiceView, SyncDaemonView, TunnelView};

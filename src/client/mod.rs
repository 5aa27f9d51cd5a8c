//! A blocking client of ipvsd's HTTP API for Rust programs; `ipvsctl` is one of them.
//!
//! Every read and write of the API has a method of [`Client`] with types of [`model`](crate::model).
//! The client needs no async runtime. It is `Sync`: threads can share it and send requests
//! concurrently. Each request opens a connection of its own.
//!
//! ```no_run
//! use ipvsd::{
//!     client::{Client, Include, Precondition, ServerPatch, ServerSpec, ServiceSpec, WriteOptions},
//!     model::{Field, Forwarding, Reason},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("http://127.0.0.1:4787".parse()?)?;
//!
//! // Create or replace a service and its real servers. Fields that are not set have the defaults
//! // of ipvsadm(8).
//! let mut service = ServiceSpec::new("tcp-192.0.2.1-80".parse()?);
//! service.config.scheduler = "wrr".parse()?;
//! let mut server = ServerSpec::new("192.168.10.1-8080".parse()?);
//! server.config.forwarding = Forwarding::Masquerade;
//! server.config.weight = 2;
//! service.servers = Some(vec![server]);
//! client.replace_service(&service, &WriteOptions::default())?;
//!
//! // Set one field, if nobody has changed the server since it was read.
//! let read = client.server(service.key, server.key, Include::default())?;
//! let patch = ServerPatch {
//!     weight: Field::Set(0),
//!     ..ServerPatch::default()
//! };
//! let options = WriteOptions {
//!     precondition: Precondition::from(read.etag),
//!     ..WriteOptions::default()
//! };
//! match client.update_server(service.key, server.key, &patch, &options) {
//!     Ok(written) => assert_eq!(written.value.config.weight, 0),
//!     Err(error) if error.reason() == Some(Reason::RevisionMismatch) => { /* Read it again. */ }
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Fields and variants that a newer daemon adds to a response are ignored. A reason that this
//! version does not know is kept as text ([`ProblemReason::Unknown`]).

mod access;
mod batch;
mod blocking;
mod buffered;
mod connect;
mod drains;
mod endpoint;
mod error;
mod etag;
mod files;
mod getent;
mod health;
mod http1;
mod json;
mod options;
mod read;
mod rules;
mod spec;
mod stats_stream;
mod tables;
mod tls;
mod tls_stream;
mod token;
mod trust;
mod watch;
mod write;

pub use self::{
    access::{AuditQuery, AuditRecord, Decision, Principal, ScopeRule},
    blocking::Client,
    drains::{Drain, DrainMember, KeptQuery, Ramp},
    endpoint::{Endpoint, EndpointError},
    error::{ClientError, Problem, ProblemReason},
    etag::{EntityTag, EntityTagError},
    files::FileError,
    health::{ServerHealth, ServiceHealth},
    json::{
        Connection, ConnectionCount, Info, Kernel, Scheduler, StatsReport, TopServer, TopService,
    },
    options::ClientOptions,
    read::{ConnectionQuery, Connections, Include, Resource, StatsQuery},
    rules::{
        Refused, RestoreDifference, RestoreEvent, RestoreMode, RestoreProgress, RestoreRequest,
        RestoreStream, Restored,
    },
    spec::{
        PersistencePatch, ServerPatch, ServerSpec, ServicePatch, ServiceSpec, TimeoutsPatch,
        TunnelPatch,
    },
    stats_stream::{
        RatesFrame, ServerFrame, ServiceFrame, StatsEvent, StatsFrame, StatsInclude, StatsStream,
        StatsStreamQuery, TotalsFrame,
    },
    tables::{
        Applied, ApplyOptions, ApplySummary, DeclaredTable, LastApply, LastOperations,
        OperationError, TableConflict, TableOperation, TableOverview, TableSettingsSpec, TableSpec,
        TableStatus,
    },
    token::{Token, TokenError},
    trust::{CertificateFault, ClientCertificateFault, Time, Untrusted},
    watch::{Watch, WatchEvent, WatchQuery},
    write::{DeleteOptions, Precondition, WriteOptions, Written},
};
#[cfg(feature = "cli")]
pub(crate) use self::{files::check_private, getent::getent, read::service_path};

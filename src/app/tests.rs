//! Tests of the use cases on the fake kernel.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod audit;
mod audit_others;
mod batch;
mod concurrent;
mod dry_run;
mod filters;
mod health;
mod health_fallback;
mod health_precedence;
mod health_results;
mod holds;
mod holds_model;
mod holds_unstored;
mod info;
mod kept;
mod labels;
mod labels_cut;
mod list;
mod pages;
mod panics;
mod parts;
mod reconcile;
mod replace;
mod restores;
mod servers;
mod services;
mod settings;
mod snapshot;
mod sync_daemons;
mod tables;
mod tables_director;
mod tables_ended;
mod tables_failures;
mod tables_large;
mod tables_operations;
mod tables_recovery;
mod tables_removal;
mod tables_stored;
mod unattended;
mod watch_records;
mod write_log;

use std::{fmt::Debug, net::SocketAddr, sync::LazyLock};

use serde_json::{Value, json};

use super::*;
use crate::{
    executor::{ExecutorLimits, Nothing, Plan, ServiceQuery, Transaction},
    identity::{CredentialKind, Grant, Principal, Role},
    kernel::{
        FakeKernel,
        fake::{self, Fault, On, ServiceId, command},
    },
    model::*,
};

const TCP: &str = "tcp-192.0.2.1-80";
const NONE: Guard = Guard::None;

/// A fake kernel and the use cases over it.
fn setup() -> (FakeKernel, App) {
    let kernel = FakeKernel::new();
    let app = app_on(&kernel);
    (kernel, app)
}

fn app_on(kernel: &FakeKernel) -> App {
    let executor = Executor::start(Arc::new(kernel.clone()), ExecutorLimits::default()).unwrap();
    App::new(executor, AppOptions::default())
}

/// The context of a request with a deadline that no test reaches.
fn context() -> &'static RequestContext {
    static CONTEXT: LazyLock<RequestContext> =
        LazyLock::new(|| RequestContext::new(RequestId::new("test"), Duration::from_secs(3600)));
    &CONTEXT
}

/// A principal with this role for everything.
fn principal(name: &str, role: Role) -> Arc<Principal> {
    Arc::new(Principal {
        name: name.to_owned(),
        kind: CredentialKind::Token,
        grant: Some(Grant::of(role)),
    })
}

/// The context of a request that accepts a minute-old result.
fn cached_context() -> RequestContext {
    context().clone().with_max_age(Duration::from_secs(60))
}

fn draft(json: Value) -> ServiceDraft {
    serde_json::from_value(json).unwrap()
}

fn server_draft(json: Value) -> ServerDraft {
    serde_json::from_value(json).unwrap()
}

fn key(id: &str) -> ServiceKey {
    id.parse().unwrap()
}

fn server_key(id: &str) -> ServerKey {
    id.parse().unwrap()
}

/// The fake kernel's id of a TCP service.
fn id(address: &str) -> ServiceId {
    ServiceId::tcp(address.parse().unwrap())
}

fn socket(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// Creates a service with servers through the use case.
async fn create_service(app: &App, service: &str, servers: &[&str]) -> Arc<ServiceEntry> {
    let servers: Vec<_> = servers
        .iter()
        .map(|server| json!({"id": server, "forwarding": "masquerade"}))
        .collect();
    let draft = draft(json!({"id": service, "scheduler": "rr", "servers": servers}));
    app.create_service(context(), draft).await.unwrap().value
}

/// The ids of the servers of a service.
fn ids(entry: &ServiceEntry) -> Vec<String> {
    entry.servers.iter().map(|s| s.key.to_string()).collect()
}

async fn read_service(app: &App, service: &str) -> Arc<ServiceEntry> {
    let found = app.service(context(), key(service), Include::default());
    found.await.unwrap().value
}

fn reason<T: Debug>(result: Result<T, Error>) -> Reason {
    result.unwrap_err().reason
}

/// The fields that an error names.
fn fields(error: &Error) -> Vec<&str> {
    error.violations.iter().map(|v| v.field.as_str()).collect()
}

/// The whole table.
fn state(kernel: &FakeKernel) -> Vec<fake::Service> {
    kernel.services()
}

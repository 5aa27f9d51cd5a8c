//! The use cases, good and bad, on the fake kernel.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says where"
)]

mod dry_run;
mod filters;
mod list;
mod replace;
mod report;
mod servers;
mod services;
mod settings;
mod sync_daemons;

use std::{fmt::Debug, net::SocketAddr, sync::LazyLock};

use serde_json::{Value, json};

use super::*;
use crate::{
    executor::ExecutorLimits,
    identity::Principal,
    kernel::{
        FakeKernel,
        fake::{self, Fault, On, ServiceId, command},
    },
    model::*,
};

const TCP: &str = "tcp-192.0.2.1-80";
const NONE: Guard = Guard::None;

/// A kernel and the use cases over it.
fn house() -> (FakeKernel, App) {
    let kernel = FakeKernel::new();
    let executor = Executor::start(Arc::new(kernel.clone()), ExecutorLimits::default()).unwrap();
    (kernel, App::new(executor, AppOptions::default()))
}

/// The context of every request of these tests, with a deadline that none of them reaches.
fn context() -> &'static RequestContext {
    static CONTEXT: LazyLock<RequestContext> =
        LazyLock::new(|| RequestContext::new(RequestId::new("test"), Duration::from_secs(3600)));
    &CONTEXT
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

/// What the fake kernel calls a TCP service.
fn id(address: &str) -> ServiceId {
    ServiceId::tcp(address.parse().unwrap())
}

fn socket(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// A service with servers, made as a client does.
async fn make(app: &App, service: &str, servers: &[&str]) -> Arc<ServiceEntry> {
    let servers: Vec<_> = servers
        .iter()
        .map(|server| json!({"id": server, "forwarding": "masquerade"}))
        .collect();
    let draft = draft(json!({"id": service, "scheduler": "rr", "servers": servers}));
    app.create_service(context(), draft).await.unwrap().value
}

fn ids(entry: &ServiceEntry) -> Vec<String> {
    entry.servers.iter().map(|s| s.key.to_string()).collect()
}

async fn read(app: &App, service: &str) -> Arc<ServiceEntry> {
    let answer = app.service(context(), key(service), Include::default());
    answer.await.unwrap().value
}

fn reason<T: Debug>(result: Result<T, Error>) -> Reason {
    result.unwrap_err().reason
}

fn fields(error: &Error) -> Vec<&str> {
    error.violations.iter().map(|v| v.field.as_str()).collect()
}

/// Everything in the table that a client can configure, to compare.
fn state(kernel: &FakeKernel) -> Vec<fake::Service> {
    kernel.services()
}

//! Path parameters as types of the model.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use utoipa::{
    IntoParams,
    openapi::{
        RefOr, Required, Schema,
        path::{Parameter, ParameterIn},
    },
};

use super::{
    problem::Problem,
    schema::hold_id,
    shape::{reference, text},
};
use crate::model::{Error, HoldId, Owner, ServerKey, ServiceKey, SyncState};

/// `{service}`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServicePath(pub ServiceKey);

/// `{service}` and `{server}`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerPath(pub ServiceKey, pub ServerKey);

/// `{state}` of a sync daemon.
#[derive(Clone, Copy, Debug)]
pub(super) struct SyncDaemonPath(pub SyncState);

/// `{id}` of a drain or ramp.
#[derive(Clone, Copy, Debug)]
pub(super) struct HoldPath(pub HoldId);

/// `{owner}`.
#[derive(Clone, Debug)]
pub(super) struct OwnerPath(pub Owner);

/// `{owner}` of a read: also [`Owner::unmanaged`].
#[derive(Clone, Debug)]
pub(super) struct ReadOwnerPath(pub Owner);

async fn parse<T: FromStr<Err: Into<Error>>, S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<T, Problem> {
    let text = text_of(parts, state, name).await?;
    let parsed: Result<T, Error> = text.parse().map_err(Into::into);
    Ok(parsed?)
}

async fn text_of<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<String, Problem> {
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|error| Error::invalid(name, error.to_string()))?;
    let text = params.iter().find(|(key, _)| *key == name);
    Ok(text.map_or("", |(_, text)| text).to_owned())
}

/// The parameter `name` in the OpenAPI document.
pub(super) fn parameter(
    name: &str,
    schema: impl Into<RefOr<Schema>>,
    doc: &str,
    example: Option<&str>,
) -> Parameter {
    Parameter::builder()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(doc))
        .schema(Some(schema))
        .example(example.map(Into::into))
        .build()
}

fn service() -> Parameter {
    let example = Some("tcp-192.0.2.1-80");
    parameter("service", text(), "Id of the service.", example)
}

// === impl ServicePath, ServerPath, SyncDaemonPath, HoldPath, OwnerPath ===

impl<S: Send + Sync> FromRequestParts<S> for ServicePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(parse(parts, state, "service").await?))
    }
}

impl IntoParams for ServicePath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![service()]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ServerPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let service = parse(parts, state, "service").await?;
        Ok(Self(service, parse(parts, state, "server").await?))
    }
}

impl IntoParams for ServerPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let example = Some("192.168.10.1-80");
        let server = parameter("server", text(), "Id of the server.", example);
        vec![service(), server]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SyncDaemonPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(parse(parts, state, "state").await?))
    }
}

impl IntoParams for SyncDaemonPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let role = reference("SyncDaemonRole");
        vec![parameter("state", role, "Role of the sync daemon.", None)]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for HoldPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(parse(parts, state, "id").await?))
    }
}

impl IntoParams for HoldPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let doc = "Id of the drain or ramp.";
        vec![parameter("id", hold_id(), doc, Some("00c0ffee5ca1ab1e"))]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OwnerPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(parse(parts, state, "owner").await?))
    }
}

impl IntoParams for OwnerPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let doc = "Owner of the table.";
        vec![parameter("owner", text(), doc, Some("k8s"))]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ReadOwnerPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = text_of(parts, state, "owner").await?;
        Ok(Self(Owner::of_read(&text)?))
    }
}

impl IntoParams for ReadOwnerPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let doc = "Owner of the table; `_unmanaged` for the services that no table declares.";
        vec![parameter("owner", text(), doc, Some("k8s"))]
    }
}

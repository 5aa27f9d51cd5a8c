//! `/v1/whoami` and `/v1/can-i`: the principal of the request, and what it may do.

use axum::{extract::State, response::Response};
use utoipa::openapi::{RefOr, Schema};

use super::{
    context::Caller,
    problem::Problem,
    query::{NoParams, Query, QueryValue, query},
    reply, schema,
    shape::choice,
    state::Api,
    values::ServiceId,
};
use crate::{identity::Verb, model::Error};

query! {
    /// Query parameters of the question whether something is permitted.
    PermissionQuery {
        /// The verb. Required.
        verb: Verb = "update_weight",
        /// Id of a service. Without it, the question is about all services.
        service: ServiceId = "tcp-192.0.2.1-80",
    }
}

/// Get the principal
///
/// Returns the principal as which the daemon recognises the request, with its role and its scope.
#[utoipa::path(
    get, path = "/v1/whoami", operation_id = "getPrincipal", tag = "access",
    responses((status = 200, description = "The principal.", body = schema::Principal))
)]
pub(super) async fn whoami(
    State(api): State<Api>,
    _: Query<NoParams>,
    caller: Caller,
) -> Result<Response, Problem> {
    let principal = api.app.principal(&caller.context())?;
    Ok(reply::plain(&*principal)?)
}

/// Check a permission
///
/// Returns whether the principal of the request may do something. The decision about a real request
/// is made when it is executed, about everything that it would change.
#[utoipa::path(
    get, path = "/v1/can-i", operation_id = "checkPermission", tag = "access",
    params(Query<PermissionQuery>),
    responses((status = 200, description = "The answer.", body = schema::Permission))
)]
pub(super) async fn can_i(
    State(api): State<Api>,
    Query(PermissionQuery { verb, service }): Query<PermissionQuery>,
    caller: Caller,
) -> Result<Response, Problem> {
    let context = caller.context();
    let verb = verb.ok_or_else(|| Error::invalid("verb", "is required"))?;
    let permission = api
        .app
        .permission(&context, verb, service.map(|ServiceId(key)| key))?;
    Ok(reply::plain(&permission)?)
}

impl QueryValue for Verb {
    fn schema() -> RefOr<Schema> {
        choice(&Self::ALL.map(Self::as_str)).into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| {
            let all = Self::ALL.map(Self::as_str);
            format!("{text:?} is not a verb: {}", all.join(", "))
        })
    }
}

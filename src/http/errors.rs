//! `/errors`: descriptions of the error reasons. The `type` of a problem refers to them.

use axum::{
    extract::{Path, rejection::PathRejection},
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    IntoParams,
    openapi::path::{Parameter, ParameterIn},
};

use super::{
    path::parameter,
    problem::{Problem, status},
    schema,
    shape::reference,
};
use crate::model::{Error, Reason};

/// `{reason}`.
pub(super) struct ReasonPath;

impl IntoParams for ReasonPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let reason = reference("Reason");
        vec![parameter(
            "reason",
            reason,
            "The `reason` of an error.",
            None,
        )]
    }
}

/// Meaning and remedy of each reason.
const EXPLANATIONS: [(Reason, &str); Reason::ALL.len()] = [
    (
        Reason::InvalidArgument,
        "A field, a query parameter, a header or an id is missing, unknown, out of range, or \
         contradicts another. `errors` contains each field and the allowed values. Nothing was \
         changed.",
    ),
    (
        Reason::Unauthenticated,
        "Authentication required. Send credentials.",
    ),
    (Reason::PermissionDenied, "Insufficient permissions."),
    (
        Reason::CrossSite,
        "A browser could have been made to send the request by a page of another site: `Host` is \
         neither an IP address, nor localhost, nor the name of the machine, nor in `allowed_hosts` \
         of the daemon's configuration; or the request is a write, and `Origin` or \
         `Sec-Fetch-Site` names another site. Nothing was changed.",
    ),
    (
        Reason::NotFound,
        "The path does not exist. See /openapi.json or /docs.",
    ),
    (
        Reason::MethodNotAllowed,
        "The path does not support this method. The header Allow lists the supported methods.",
    ),
    (
        Reason::UnsupportedMediaType,
        "The media type of the body is not supported. Set `Content-Type: application/json`; \
         PATCH also supports `application/merge-patch+json`. A write whose body is not JSON, or \
         absent, needs the header `X-Request-Id` with any value, so that no page of another site can \
         send it. `Content-Encoding` is not supported.",
    ),
    (
        Reason::ServiceNotFound,
        "The virtual service does not exist. Services with another protocol, port or address \
         family are different services; port 0 is one too. DELETE with `?allow_missing=true` \
         succeeds in this case.",
    ),
    (
        Reason::ServerNotFound,
        "The virtual service exists, but the real server does not. DELETE with \
         `?allow_missing=true` succeeds in this case.",
    ),
    (
        Reason::SyncDaemonNotRunning,
        "The sync daemon is not running. DELETE with `?allow_missing=true` succeeds in this \
         case.",
    ),
    (
        Reason::ServiceExists,
        "The virtual service already exists. Use PUT to replace it, or PATCH to change it.",
    ),
    (
        Reason::TableNotFound,
        "No table of this owner is declared. `GET /v1/tables` lists them.",
    ),
    (
        Reason::DrainNotFound,
        "There is no drain with this id. Drains that have ended are kept for 24 hours, up to 1000 of them. `GET \
         /v1/drains` lists them.",
    ),
    (
        Reason::RampNotFound,
        "There is no ramp with this id. Ramps that have ended are kept for 24 hours, up to 1000 of them. `GET \
         /v1/ramps` lists them.",
    ),
    (
        Reason::HealthCheckNotFound,
        "The service exists, and has no health check. Set its field `health_check`. `GET /v1/health` lists the services \
         that have one.",
    ),
    (
        Reason::HealthCheckNotExternal,
        "The health check of the service has a type whose servers the daemon checks: results are not taken. Nothing was \
         changed. Set `type` of the `health_check` to `external`, or use an override.",
    ),
    (
        Reason::ResourceOwned,
        "The timeouts or the sync daemons belong to the table of another owner, or to one under `repair`. Nothing \
         was changed. `errors` names them. Apply that table with the change, or without them.",
    ),
    (
        Reason::ServiceOwned,
        "The service belongs to the table of another owner, or exists without one. Nothing was changed. \
         `errors` names the services. `adopt=unmanaged` takes over services without an owner, `adopt=any` \
         those of other owners, too.",
    ),
    (
        Reason::TooManyDeletes,
        "The table would delete more services or servers than `max_deletes` permits. Nothing was changed. \
         Check the table; if it is what you want, raise `max_deletes`.",
    ),
    (
        Reason::PlanChanged,
        "The operations are others than those of `expect_plan`: the kernel's table or the declaration has \
         changed since. Nothing was changed. Look at the plan again with `dry_run`.",
    ),
    (
        Reason::ApplyFailed,
        "An operation of the table or of the batch failed. `outcome` says what became of the others, and `operations` of each. \
         The HTTP status is that of the operation.",
    ),
    (
        Reason::IdempotencyInProgress,
        "The first request with this `Idempotency-Key` is in progress. Repeat the request later with the same \
         key: the response is that of the first request.",
    ),
    (
        Reason::IdempotencyKeyReused,
        "Another request of the principal was sent with this `Idempotency-Key`: its method, path, query, \
         precondition or body is different. Nothing was changed. Use a new key for each request.",
    ),
    (
        Reason::ServerExists,
        "The real server already exists. Use PUT to replace it, or PATCH to change it.",
    ),
    (
        Reason::SyncDaemonRunning,
        "The sync daemon is already running.",
    ),
    (
        Reason::RevisionMismatch,
        "The precondition (If-Match or If-None-Match) is not met: the resource was changed, \
         created or deleted since it was read, or the ETag was not issued by this server. Read \
         the resource again, apply the change to its current state, and send its current ETag. \
         Nothing was changed.",
    ),
    (
        Reason::ConfirmMismatch,
        "The query parameter `confirm` is not the number of services that the request would \
         delete. Nothing was deleted. List the services and retry with their number.",
    ),
    (
        Reason::SchedulerUnavailable,
        "The kernel does not have the scheduler. Check its name; on the director, `modprobe \
         ip_vs_NAME` loads its module if the kernel has it.",
    ),
    (
        Reason::PersistenceEngineUnavailable,
        "The kernel does not have the persistence engine. Check its name; on the director, \
         `modprobe ip_vs_pe_NAME` loads its module if the kernel has it.",
    ),
    (
        Reason::UnsupportedByKernel,
        "The kernel does not support this: it is too old, or the feature is not compiled in. \
         `hint` contains the feature.",
    ),
    (
        Reason::SyncDaemonConflict,
        "A sync daemon cannot run while a real server has another address family than its \
         service, and vice versa: the kernel cannot synchronise such connections.",
    ),
    (
        Reason::TooLarge,
        "The request exceeds a limit of the daemon's configuration. Split it into smaller \
         requests.",
    ),
    (
        Reason::RateLimited,
        "The client has used up its quota, the request queue is full, or another request is restoring or \
         clearing the whole table. Nothing was changed. Repeat the request after the time in \
         Retry-After.",
    ),
    (
        Reason::KernelUnavailable,
        "The kernel has no IPVS (`modprobe ip_vs`), or the daemon lacks the capability \
         CAP_NET_ADMIN or file descriptors. `detail` and `hint` contain the cause and the remedy.",
    ),
    (
        Reason::StoreUnavailable,
        "What the daemon keeps on its disk (`state_dir`) cannot be read or written: the file system is full, \
         or the file is damaged or of a newer version; with the status 503, the request has an \
         `Idempotency-Key`, and the daemon has no store. `detail` and `hint` contain the cause and the remedy. \
         Nothing was changed, neither there nor in the kernel. Requests that need nothing stored are not \
         affected.",
    ),
    (
        Reason::DeadlineExceeded,
        "The operation did not finish in time. `detail` states whether it was started; if so, \
         read the resource to see its state. PUT, PATCH and DELETE can safely be repeated.",
    ),
    (
        Reason::Internal,
        "Internal error of the daemon or the kernel. The daemon's log contains details under \
         `request_id`.",
    ),
];

fn line(reason: Reason) -> String {
    let status = status(reason).as_u16();
    format!("{reason} (HTTP {status}): {}", reason.title())
}

fn text(body: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (headers, body).into_response()
}

/// List error reasons
///
/// Lists the values of `reason` in errors, as text.
#[utoipa::path(
    get, path = "/errors", operation_id = "listErrors", tag = "about",
    responses((
        status = 200, description = "The reasons.", body = String, content_type = "text/plain"
    ))
)]
pub(super) async fn list() -> Response {
    let lines = Reason::ALL.map(|reason| format!("{}\n", line(reason)));
    text(lines.concat())
}

/// Get an error reason
///
/// Describes a reason and its remedy, as text. The `type` of an error refers to this page.
#[utoipa::path(
    get, path = "/errors/{reason}", operation_id = "getError", tag = "about",
    params(ReasonPath),
    responses(
        (status = 200, description = "The description.", body = String, content_type = "text/plain"),
        schema::NotFound,
    )
)]
pub(super) async fn get(path: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let Path(name) = path.map_err(|error| Error::invalid("reason", error.to_string()))?;
    let reason = Reason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == name)
        .ok_or_else(|| {
            Error::new(Reason::NotFound, format!("unknown reason {name:?}"))
                .with_hint("see /errors")
        })?;
    let explanation = EXPLANATIONS.iter().find(|(known, _)| *known == reason);
    let explanation = explanation.map_or("", |(_, explanation)| explanation);
    Ok(text(format!("{}\n\n{explanation}\n", line(reason))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_explained() {
        for reason in Reason::ALL {
            assert!(
                EXPLANATIONS.iter().any(|(known, _)| *known == reason),
                "{reason}"
            );
        }
    }
}

//! The pages that a problem's `type` leads to: what each reason means.

use axum::{
    extract::{Path, rejection::PathRejection},
    http::header,
    response::{IntoResponse, Response},
};

use super::problem::{Problem, status};
use crate::model::{Error, Reason};

/// What a reason means, and what to do.
fn explanation(reason: Reason) -> &'static str {
    match reason {
        Reason::InvalidArgument => {
            "A field, a query parameter, a header or an id is missing, out of range, unknown, or \
             contradicts another. `errors` names each field and says what is allowed. The kernel \
             was not asked and nothing has changed."
        }
        Reason::Unauthenticated => "Who you are could not be told. Send credentials.",
        Reason::PermissionDenied => "You may not do this. Ask whoever runs the daemon.",
        Reason::NotFound => "There is no such path in this API. See /openapi.json or /docs.",
        Reason::MethodNotAllowed => {
            "The path exists, but not with this method. The header Allow says which it takes."
        }
        Reason::UnsupportedMediaType => {
            "The body is not of a type that this request takes. Send `Content-Type: \
             application/json`; a PATCH takes `application/merge-patch+json` too."
        }
        Reason::ServiceNotFound => {
            "The kernel has no such virtual service. Port 0, other protocols and other families \
             are services of their own. A DELETE with `?allow_missing=true` takes this for done."
        }
        Reason::ServerNotFound => {
            "The virtual service exists, but has no such real server. A DELETE with \
             `?allow_missing=true` takes this for done."
        }
        Reason::SyncDaemonNotRunning => {
            "The sync daemon in question does not run. A DELETE with `?allow_missing=true` takes \
             this for done."
        }
        Reason::ServiceExists => {
            "There is such a virtual service already. PUT creates or replaces; PATCH changes."
        }
        Reason::ServerExists => {
            "The virtual service has such a real server already. PUT creates or replaces; PATCH \
             changes."
        }
        Reason::SyncDaemonRunning => "The sync daemon in question runs already.",
        Reason::RevisionMismatch => {
            "The resource is not as If-Match or If-None-Match demands: somebody has changed, \
             created or deleted it. Read it again, decide again, and send the etag that it has now."
        }
        Reason::SchedulerUnavailable => {
            "The kernel has no such scheduler. Check its name; on the app, `modprobe \
             ip_vs_NAME` shows whether the kernel has its module."
        }
        Reason::PersistenceEngineUnavailable => {
            "The kernel has no such persistence engine. Check its name; on the app, `modprobe \
             ip_vs_pe_NAME` shows whether the kernel has its module."
        }
        Reason::UnsupportedByKernel => {
            "This kernel cannot do this at all: it is too old, or built without it. `hint` says \
             what it lacks."
        }
        Reason::SyncDaemonConflict => {
            "A sync daemon, and a real server of another address family than its service, exclude \
             each other: the kernel cannot synchronise such connections."
        }
        Reason::TooLarge => {
            "The request is larger than the daemon takes, which is a setting of the daemon. Send \
             it in parts."
        }
        Reason::RateLimited => {
            "The daemon has as much to do as it takes on at a time. Nothing was done; wait for as \
             long as Retry-After says and send the request again."
        }
        Reason::KernelUnavailable => {
            "IPVS cannot be managed: the kernel has no IPVS (`modprobe ip_vs`), or the daemon may \
             not manage it (CAP_NET_ADMIN). `detail` and `hint` say which."
        }
        Reason::DeadlineExceeded => {
            "The operation did not end in time. `detail` says whether it was begun; if it was, \
             read the resource to see what it came to. Repeating a PUT, a PATCH or a DELETE does \
             no harm."
        }
        Reason::Internal => {
            "The daemon or the kernel misbehaved. The daemon's log has more, under `request_id`."
        }
    }
}

fn line(reason: Reason) -> String {
    let status = status(reason).as_u16();
    format!("{reason} (HTTP {status}): {}", reason.title())
}

fn text(body: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (headers, body).into_response()
}

/// All reasons
///
/// What the `reason` of a problem can be, as text.
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

/// One reason
///
/// What it means and what to do: the page that the `type` of a problem leads to.
#[utoipa::path(
    get, path = "/errors/{reason}", operation_id = "getError", tag = "about",
    params(("reason" = super::schema::ReasonName, Path, description = "The `reason` of a problem.")),
    responses(
        (status = 200, description = "Its meaning.", body = String, content_type = "text/plain"),
        super::schema::NotFound,
    )
)]
pub(super) async fn get(path: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    let Path(name) = path.map_err(|error| Error::invalid("reason", error.to_string()))?;
    let reason = Reason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == name)
        .ok_or_else(|| {
            Error::new(Reason::NotFound, format!("{name:?} is not a reason"))
                .with_hint("see /errors")
        })?;
    Ok(text(format!(
        "{}\n\n{}\n",
        line(reason),
        explanation(reason)
    )))
}

//! Conversion of the model's error to a gRPC status with google.rpc details.

use std::{collections::HashMap, time::Duration};

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, Uri, header::CONTENT_TYPE};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, StatusExt};

use super::{
    media_type::{is_web, media_type},
    metadata,
};
use crate::{
    app::{ApplyReport, OperationReport},
    model::{Error, Progress, Reason, Violation},
};

/// `domain` in `google.rpc.ErrorInfo`, the namespace of the reasons.
pub const ERROR_DOMAIN: &str = "ipvsd";

/// Longest message in bytes. A status contains it twice and is sent in the trailers, which common
/// clients limit to 8 KiB.
const MAX_MESSAGE: usize = 768;
/// Longest field path in bytes.
const MAX_FIELD: usize = 128;
/// Most operations of an apply that failed.
const MAX_OPERATIONS: usize = 100;
/// Most bytes of all violations together.
const MAX_VIOLATIONS: usize = 2048;

/// The gRPC status code of a reason.
pub fn code(reason: Reason) -> Code {
    match reason {
        Reason::InvalidArgument | Reason::UnsupportedMediaType | Reason::IdempotencyKeyReused => {
            Code::InvalidArgument
        }
        Reason::Unauthenticated => Code::Unauthenticated,
        Reason::PermissionDenied | Reason::CrossSite => Code::PermissionDenied,
        Reason::NotFound | Reason::MethodNotAllowed => Code::Unimplemented,
        Reason::ServiceNotFound
        | Reason::ServerNotFound
        | Reason::SyncDaemonNotRunning
        | Reason::TableNotFound
        | Reason::DrainNotFound
        | Reason::RampNotFound
        | Reason::HealthCheckNotFound => Code::NotFound,
        Reason::ServiceExists | Reason::ServerExists | Reason::SyncDaemonRunning => {
            Code::AlreadyExists
        }
        Reason::RevisionMismatch | Reason::PlanChanged | Reason::IdempotencyInProgress => {
            Code::Aborted
        }
        Reason::ConfirmMismatch
        | Reason::ServiceOwned
        | Reason::ResourceOwned
        | Reason::TooManyDeletes
        | Reason::HealthCheckNotExternal
        | Reason::ApplyFailed
        | Reason::SchedulerUnavailable
        | Reason::PersistenceEngineUnavailable
        | Reason::UnsupportedByKernel
        | Reason::SyncDaemonConflict
        | Reason::StoreUnavailable => Code::FailedPrecondition,
        Reason::TooLarge | Reason::RateLimited => Code::ResourceExhausted,
        Reason::KernelUnavailable => Code::Unavailable,
        Reason::DeadlineExceeded => Code::DeadlineExceeded,
        Reason::Internal => Code::Internal,
    }
}

/// Converts an error to a status. `request_id` becomes `google.rpc.RequestInfo`.
pub fn status(error: &Error, request_id: Option<&str>) -> Status {
    status_with(code(error.reason), error, request_id)
}

/// The status of an apply that did not do what was declared, with the operations at fault.
pub(super) fn of_apply(report: &ApplyReport, error: &Error, request_id: Option<&str>) -> Status {
    let code = code(report.status_reason(error));
    let (detail, mut details) = details(code, error, request_id);
    let info = details.error_info();
    let mut metadata = info.map_or_else(HashMap::new, |info| info.metadata.clone());
    let outcome = [
        ("outcome", report.outcome.as_str()),
        ("apply_id", report.apply_id.as_str()),
    ];
    let outcome = outcome.map(|(name, text)| (name.to_owned(), truncated(text, MAX_FIELD)));
    metadata.extend(outcome);
    details.set_error_info(error.reason.as_str(), ERROR_DOMAIN, metadata);
    details.set_precondition_failure(at_fault(report));
    Status::with_error_details(code, detail, details)
}

/// The operations that failed, then those that were not undone, and what was not restored: as many as fit.
fn at_fault(report: &ApplyReport) -> Vec<PreconditionViolation> {
    let operations = || report.operations.iter();
    let violation = |kind: &str, operation: &OperationReport, text: &str| {
        let subject = operation.object();
        let description = format!("{}: {text}", operation.op.name());
        PreconditionViolation::new(
            kind,
            truncated(&subject, MAX_FIELD),
            truncated(&description, MAX_MESSAGE),
        )
    };
    let failed = operations().filter_map(|operation| {
        let error = operation.failure()?;
        Some(violation(error.reason.as_str(), operation, &error.detail))
    });
    let skipped = operations().filter(|operation| operation.is_not_undone());
    let skipped = skipped.map(|it| violation("NOT_UNDONE", it, "changed by another program"));
    let lost = operations().filter(|operation| !operation.lost.is_empty());
    let lost = lost.map(|operation| {
        let names: Vec<_> = operation.lost.iter().map(|lost| lost.as_str()).collect();
        violation("LOST", operation, &names.join(", "))
    });
    let mut available = MAX_VIOLATIONS;
    let all = failed.chain(skipped).chain(lost).take(MAX_OPERATIONS);
    all.map_while(|violation| {
        let length = violation.r#type.len() + violation.subject.len() + violation.description.len();
        available = available.checked_sub(length)?;
        Some(violation)
    })
    .collect()
}

fn status_with(code: Code, error: &Error, request_id: Option<&str>) -> Status {
    let (detail, details) = details(code, error, request_id);
    Status::with_error_details(code, detail, details)
}

/// The message and the details of an error.
fn details(code: Code, error: &Error, request_id: Option<&str>) -> (String, ErrorDetails) {
    let Error {
        reason, violations, ..
    } = error;
    let detail = truncated(&error.detail, MAX_MESSAGE);
    let mut metadata = HashMap::new();
    if let Some(errno) = &error.errno {
        metadata.insert("errno".to_owned(), errno.to_string());
    }
    if let Some(hint) = &error.hint {
        metadata.insert("hint".to_owned(), truncated(hint, MAX_MESSAGE));
    }
    if let Some(progress) = error.progress.as_deref() {
        metadata.extend(progress_fields(progress));
    }
    let mut details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, metadata);
    if code == Code::FailedPrecondition {
        let none = match reason {
            Reason::StoreUnavailable => "store",
            _ => "kernel",
        };
        let subject = violations.first().map_or(none, |v| v.field.as_str());
        details.set_precondition_failure(vec![PreconditionViolation::new(
            reason.as_str(),
            truncated(subject, MAX_FIELD),
            detail.as_str(),
        )]);
    }
    if !violations.is_empty() {
        details.set_bad_request(fields(violations));
    }
    if let Some(seconds) = error.retry_seconds() {
        details.set_retry_info(Some(Duration::from_secs(seconds.into())));
    }
    if let Some(id) = request_id {
        details.set_request_info(truncated(id, MAX_FIELD), "");
    }
    (detail, details)
}

/// How far a restore came: the members of the problem in HTTP.
fn progress_fields(progress: &Progress) -> [(String, String); 4] {
    let Progress {
        commands,
        done,
        refused,
        unknown_lines,
    } = progress;
    let lines: Vec<_> = unknown_lines.iter().map(usize::to_string).collect();
    [
        ("commands", commands.to_string()),
        ("done", done.to_string()),
        ("refused", refused.to_string()),
        ("unknown_lines", lines.join(",")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// The fields at fault, up to [`MAX_VIOLATIONS`] bytes.
fn fields(violations: &[Violation]) -> Vec<FieldViolation> {
    let mut available = MAX_VIOLATIONS;
    let mut fields = Vec::new();
    for Violation { field, message } in violations {
        let field = truncated(field, MAX_FIELD);
        let message = truncated(message, MAX_MESSAGE);
        let Some(left) = available.checked_sub(field.len() + message.len()) else {
            let omitted = violations.len() - fields.len();
            fields.push(FieldViolation::new("", format!("and {omitted} more")));
            break;
        };
        available = left;
        fields.push(FieldViolation::new(field, message));
    }
    fields
}

/// The response to a request that is rejected before it reaches a method. `headers` are those of the
/// request.
pub fn refusal(error: &Error, headers: &HeaderMap) -> Response {
    refusal_with(code(error.reason), error, headers)
}

/// The same with another code than that of the reason.
pub(super) fn refusal_with(code: Code, error: &Error, headers: &HeaderMap) -> Response {
    let status = status_with(code, error, metadata::request_id(headers));
    let mut response: Response = status.into_http::<tonic::body::Body>().map(Body::new);
    // A grpc-web client expects the content type of its request.
    if let Some(own) = media_type(headers).filter(|own| is_web(own)) {
        let own = HeaderValue::from_static(own);
        response.headers_mut().insert(CONTENT_TYPE, own);
    }
    response
}

/// The response to a gRPC request for an unknown service: the router's fallback for requests with
/// [`is_grpc`](super::is_grpc).
pub async fn unimplemented_fallback(request: axum::extract::Request) -> Response {
    refusal(&unknown_method(request.uri()), request.headers())
}

/// The error of a request for an unknown method.
pub(super) fn unknown_method(uri: &Uri) -> Error {
    let path = truncated(uri.path(), MAX_FIELD);
    Error::new(Reason::NotFound, format!("unknown method {path}")).with_hint(format!(
        "server reflection lists the methods of {}",
        crate::proto::SERVICE
    ))
}

/// At most `max` bytes of a text, with an ellipsis if it was longer.
fn truncated(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Errno;

    #[test]
    fn a_status_has_all_parts_of_the_error() {
        let error = Error::new(Reason::ServiceExists, "there is a service tcp-192.0.2.1-80")
            .with_errno(Errno::EEXIST)
            .with_hint("use ReplaceService");
        let status = status(&error, Some("abc"));
        assert_eq!(status.code(), Code::AlreadyExists);
        assert_eq!(status.message(), error.detail);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("SERVICE_EXISTS", "ipvsd")
        );
        assert_eq!(info.metadata["errno"], "EEXIST");
        assert_eq!(info.metadata["hint"], "use ReplaceService");
        assert!(details.retry_info().is_none());
        assert_eq!(details.request_info().unwrap().request_id, "abc");
        assert!(details.bad_request().is_none());
    }

    #[test]
    fn violations_become_a_bad_request() {
        let error = Error::from_violations(vec![
            Violation::new("persistence.netmask", "is wrong"),
            Violation::new("servers[2].weight", "is wrong too"),
        ]);
        let status = status(&error, None);
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        let fields = &details.bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "persistence.netmask");
        assert_eq!(fields[1].field, "servers[2].weight");
        assert_eq!(fields[1].description, "is wrong too");
    }

    #[test]
    fn a_failed_precondition_names_its_subject() {
        let error = Error::new(Reason::SchedulerUnavailable, "no scheduler xyz")
            .with_violation("scheduler", "no scheduler xyz");
        let status = status(&error, None);
        assert_eq!(status.code(), Code::FailedPrecondition);
        let details = status.get_error_details();
        let failed = &details.precondition_failure().unwrap().violations[0];
        assert_eq!(
            (failed.r#type.as_str(), failed.subject.as_str()),
            ("SCHEDULER_UNAVAILABLE", "scheduler")
        );
    }

    #[test]
    fn the_largest_status_fits_the_trailers_of_common_clients() {
        let violation = |i| Violation::new(format!("servers[{i}].weight"), "ü".repeat(100));
        let mut error = Error::from_violations((0..1000).map(violation).collect());
        error.hint = Some("ü".repeat(2000));
        let response = refusal(&error, &HeaderMap::new());
        let size: usize = response
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum();
        assert!(size < 8192, "{size}");
        let status = status(&error, None);
        let details = status.get_error_details();
        let last = details
            .bad_request()
            .unwrap()
            .field_violations
            .last()
            .unwrap();
        assert!(last.description.starts_with("and "), "{last:?}");
    }

    #[test]
    fn every_reason_has_an_error_code() {
        for reason in Reason::ALL {
            assert!(!matches!(
                code(reason),
                Code::Ok | Code::Unknown | Code::OutOfRange
            ));
        }
    }

    #[test]
    fn temporary_errors_say_when_to_retry() {
        let delay = |error: &Error| {
            let details = status(error, None).get_error_details();
            details.retry_info().and_then(|info| info.retry_delay)
        };
        let error = Error::new(Reason::RateLimited, "busy");
        assert_eq!(delay(&error), Some(Duration::from_secs(1)));
        let error = error.with_retry_after(Duration::from_millis(2500));
        assert_eq!(delay(&error), Some(Duration::from_secs(3)));
        let error = error.with_progress(Progress::default());
        assert_eq!(delay(&error), None);
    }

    #[test]
    fn a_rejection_has_the_content_type_of_the_request() {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/grpc-web+proto");
        headers.insert(CONTENT_TYPE, kind.clone());
        let response = refusal(&Error::new(Reason::RateLimited, "busy"), &headers);
        assert_eq!(response.headers()[CONTENT_TYPE], kind);
    }
}

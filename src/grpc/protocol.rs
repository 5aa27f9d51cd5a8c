//! What the generated code leaves out of the protocol: malformed timeouts, and details of the errors
//! that it returns itself.

use std::convert::Infallible;

use axum::{extract::Request, response::Response, routing::Route};
use http::{HeaderMap, Uri};
use tonic::{Code, Status};
use tower::Service;

use super::{metadata, status};
use crate::model::{Error, Reason};

/// Serves a request to a method.
pub(super) async fn complete(
    mut request: Request,
    mut route: Route,
) -> Result<Response, Infallible> {
    if let Err(error) = metadata::check_timeout(request.headers()) {
        return Ok(status::refusal(&error, request.headers()));
    }
    let uri = request.uri().clone();
    let headers = metadata::of_errors(request.headers());
    metadata::set_target(request.extensions_mut(), uri.clone());
    let response = route.call(request).await?;
    let explained = undetailed(response.headers()).and_then(|status| explain(&status, &uri));
    Ok(match explained {
        None => response,
        Some((code, error)) => status::refusal_with(code, &error, &headers),
    })
}

/// The status of a response that the generated code produced: those of ipvsd have details.
fn undetailed(headers: &HeaderMap) -> Option<Status> {
    headers.get(Status::GRPC_STATUS)?;
    Status::from_header_map(headers).filter(|status| status.details().is_empty())
}

/// The code and the error for a status of the generated code. `None`: it is sent as it is.
fn explain(status: &Status, uri: &Uri) -> Option<(Code, Error)> {
    let message = status.message();
    let error = match status.code() {
        Code::Unimplemented if message.is_empty() => status::unknown_method(uri),
        // The request is compressed.
        Code::Unimplemented => {
            let error = Error::new(Reason::UnsupportedMediaType, message)
                .with_hint("send messages without compression");
            return Some((Code::Unimplemented, error));
        }
        Code::OutOfRange => Error::new(Reason::TooLarge, message).with_hint(
            "split the request, for example the servers of a service, or raise \
             limits.max_body_bytes",
        ),
        Code::Internal => {
            let message = format!("the request message cannot be decoded: {message}");
            Error::invalid("", message)
        }
        _ => return None,
    };
    Some((status::code(error.reason), error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    #[test]
    fn errors_of_the_generated_code_are_explained() {
        let uri = Uri::from_static("/a.B/C");
        let explain = |status: Status| {
            let response = status.into_http::<()>();
            undetailed(response.headers()).and_then(|status| explain(&status, &uri))
        };
        let (code, error) = explain(Status::new(Code::Unimplemented, "")).unwrap();
        assert_eq!(code, Code::Unimplemented);
        assert!(error.detail.contains("/a.B/C"), "{error}");
        let (code, error) = explain(Status::unimplemented("gzip")).unwrap();
        assert_eq!((code, error.detail.as_str()), (Code::Unimplemented, "gzip"));
        let (code, error) = explain(Status::out_of_range("too long")).unwrap();
        assert_eq!(code, Code::ResourceExhausted);
        assert_eq!(error.reason, Reason::TooLarge);
        let (code, error) = explain(Status::internal("unexpected EOF")).unwrap();
        assert_eq!(code, Code::InvalidArgument);
        assert!(error.detail.contains("unexpected EOF"), "{error}");
        assert!(explain(Status::not_found("x")).is_none());
        let own = status::status(&Error::new(Reason::Internal, "x"), None);
        assert!(explain(own).is_none());
    }
}

//! Ids from paths and JSON from bodies, as the model's own types.

use std::{pin::pin, str::FromStr};

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::{Api, problem::Problem};
use crate::model::{Error, Object, Reason, ServerKey, ServiceKey, SyncState};

/// The `{service}` of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct InService(pub ServiceKey);

/// The `{service}` and `{server}` of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct InServer(pub ServiceKey, pub ServerKey);

/// The `{state}` of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct InSyncDaemon(pub SyncState);

/// A body of JSON: an object.
#[derive(Debug)]
pub(super) struct Json<T>(pub T);

/// A body of JSON, not yet looked at.
#[derive(Debug)]
pub(super) struct RawJson(pub Bytes);

/// A merge patch (RFC 7396): an object.
#[derive(Debug)]
pub(super) struct Patch<T>(pub T);

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

// === impl InService, InServer, InSyncDaemon ===

async fn path_id<T: FromStr<Err = Error>, S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<T, Problem> {
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|error| Error::invalid(name, error.to_string()))?;
    let text = params.iter().find(|(key, _)| *key == name);
    Ok(text.map_or("", |(_, text)| text).parse()?)
}

impl<S: Send + Sync> FromRequestParts<S> for InService {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(path_id(parts, state, "service").await?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InServer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let service = path_id(parts, state, "service").await?;
        Ok(Self(service, path_id(parts, state, "server").await?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InSyncDaemon {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(path_id(parts, state, "state").await?))
    }
}

// === impl Json, RawJson, Patch ===

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        Ok(Self(parse(&read(request, api, &[JSON]).await?)?))
    }
}

impl FromRequest<Api> for RawJson {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        Ok(Self(read(request, api, &[JSON]).await?))
    }
}

impl<T: DeserializeOwned> FromRequest<Api> for Patch<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let body = read(request, api, &[MERGE_PATCH, JSON]).await;
        let body = body.map_err(|problem| {
            // RFC 5789: a PATCH of an unknown type is told which are known.
            problem.with_header(
                http::HeaderName::from_static("accept-patch"),
                HeaderValue::from_static("application/merge-patch+json, application/json"),
            )
        })?;
        Ok(Self(parse(&body)?))
    }
}

/// Reads a body of JSON, bounded in length and time.
async fn read(request: Request, api: &Api, types: &[&str]) -> Result<Bytes, Problem> {
    let body = read_up_to(request, api, types, api.options.max_body_bytes).await?;
    if body.is_empty() {
        return Err(Error::invalid("", "the body is empty: a JSON object is needed").into());
    }
    Ok(body)
}

/// Reads a body of text, which may be a whole table; a body without a type is taken for it. An empty
/// one must say its type: a call that forgot its body must not clear a table.
pub(super) async fn text(request: Request, api: &Api, types: &[&str]) -> Result<Bytes, Problem> {
    let mut types = types.to_vec();
    let typed = request.headers().contains_key(header::CONTENT_TYPE);
    if !typed {
        types.push("");
    }
    let body = read_up_to(request, api, &types, api.options.max_rules_bytes).await?;
    if body.is_empty() && !typed {
        return Err(
            Error::invalid("", "there is no body: command lines are needed")
                .with_hint("an empty text is one too, if it says so: content-type: text/plain")
                .into(),
        );
    }
    Ok(body)
}

/// Reads a body of one of the media types.
async fn read_up_to(
    request: Request,
    api: &Api,
    types: &[&str],
    limit: usize,
) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    let too_large = || {
        Error::new(
            Reason::TooLarge,
            format!("the body is longer than {limit} bytes"),
        )
    };
    let announced = parts.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large().into());
    }
    let empty = announced == Some(0) || http_body::Body::is_end_stream(&body);
    if !empty {
        check_type(&parts.headers, types)?;
    }

    let mut body = pin!(Limited::new(body, limit).collect());
    // Most bodies came with their heads: nobody waits for them, and they need no clock.
    let read = match body.as_mut().now_or_never() {
        Some(read) => read,
        None => tokio::time::timeout(api.options.request_timeout, body)
            .await
            .map_err(|_| Error::new(Reason::DeadlineExceeded, "the body did not arrive in time"))?,
    };
    let body = read
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_large()
            } else {
                Error::invalid("", format!("the body broke off: {error}"))
            }
        })?
        .to_bytes();
    Ok(body)
}

fn check_type(headers: &HeaderMap, types: &[&str]) -> Result<(), Error> {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = given.as_deref().unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim();
    if types
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
    {
        return Ok(());
    }
    let takes = types.join(" or ");
    let detail = match given {
        Some(given) => format!("the body is {given:?}, but this request takes {takes}"),
        None => format!("the body's type is not said; this request takes {takes}"),
    };
    Err(Error::new(Reason::UnsupportedMediaType, detail)
        .with_hint(format!("send the header Content-Type: {}", types[0])))
}

/// The object that `body` is; an error names the field at fault.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = match error.path().to_string() {
            root if root == "." => String::new(),
            path => path,
        };
        refusal(path, &error.into_inner())
    })?;
    json.end().map_err(|error| refusal(String::new(), &error))?;
    Ok(value)
}

fn refusal(path: String, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    if error.classify() != Category::Data {
        return Error::invalid("", format!("the body is not JSON: {text}"));
    }
    let message = text.split(" at line ").next().unwrap_or(&text);
    let message = message.replace("expected i64", "expected a whole number");
    // The path of an unknown field ends at the object that it is in.
    let named = ["unknown field `", "duplicate field `", "missing field `"];
    let name = named
        .iter()
        .find_map(|start| message.strip_prefix(start)?.split('`').next());
    let field = match name {
        Some(name) if path.is_empty() => name.to_owned(),
        Some(name) if path != name && !path.ends_with(&format!(".{name}")) => {
            format!("{path}.{name}")
        }
        _ => path,
    };
    Error::invalid(field, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceDraft;

    fn field_at_fault(body: &str) -> String {
        let error = parse::<ServiceDraft>(body.as_bytes()).unwrap_err();
        assert_eq!(error.reason, Reason::InvalidArgument);
        assert_eq!(error.violations.len(), 1, "{error:?}");
        error.violations[0].field.clone()
    }

    #[test]
    fn an_error_names_the_field() {
        assert_eq!(field_at_fault(r#"{"port":"80"}"#), "port");
        assert_eq!(field_at_fault(r#"{"prot":"tcp"}"#), "prot");
        assert_eq!(
            field_at_fault(r#"{"persistence":{"timeout_seconds":true}}"#),
            "persistence.timeout_seconds"
        );
        assert_eq!(
            field_at_fault(r#"{"persistence":{"x":true}}"#),
            "persistence.x"
        );
        assert_eq!(
            field_at_fault(r#"{"servers":[{},{"weight":"1"}]}"#),
            "servers[1].weight"
        );
        assert_eq!(
            field_at_fault(r#"{"servers":[{"tunnel":{"kind":"gue"}}]}"#),
            "servers[0].tunnel.kind"
        );
        assert_eq!(field_at_fault(r#"{"port":1,"port":1}"#), "port");
        assert_eq!(field_at_fault(r#"{"netmask":true}"#), "netmask");
    }

    #[test]
    fn objects_are_objects_and_nothing_else() {
        for body in ["[]", "null", "1", "\"x\"", "{", "{} {}", ""] {
            assert_eq!(field_at_fault(body), "", "{body}");
        }
        assert_eq!(field_at_fault(r#"{"persistence":[]}"#), "persistence");
        assert_eq!(field_at_fault(r#"{"servers":[[]]}"#), "servers[0]");
        assert_eq!(
            field_at_fault(r#"{"servers":[{"tunnel":[]}]}"#),
            "servers[0].tunnel"
        );
    }

    #[test]
    fn what_is_allowed_is_said() {
        let error = parse::<ServiceDraft>(br#"{"prot":"tcp"}"#).unwrap_err();
        assert!(error.detail.contains("`protocol`"), "{error}");
        let error = parse::<ServiceDraft>(br#"{"port":"80"}"#).unwrap_err();
        assert!(error.detail.contains("expected a whole number"), "{error}");
        let error = parse::<ServiceDraft>(br#"{"netmask":true}"#).unwrap_err();
        assert!(error.detail.contains("255.255.255.0"), "{error}");
    }
}

//! Request bodies as types of the model.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::{problem::Problem, state::Api};
use crate::{
    app::offload,
    model::{Error, Object, Reason},
};

/// A JSON object.
#[derive(Debug)]
pub(super) struct Json<T>(pub T);

/// A JSON object that may be a whole table.
#[derive(Debug)]
pub(super) struct TableJson<T>(pub T);

/// A JSON body that is not parsed yet.
#[derive(Debug)]
pub(super) struct RawJson(pub Bytes);

/// A merge patch (RFC 7396): a JSON object.
#[derive(Debug)]
pub(super) struct Patch<T>(pub T);

pub(super) const JSON: &str = "application/json";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

// === impl Json, RawJson, Patch ===

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let limit = api.options.max_body_bytes;
        Ok(Self(parse(&read(request, limit, &[JSON]).await?)?))
    }
}

impl<T: DeserializeOwned> FromRequest<Api> for TableJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let limit = api.options.max_rules_bytes;
        let body = read(request, limit, &[JSON]).await?;
        Ok(Self(offload(|| parse(&body))?))
    }
}

impl FromRequest<Api> for RawJson {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let limit = api.options.max_body_bytes;
        Ok(Self(read(request, limit, &[JSON]).await?))
    }
}

impl<T: DeserializeOwned> FromRequest<Api> for Patch<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let body = read(request, api.options.max_body_bytes, &[MERGE_PATCH, JSON]).await;
        Ok(Self(parse(&body.map_err(with_accept_patch)?)?))
    }
}

/// Lists the supported patch formats in the response to an unsupported one (RFC 5789, section 2.2).
pub(super) fn with_accept_patch(problem: Problem) -> Problem {
    problem.with_header(
        http::HeaderName::from_static("accept-patch"),
        HeaderValue::from_static("application/merge-patch+json, application/json"),
    )
}

/// Reads a JSON body of up to `limit` bytes.
async fn read(request: Request, limit: usize, types: &[&str]) -> Result<Bytes, Problem> {
    let body = read_up_to(request, types, limit).await?;
    if body.is_empty() {
        return Err(Error::invalid("", "the body is empty; a JSON object is required").into());
    }
    Ok(body)
}

/// Reads a text body, which may be a whole table. The media type is optional, except for an empty
/// body: a request whose body was forgotten must not clear a table.
pub(super) async fn text(request: Request, api: &Api, types: &[&str]) -> Result<Bytes, Problem> {
    let mut types = types.to_vec();
    let typed = request.headers().contains_key(header::CONTENT_TYPE);
    if !typed {
        types.push("");
    }
    let body = read_up_to(request, &types, api.options.max_rules_bytes).await?;
    if body.is_empty() && !typed {
        return Err(
            Error::invalid("", "the body is empty; command lines are required")
                .with_hint("to send an empty text, set Content-Type: text/plain")
                .into(),
        );
    }
    Ok(body)
}

/// Reads a body of one of the media types, up to `limit` bytes. The daemon's middleware has received
/// it already.
async fn read_up_to(request: Request, types: &[&str], limit: usize) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    let too_large = || {
        Error::new(
            Reason::TooLarge,
            format!("the body exceeds the limit of {limit} bytes"),
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

    let body = Limited::new(body, limit)
        .collect()
        .await
        .map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_large()
            } else {
                Error::invalid("", format!("the body is incomplete: {error}"))
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
    let allowed = types.join(", ");
    let detail = match given {
        Some(given) => format!("media type {given:?} is not supported; supported: {allowed}"),
        None => format!("Content-Type is missing; supported: {allowed}"),
    };
    Err(Error::new(Reason::UnsupportedMediaType, detail)
        .with_hint(format!("set the header Content-Type: {}", types[0])))
}

/// Parses a JSON object. An error names the invalid field.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    // To know the path of each field costs an allocation for each: only an error needs it.
    if let Ok(Object(value)) = serde_json::from_slice(body) {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let Object(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = match error.path().to_string() {
            root if root == "." => String::new(),
            path => path,
        };
        violation(path, &error.into_inner())
    })?;
    json.end()
        .map_err(|error| violation(String::new(), &error))?;
    Ok(value)
}

fn violation(path: String, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    if error.classify() != Category::Data {
        return Error::invalid("", format!("invalid JSON: {text}"));
    }
    let message = text.split(" at line ").next().unwrap_or(&text);
    // The path of an unknown field ends at the containing object.
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

    fn invalid_field(body: &str) -> String {
        let error = parse::<ServiceDraft>(body.as_bytes()).unwrap_err();
        assert_eq!(error.reason, Reason::InvalidArgument);
        assert_eq!(error.violations.len(), 1, "{error:?}");
        error.violations[0].field.clone()
    }

    #[test]
    fn an_error_names_the_field() {
        assert_eq!(invalid_field(r#"{"port":"80"}"#), "port");
        assert_eq!(invalid_field(r#"{"prot":"tcp"}"#), "prot");
        assert_eq!(
            invalid_field(r#"{"persistence":{"timeout_seconds":true}}"#),
            "persistence.timeout_seconds"
        );
        assert_eq!(
            invalid_field(r#"{"persistence":{"x":true}}"#),
            "persistence.x"
        );
        assert_eq!(
            invalid_field(r#"{"servers":[{},{"weight":"1"}]}"#),
            "servers[1].weight"
        );
        assert_eq!(
            invalid_field(r#"{"servers":[{"tunnel":{"kind":"gue"}}]}"#),
            "servers[0].tunnel.kind"
        );
        assert_eq!(invalid_field(r#"{"port":1,"port":1}"#), "port");
        assert_eq!(invalid_field(r#"{"netmask":true}"#), "netmask");
    }

    #[test]
    fn only_objects_are_accepted_as_objects() {
        for body in ["[]", "null", "1", "\"x\"", "{", "{} {}", ""] {
            assert_eq!(invalid_field(body), "", "{body}");
        }
        assert_eq!(invalid_field(r#"{"persistence":[]}"#), "persistence");
        assert_eq!(invalid_field(r#"{"servers":[[]]}"#), "servers[0]");
        assert_eq!(
            invalid_field(r#"{"servers":[{"tunnel":[]}]}"#),
            "servers[0].tunnel"
        );
    }

    #[test]
    fn an_error_lists_the_allowed_values() {
        let error = parse::<ServiceDraft>(br#"{"prot":"tcp"}"#).unwrap_err();
        assert!(error.detail.contains("`protocol`"), "{error}");
        let error = parse::<ServiceDraft>(br#"{"port":"80"}"#).unwrap_err();
        assert!(error.detail.contains("expected an integer"), "{error}");
        let error = parse::<ServiceDraft>(br#"{"netmask":true}"#).unwrap_err();
        assert!(error.detail.contains("255.255.255.0"), "{error}");
    }
}

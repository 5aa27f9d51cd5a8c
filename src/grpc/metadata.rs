//! Builds the request context of a gRPC request from its metadata, extensions and message.

use std::time::Duration;

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Uri, header};
use tonic::Streaming;

use crate::{
    app::{CompleteRequest, RequestContext, RequestId, Resumed},
    identity::{self, Peer, Protocol},
    model::Error,
    proto::{SERVICE, v1 as pb},
};

/// Header with the id of a request. The server adds it to requests that lack it.
const REQUEST_ID: &str = "x-request-id";

/// Header with the client's timeout, as specified by the gRPC protocol over HTTP/2.
const TIMEOUT: &str = "grpc-timeout";

/// The URI of the request.
#[derive(Clone, Debug)]
struct Target(Uri);

/// Fields of a request message that belong to the request context.
pub(super) trait ContextFields {
    /// Whether the method writes, with or without `dry_run`.
    const IS_WRITE: bool;

    /// `max_age` of a read.
    fn max_age(&self) -> Option<prost_types::Duration> {
        None
    }

    /// `dry_run` of a write.
    fn dry_run(&self) -> bool {
        false
    }
}

/// Whether the method with this path writes. `None`: it is no method of ipvsd. Its request message is
/// named after it; the messages say which of them write.
pub fn is_write(path: &str) -> Option<bool> {
    let method = path.strip_prefix('/')?.strip_prefix(SERVICE)?;
    let method = method.strip_prefix('/')?;
    let is_of = |message: &&str| message.strip_suffix("Request") == Some(method);
    Some(WRITES.iter().chain(&[APPLY]).any(is_of))
}

/// The context of a request without the fields of its message. The deadline is the shorter of the
/// client's timeout and `max_timeout`.
pub(super) fn context(
    headers: &HeaderMap,
    extensions: &Extensions,
    max_timeout: Duration,
) -> RequestContext {
    // `check_timeout` has refused malformed ones.
    let requested = headers.get(TIMEOUT).and_then(|text| text.to_str().ok());
    let requested = requested.and_then(timeout).unwrap_or(max_timeout);
    let id = extensions.get::<RequestId>().cloned();
    let id = id.unwrap_or_else(|| RequestId::new(request_id(headers).unwrap_or("-")));
    let peer = extensions.get::<ConnectInfo<Peer>>();
    let complete = extensions.get::<CompleteRequest>().cloned();
    let session = extensions.get().cloned();
    RequestContext {
        peer: peer.map(|ConnectInfo(peer)| *peer),
        protocol: Protocol::Grpc,
        span: extensions.get().cloned().unwrap_or_default(),
        resumed: extensions.get::<Resumed>().is_some(),
        ..RequestContext::of(complete, session, id, requested.min(max_timeout))
    }
}

/// Applies the fields of a message to the context of its request.
pub(super) fn with_fields(
    context: RequestContext,
    message: &impl ContextFields,
) -> Result<RequestContext, Error> {
    let max_age = message.max_age().map(max_age).transpose()?;
    Ok(context
        .with_max_age(max_age.unwrap_or_default())
        .with_dry_run(message.dry_run()))
}

/// The id of a request.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(REQUEST_ID)?.to_str().ok()
}

/// The headers of a request that the response to an error depends on.
pub(super) fn of_errors(headers: &HeaderMap) -> HeaderMap {
    let names = [HeaderName::from_static(REQUEST_ID), header::CONTENT_TYPE];
    let present = names
        .into_iter()
        .filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    present.collect()
}

/// Keeps the target of the request for [`require_own_site`]: a handler sees only the extensions.
pub(super) fn set_target(extensions: &mut Extensions, target: Uri) {
    extensions.insert(Target(target));
}

/// Refuses a write that a browser sends for a page of another site.
pub(super) fn require_own_site(headers: &HeaderMap, extensions: &Extensions) -> Result<(), Error> {
    let target = extensions.get::<Target>();
    let target = target.map_or_else(Uri::default, |Target(uri)| uri.clone());
    identity::require_own_site(&target, headers, extensions)
}

/// Refuses a malformed `grpc-timeout`: without it, the client would wait for a deadline that the
/// server does not know.
pub(super) fn check_timeout(headers: &HeaderMap) -> Result<(), Error> {
    let parse = |value: &HeaderValue| timeout(value.to_str().ok()?);
    match headers
        .get_all(TIMEOUT)
        .iter()
        .all(|value| parse(value).is_some())
    {
        true => Ok(()),
        false => Err(Error::invalid(
            TIMEOUT,
            "must be 1 to 8 digits and a unit: H, M, S, m, u or n",
        )),
    }
}

/// Parses a `grpc-timeout`: at most 8 digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

fn max_age(age: prost_types::Duration) -> Result<Duration, Error> {
    // Reject negative parts first: the conversion negates them, which overflows for i64::MIN.
    (age.seconds >= 0 && age.nanos >= 0)
        .then(|| Duration::try_from(age).ok())
        .flatten()
        .ok_or_else(|| Error::invalid("max_age", "must not be negative"))
}

// === impl ContextFields ===

macro_rules! reads {
    ($($request:ident)*) => {
        $(impl ContextFields for pb::$request {
            const IS_WRITE: bool = false;

            fn max_age(&self) -> Option<prost_types::Duration> {
                self.max_age
            }
        })*
    };
}

macro_rules! writes {
    ($($request:ident)*) => {
        /// The request messages of all methods that write.
        const WRITES: &[&str] = &[$(stringify!($request)),*];

        $(impl ContextFields for pb::$request {
            const IS_WRITE: bool = true;

            fn dry_run(&self) -> bool {
                self.dry_run
            }
        })*
    };
}

reads! {
    ListServicesRequest GetServiceRequest
    ListServersRequest GetServerRequest
    ListSyncDaemonsRequest GetTimeoutsRequest
    GetSettingsRequest GetStatsRequest GetInfoRequest
}

macro_rules! reads_without_age {
    ($($request:ident)*) => {
        $(impl ContextFields for pb::$request {
            const IS_WRITE: bool = false;
        })*
    };
}

reads_without_age! {
    GetListingRequest SaveRulesRequest ListConnectionsRequest CountConnectionsRequest
    GetPrincipalRequest CheckPermissionRequest WatchRequest
    StreamStatsRequest GetStatsHistoryRequest
    ListTablesRequest GetTableRequest GetDriftRequest ListTableOperationsRequest
    ListAuditRecordsRequest
    GetDrainRequest ListDrainsRequest GetRampRequest ListRampsRequest
    ListHealthRequest GetHealthRequest
}

writes! {
    CreateServiceRequest UpdateServiceRequest ReplaceServiceRequest DeleteServiceRequest
    ClearServicesRequest
    CreateServerRequest CreateServersRequest UpdateServerRequest ReplaceServerRequest
    DeleteServerRequest
    ZeroCountersRequest RestoreRulesRequest
    SetTimeoutsRequest UpdateSettingsRequest
    StartSyncDaemonRequest StopSyncDaemonRequest
    UpdateTableRequest DeleteTableRequest ApplyBatchRequest
    CreateDrainRequest DeleteDrainRequest CreateRampRequest DeleteRampRequest
    SetHealthOverrideRequest DeleteHealthOverrideRequest ReportHealthRequest
}

// The first message of the stream has the fields; the handler applies them.
impl ContextFields for Streaming<pb::RestoreRulesRequest> {
    const IS_WRITE: bool = true;
}

/// The messages of a stream that writes. Its options are a message of their own.
const APPLY: &str = "ApplyTableRequest";

impl ContextFields for pb::ApplyTableOptions {
    const IS_WRITE: bool = true;

    fn dry_run(&self) -> bool {
        self.dry_run
    }
}

// The handler applies the options.
impl ContextFields for Streaming<pb::ApplyTableRequest> {
    const IS_WRITE: bool = true;
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn empty_context() -> RequestContext {
        RequestContext::new(RequestId::new("-"), Duration::from_secs(1))
    }

    #[test]
    fn timeouts_have_the_format_of_the_protocol() {
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(timeout("3M"), Some(Duration::from_secs(180)));
        assert_eq!(timeout("4S"), Some(Duration::from_secs(4)));
        assert_eq!(timeout("82m"), Some(Duration::from_millis(82)));
        assert_eq!(
            timeout("99999999u"),
            Some(Duration::from_micros(99_999_999))
        );
        assert_eq!(timeout("5n"), Some(Duration::from_nanos(5)));
        for wrong in ["", "S", "1", "1s", "-1S", "+1S", "123456789S", "1.5S", "1é"] {
            assert_eq!(timeout(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_shorter_deadline_applies() {
        let mut headers = HeaderMap::new();
        let remaining = |headers: &HeaderMap| {
            context(headers, &Extensions::new(), Duration::from_secs(10)).deadline - Instant::now()
        };
        assert!(remaining(&headers) > Duration::from_secs(9));
        headers.insert(TIMEOUT, "1S".parse().unwrap());
        assert!(remaining(&headers) <= Duration::from_secs(1));
        headers.insert(TIMEOUT, "1H".parse().unwrap());
        assert!(remaining(&headers) <= Duration::from_secs(10));
    }

    #[test]
    fn negative_max_ages_are_rejected() {
        for seconds in [i64::MIN, -1, 0, 1, i64::MAX] {
            for nanos in [i32::MIN, -1, 0, 999_999_999, i32::MAX] {
                let request = pb::GetInfoRequest {
                    max_age: Some(prost_types::Duration { seconds, nanos }),
                };
                let context = with_fields(empty_context(), &request);
                assert_eq!(context.is_ok(), seconds >= 0 && nanos >= 0);
            }
        }
    }

    #[test]
    fn fields_of_the_message_are_in_the_context() {
        let read = pb::GetInfoRequest {
            max_age: Some(prost_types::Duration {
                seconds: 5,
                nanos: 1,
            }),
        };
        let context = with_fields(empty_context(), &read).unwrap();
        assert_eq!(context.max_age, Duration::new(5, 1));
        assert!(!context.dry_run);
        for dry_run in [false, true] {
            let write = pb::ZeroCountersRequest {
                dry_run,
                ..pb::ZeroCountersRequest::default()
            };
            let context = with_fields(empty_context(), &write).unwrap();
            assert_eq!(context.dry_run, dry_run);
            assert_eq!(context.max_age, Duration::ZERO);
        }
    }
}

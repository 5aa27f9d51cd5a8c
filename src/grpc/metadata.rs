//! Builds the request context of a gRPC request from its metadata and extensions.

use std::time::Duration;

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};

use crate::{
    app::{RequestContext, RequestId},
    identity::Peer,
};

/// Carries a request's id; the server's rim sees to it that there is one.
const REQUEST_ID: &str = "x-request-id";

/// How long the client waits, as gRPC's wire protocol has it.
const TIMEOUT: &str = "grpc-timeout";

/// The context of a request, which may take as long as the client waits but no longer than
/// `longest`.
pub(super) fn context(
    headers: &HeaderMap,
    extensions: &Extensions,
    longest: Duration,
) -> RequestContext {
    // Like other implementations, ignore a timeout that is not well formed.
    let asked = headers.get(TIMEOUT).and_then(|text| text.to_str().ok());
    let asked = asked.and_then(timeout).unwrap_or(longest);
    let id = extensions.get::<RequestId>().cloned();
    let id = id.unwrap_or_else(|| RequestId::new(request_id(headers).unwrap_or("-")));
    let peer = extensions.get::<ConnectInfo<Peer>>();
    RequestContext {
        peer: peer.map(|ConnectInfo(peer)| *peer),
        ..RequestContext::new(id, asked.min(longest))
    }
}

/// The request's id.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(REQUEST_ID)?.to_str().ok()
}

/// At most 8 digits and a unit.
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
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
    fn the_shorter_of_both_deadlines_holds() {
        let mut headers = HeaderMap::new();
        let left = |headers: &HeaderMap| {
            context(headers, &Extensions::new(), Duration::from_secs(10)).deadline - Instant::now()
        };
        assert!(left(&headers) > Duration::from_secs(9));
        headers.insert(TIMEOUT, "1S".parse().unwrap());
        assert!(left(&headers) <= Duration::from_secs(1));
        headers.insert(TIMEOUT, "1H".parse().unwrap());
        assert!(left(&headers) <= Duration::from_secs(10));
    }
}

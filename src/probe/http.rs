//! Requests of checks over HTTP/1.1.

use std::{net::SocketAddr, pin::pin};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
};

use super::{authority::authority, bounded::bounded, reason::no_response};
use crate::{
    health::Failure,
    model::{CheckMethod, CheckType, HealthCheck},
};

/// The most that is read of a body.
const MAX_BODY: usize = 64 << 10;
/// The longest head of a response.
const MAX_HEAD: usize = 64 << 10;

/// Sends the request of a check, and verifies the response.
pub(super) async fn request(
    check: &HealthCheck,
    address: SocketAddr,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(), Failure> {
    let request = build(check, address)?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let connected = builder.handshake(TokioIo::new(bounded(stream))).await;
    let (mut sender, connection) = connected.map_err(no_response)?;
    let mut exchange = pin!(async move {
        let response = sender.send_request(request).await.map_err(no_response)?;
        verify(check, response).await
    });
    select! {
        biased;
        verified = &mut exchange => verified,
        // It has ended after the response, or with an error that the exchange reports.
        _ = connection => exchange.await,
    }
}

fn build(check: &HealthCheck, address: SocketAddr) -> Result<Request<Empty<Bytes>>, Failure> {
    let method = check.method.unwrap_or(CheckMethod::Get);
    let usual = match check.kind {
        CheckType::Https => 443,
        _ => 80,
    };
    let host = authority(check, address, usual);
    Request::builder()
        .method(method.as_str())
        .uri(check.path.as_deref().unwrap_or("/"))
        .header(header::HOST, host)
        .header(
            header::USER_AGENT,
            concat!("ipvsd/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| Failure::Unchecked(format!("the request cannot be sent: {error}")))
}

async fn verify(check: &HealthCheck, response: Response<Incoming>) -> Result<(), Failure> {
    let status = response.status().as_u16();
    if let Some(expected) = check.expect_status.as_ref()
        && !expected.contains(status)
    {
        return Err(Failure::Wrong(format!("status {status}, not {expected}")));
    }
    match &check.expect_body {
        Some(text) => find(text.as_bytes(), response.into_body()).await,
        None => Ok(()),
    }
}

/// Looks for a text in a body.
async fn find(text: &[u8], mut body: Incoming) -> Result<(), Failure> {
    let mut read: Vec<u8> = Vec::new();
    while read.len() < MAX_BODY
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(no_response)?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        // What may be the begin of the text.
        let from = read.len().saturating_sub(text.len());
        let rest = MAX_BODY - read.len();
        read.extend_from_slice(data.get(..rest).unwrap_or(data));
        let mut places = read.get(from..).unwrap_or_default().windows(text.len());
        if places.any(|place| place == text) {
            return Ok(());
        }
    }
    let length = read.len();
    Err(Failure::Wrong(format!(
        "status as expected, but {length} bytes of the body do not contain the expected text"
    )))
}

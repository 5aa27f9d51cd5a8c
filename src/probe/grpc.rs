//! Requests of checks to `grpc.health.v1`.

use std::{
    error::Error,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderValue, Uri, header, uri::Scheme};
use hyper::{client::conn::http2, rt::Executor};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    select,
    task::JoinSet,
};
use tonic::{Code, Request, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{
    authority::authority,
    bounded::bounded,
    reason::{chain, no_response, shown},
};
use crate::{health::Failure, model::HealthCheck};

/// The longest message of a response in bytes.
const MAX_MESSAGE: usize = 1 << 10;
/// The longest head of a response in bytes.
const MAX_HEAD: u32 = 16 << 10;
/// The most that a server may send before it is read, in bytes.
const WINDOW: u32 = (64 << 10) - 1;
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("ipvsd/", env!("CARGO_PKG_VERSION")));

/// The tasks of a connection, which end with it.
#[derive(Clone, Debug, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

/// Asks a server whether it, or one of its services, is serving.
pub(super) async fn request(
    check: &HealthCheck,
    address: SocketAddr,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(), Failure> {
    let origin = origin(check, address)?;
    let tasks = Tasks::default();
    let mut builder = http2::Builder::new(tasks.clone());
    builder
        .max_header_list_size(MAX_HEAD)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let connected = builder.handshake(TokioIo::new(bounded(stream))).await;
    let (mut sender, connection) = connected.map_err(no_response)?;
    let service = tower::service_fn(move |mut request: http::Request<tonic::body::Body>| {
        request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
        sender.send_request(request)
    });
    let mut client =
        HealthClient::with_origin(service, origin).max_decoding_message_size(MAX_MESSAGE);
    let service = check.grpc_service.clone().unwrap_or_default();
    let mut request = Request::new(HealthCheckRequest { service });
    request.set_timeout(Duration::from_secs(check.timeout_seconds.into()));
    let mut exchange = pin!(async move {
        let response = client.check(request).await.map_err(refused)?;
        verify(response.into_inner().status)
    });
    select! {
        biased;
        verified = &mut exchange => verified,
        // It has ended after the response, or with an error that the exchange reports.
        _ = connection => exchange.await,
    }
}

/// Scheme and authority of the request.
fn origin(check: &HealthCheck, address: SocketAddr) -> Result<Uri, Failure> {
    let (scheme, usual) = match check.tls {
        Some(true) => (Scheme::HTTPS, 443),
        _ => (Scheme::HTTP, 80),
    };
    Uri::builder()
        .scheme(scheme)
        .authority(authority(check, address, usual))
        .path_and_query("/")
        .build()
        .map_err(|error| Failure::Unchecked(format!("the request cannot be sent: host: {error}")))
}

fn verify(status: i32) -> Result<(), Failure> {
    match ServingStatus::try_from(status) {
        Ok(ServingStatus::Serving) => Ok(()),
        Ok(other) => Err(Failure::Wrong(format!(
            "{}, not SERVING",
            other.as_str_name()
        ))),
        Err(_) => Err(Failure::Wrong(format!("status {status}, not SERVING"))),
    }
}

/// The failure for a status of gRPC other than OK.
fn refused(status: Status) -> Failure {
    if let Some(error) = status.source() {
        return Failure::Wrong(format!("no complete response: {}", chain(error)));
    }
    let message = shown(status.message());
    let code = name(status.code());
    let hint = match status.code() {
        Code::NotFound => " (the server does not know grpc_service)",
        Code::Unimplemented => " (the server does not have grpc.health.v1)",
        _ => "",
    };
    Failure::Wrong(match message.is_empty() {
        true => format!("status {code}{hint}"),
        false => format!("status {code}{hint}: {message}"),
    })
}

/// The name of a code in the specification.
fn name(code: Code) -> String {
    let mut name = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

// === impl Tasks ===

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(async move { drop(future.await) });
    }
}

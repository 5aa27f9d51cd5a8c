//! The clients of a collector. Both run on the daemon's runtime, and use its TLS.

use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, hyper::HyperClient};
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tonic::transport::{self, Channel};

use super::endpoint::Endpoint;

/// Time that a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for OTLP over HTTP. The thread of the SDK, which calls it, is not one of the runtime: the request is a task
/// of the runtime, and the thread waits for it.
#[derive(Debug)]
pub(super) struct Client<C: Connect + Clone + Send + Sync + 'static> {
    inner: HyperClient<C>,
    runtime: Handle,
}

/// A channel for OTLP over gRPC, which connects when it is used. Requires a runtime.
pub(super) fn channel(endpoint: &Endpoint) -> Result<Channel, transport::Error> {
    let configured = transport::Endpoint::from_shared(endpoint.url.clone())?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(endpoint.timeout);
    Ok(match endpoint.tls.clone() {
        None => configured.connect_lazy(),
        Some(tls) => {
            let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
            let connector = builder.https_only().enable_http2();
            configured.connect_with_connector_lazy(connector.wrap_connector(connector_of_tcp()))
        }
    })
}

fn connector_of_tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector
}

// === impl Client ===

impl Client<HttpConnector> {
    pub(super) fn plain(timeout: Duration, runtime: Handle) -> Self {
        let inner = HyperClient::new(connector_of_tcp(), timeout, None);
        Self { inner, runtime }
    }
}

impl Client<HttpsConnector<HttpConnector>> {
    pub(super) fn encrypted(tls: ClientConfig, timeout: Duration, runtime: Handle) -> Self {
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
        let connector = builder.https_only().enable_http1();
        let connector = connector.wrap_connector(connector_of_tcp());
        let inner = HyperClient::new(connector, timeout, None);
        Self { inner, runtime }
    }
}

impl<C: Connect + Clone + std::fmt::Debug + Send + Sync + 'static> HttpClient for Client<C> {
    // As `async_trait` writes it.
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> std::pin::Pin<
        Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>,
    >
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let client = self.inner.clone();
        let sent = async move { client.send_bytes(request).await };
        let task = self.runtime.spawn(sent);
        Box::pin(async move { task.await? })
    }
}

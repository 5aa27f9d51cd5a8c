//! A collector of traces: the service of the protocol, over gRPC and HTTP, on a free port.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, body::Bytes, routing::post, serve::Listener};
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{Span, status::StatusCode as SpanStatus},
};
use prost::Message;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ServerConfig,
    crypto::ring::default_provider,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::{Request, Response, Status, service::Routes};

use super::harness::in_time;

/// A running collector.
pub struct Receiver {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    received: mpsc::UnboundedReceiver<Received>,
    seen: Vec<Received>,
    /// Each permit lets one request of a slow collector end.
    pub release: Arc<Semaphore>,
}

/// A span, with what it came with.
#[derive(Clone, Debug)]
pub struct Received {
    pub span: Span,
    pub resource: Resource,
    pub headers: HeaderMap,
}

/// A listener behind TLS.
struct Encrypted(TcpListener, TlsAcceptor);

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[derive(Clone)]
struct Sink {
    spans: mpsc::UnboundedSender<Received>,
    gate: Arc<Semaphore>,
    is_slow: bool,
}

impl Receiver {
    pub async fn start() -> Self {
        Self::start_as(false, None).await
    }

    /// One behind TLS, for the name `localhost`, and its certificate (PEM).
    pub async fn encrypted() -> (Self, String) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from_pem_slice(signing_key.serialize_pem().as_bytes());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.unwrap());
        let mut config = config.unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (Self::start_as(false, Some(acceptor)).await, cert.pem())
    }

    /// One that answers when the test lets it.
    pub async fn slow() -> Self {
        Self::start_as(true, None).await
    }

    async fn start_as(is_slow: bool, tls: Option<TlsAcceptor>) -> Self {
        let (spans, received) = mpsc::unbounded_channel();
        let release = Arc::new(Semaphore::new(0));
        let sink = Sink {
            spans,
            gate: release.clone(),
            is_slow,
        };
        let http = {
            let sink = sink.clone();
            let take = move |headers: HeaderMap, body: Bytes| {
                let sink = sink.clone();
                async move {
                    assert_eq!(headers["content-type"], "application/x-protobuf");
                    let request = ExportTraceServiceRequest::decode(body).unwrap();
                    sink.take(headers, request).await;
                    (
                        StatusCode::OK,
                        ExportTraceServiceResponse::default().encode_to_vec(),
                    )
                }
            };
            Router::new().route("/v1/traces", post(take))
        };
        let grpc = Routes::new(TraceServiceServer::new(sink)).into_axum_router();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = grpc.merge(http);
        let url = match tls {
            None => {
                tokio::spawn(async move { axum::serve(listener, routes).await });
                format!("http://127.0.0.1:{port}")
            }
            Some(tls) => {
                tokio::spawn(async move { axum::serve(Encrypted(listener, tls), routes).await });
                format!("https://localhost:{port}")
            }
        };
        Self {
            url,
            received,
            seen: Vec::new(),
            release,
        }
    }

    /// Waits for a span with this name.
    pub async fn span(&mut self, name: &str) -> Received {
        self.find(name, |_| true).await
    }

    /// Waits for a span with this name that `matches`.
    pub async fn find(&mut self, name: &str, matches: impl Fn(&Span) -> bool) -> Received {
        let is_wanted = |received: &Received| received.span.name == name && matches(&received.span);
        loop {
            if let Some(found) = self.seen.iter().find(|received| is_wanted(received)) {
                return found.clone();
            }
            self.next().await;
        }
    }

    /// Waits for one more span.
    pub async fn next(&mut self) {
        let next = in_time(self.received.recv()).await;
        self.seen.push(next.unwrap());
    }

    /// All spans that were received.
    pub fn all(&mut self) -> Vec<Received> {
        while let Ok(next) = self.received.try_recv() {
            self.seen.push(next);
        }
        self.seen.clone()
    }
}

impl Sink {
    async fn take(&self, headers: HeaderMap, request: ExportTraceServiceRequest) {
        if self.is_slow {
            self.gate.acquire().await.unwrap().forget();
        }
        for group in request.resource_spans {
            let resource = group.resource.unwrap();
            for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                // The test may have ended.
                let _ = self.spans.send(Received {
                    span,
                    resource: resource.clone(),
                    headers: headers.clone(),
                });
            }
        }
    }
}

#[tonic::async_trait]
impl TraceService for Sink {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.take(metadata.into_headers(), request).await;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Received {
    /// The text of an attribute of the span.
    pub fn attribute(&self, name: &str) -> Option<String> {
        text(&self.span.attributes, name)
    }

    /// The text of an attribute of the resource.
    pub fn of_resource(&self, name: &str) -> Option<String> {
        text(&self.resource.attributes, name)
    }

    pub fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// Empty if it has none.
    pub fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    pub fn is_failed(&self) -> bool {
        let status = self.span.status.as_ref();
        status.is_some_and(|status| status.code == SpanStatus::Error as i32)
    }

    /// Whether it is within the time of another.
    pub fn is_within(&self, other: &Self) -> bool {
        let (own, other) = (&self.span, &other.span);
        own.start_time_unix_nano >= other.start_time_unix_nano
            && own.end_time_unix_nano <= other.end_time_unix_nano
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(truth) => truth.to_string(),
        other => panic!("{name} is {other:?}"),
    })
}

//! An HTTP front end in this process, and a client of it.

use std::sync::Arc;

use axum::Extension;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use ipvsd::{
    app::{App, AppOptions},
    executor::{Executor, ExecutorLimits},
    http::{HttpOptions, not_found, router},
    identity::Session,
    kernel::{FakeKernel, Kernel},
    server::Limits,
};
use serde_json::Value;
use tokio::net::TcpListener;

/// A front end on the fake kernel, with a listener.
pub struct Daemon {
    pub kernel: FakeKernel,
    pub address: std::net::SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// A complete response.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Daemon {
    pub async fn start() -> Self {
        Self::with(Limits::default().http_options()).await
    }

    pub async fn with(options: HttpOptions) -> Self {
        let kernel = FakeKernel::new();
        Self::over(kernel.clone(), Arc::new(kernel), options).await
    }

    /// A front end that reads at most about this many servers before it sends a list.
    pub async fn with_listed_servers(listed_servers: usize) -> Self {
        let kernel = FakeKernel::new();
        let app = AppOptions {
            listed_servers,
            ..AppOptions::default()
        };
        let options = Limits::default().http_options();
        Self::with_app(kernel.clone(), Arc::new(kernel), options, app).await
    }

    /// A front end on `kernel`, which wraps `fake`.
    pub async fn over(fake: FakeKernel, kernel: Arc<dyn Kernel>, options: HttpOptions) -> Self {
        Self::with_app(fake, kernel, options, AppOptions::default()).await
    }

    async fn with_app(
        fake: FakeKernel,
        kernel: Arc<dyn Kernel>,
        options: HttpOptions,
        app: AppOptions,
    ) -> Self {
        let executor = Executor::start(kernel, ExecutorLimits::default()).unwrap();
        let app = App::new(
            executor,
            AppOptions {
                kernel: "fake".to_owned(),
                ..app
            },
        );
        let router = router(app, options).layer(Extension(Session::system()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            axum::serve(listener, router.fallback(not_found))
                .await
                .unwrap()
        });
        Self {
            kernel: fake,
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Sends a request. The default media type of a write is JSON.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(format!("http://{}{path}", self.address));
        let is_read = method == Method::GET || method == Method::HEAD;
        if !is_read && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(body.to_owned()));
        let response = self
            .client
            .request(request.body(body).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        Response {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path, &[], "").await
    }

    pub async fn get_with_headers(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.request(Method::GET, path, headers, "").await
    }

    pub async fn post(&self, path: &str, body: &str) -> Response {
        self.request(Method::POST, path, &[], body).await
    }

    pub async fn put(&self, path: &str, body: &str) -> Response {
        self.request(Method::PUT, path, &[], body).await
    }

    pub async fn patch(&self, path: &str, body: &str) -> Response {
        self.request(Method::PATCH, path, &[], body).await
    }

    pub async fn delete(&self, path: &str) -> Response {
        self.request(Method::DELETE, path, &[], "").await
    }

    /// A front end with the service tcp-192.0.2.1-80 and two servers.
    pub async fn with_service() -> Self {
        let daemon = Self::start().await;
        daemon
            .post(
                "/v1/services",
                r#"{"id":"tcp-192.0.2.1-80","scheduler":"rr","servers":[
                    {"address":"10.0.0.1","forwarding":"masquerade"},
                    {"address":"10.0.0.2","forwarding":"masquerade","weight":0}]}"#,
            )
            .await
            .expect(201);
        daemon
    }
}

impl Response {
    /// Checks the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that the response is a problem with this reason, and returns the body.
    #[track_caller]
    pub fn problem(&self, status: u16, reason: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["reason"], reason, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["type"], format!("/errors/{reason}"));
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        problem
    }

    /// Checks that the response is INVALID_ARGUMENT with this field first, and returns its message.
    #[track_caller]
    pub fn invalid_field(&self, field: &str) -> String {
        let problem = self.problem(400, "INVALID_ARGUMENT");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        problem["errors"][0]["message"].as_str().unwrap().to_owned()
    }
}

/// Options with this limit of the body size.
pub fn options_with_body(max_body_bytes: usize) -> HttpOptions {
    let limits = Limits {
        max_body_bytes,
        ..Limits::default()
    };
    limits.http_options()
}

//! A client for HTTP.

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

use super::{
    api::{Refusal, Request},
    daemon::{ADDRESS, Daemon},
};

/// The daemon and a client.
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    daemon: Option<Daemon>,
}

impl Http {
    /// Starts the daemon in this thread's namespace.
    pub async fn start() -> Self {
        Self::to(Some(Daemon::start(&[])))
    }

    /// A client of a running daemon in this thread's namespace.
    pub fn to(daemon: Option<Daemon>) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            daemon,
        }
    }

    /// Ends the daemon as a service manager does.
    pub fn stop(self) {
        drop(self.client);
        self.daemon.expect("no daemon of its own").stop();
    }

    /// Status and body of a response.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let mut request = http::Request::builder()
            .method(method.clone())
            .uri(format!("http://{ADDRESS}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if method != Method::GET && headers.iter().all(|(name, _)| *name != "content-type") {
            request = request.header("content-type", "application/json");
        }
        let body = match body {
            None => Bytes::new(),
            // As it is, for other media types than JSON.
            Some(Value::String(text)) => text.clone().into(),
            Some(body) => body.to_string().into(),
        };
        let answer = self
            .client
            .request(request.body(Full::new(body)).unwrap())
            .await
            .unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let value = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into()),
        };
        (status, value)
    }

    /// Reads a path.
    pub async fn get(&self, path: &str) -> Result<Value, Refusal> {
        answered(self.send(Method::GET, path, &[], None).await)
    }

    /// Reads all pages of a list.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, Refusal> {
        let name = path.split('?').next().unwrap_or_default();
        let name = name
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .replace('-', "_");
        let mut all = Vec::new();
        let mut next = path.to_owned();
        loop {
            let mut page = self.get(&next).await?;
            match page[&name].take() {
                Value::Array(items) => all.extend(items),
                other => panic!("{next}: {name} is {other}"),
            }
            match page["next_page_token"].as_str() {
                Some(token) if !token.is_empty() => {
                    let and = if path.contains('?') { '&' } else { '?' };
                    next = format!("{path}{and}page_token={token}");
                }
                _ => return Ok(all),
            }
        }
    }

    /// Sends a write.
    pub async fn write(&self, request: &Request) -> Result<Value, Refusal> {
        let service = |id: &str| format!("/v1/services/{id}");
        let server = |id: &str, server: &str| format!("/v1/services/{id}/servers/{server}");
        let (method, path, body) = match request {
            Request::GetService(id) => (Method::GET, service(id), None),
            Request::CreateService(body) => (Method::POST, "/v1/services".to_owned(), Some(body)),
            Request::ReplaceService(id, body) => (Method::PUT, service(id), Some(body)),
            Request::UpdateService(id, body) => (Method::PATCH, service(id), Some(body)),
            Request::DeleteService(id) => (Method::DELETE, service(id), None),
            Request::Clear => {
                let count = self.list("/v1/services?include=none").await?.len();
                (
                    Method::DELETE,
                    format!("/v1/services?confirm={count}"),
                    None,
                )
            }
            Request::CreateServer(id, body) => (Method::POST, service(id) + "/servers", Some(body)),
            Request::ReplaceServer(id, of, body) => (Method::PUT, server(id, of), Some(body)),
            Request::UpdateServer(id, of, body) => (Method::PATCH, server(id, of), Some(body)),
            Request::DeleteServer(id, of) => (Method::DELETE, server(id, of), None),
            Request::Zero(None) => (Method::POST, "/v1/zero".to_owned(), None),
            Request::Zero(Some(id)) => (Method::POST, service(id) + "/zero", None),
            Request::SetTimeouts(body) => (Method::PATCH, "/v1/timeouts".to_owned(), Some(body)),
            Request::StartSyncDaemon(state, body) => {
                let path = format!("/v1/sync-daemons/{state}");
                // PUT declares a state; this rejects a running daemon.
                let absent = [("if-none-match", "*")];
                return answered(self.send(Method::PUT, &path, &absent, Some(body)).await);
            }
            Request::StopSyncDaemon(state) => {
                (Method::DELETE, format!("/v1/sync-daemons/{state}"), None)
            }
            Request::UpdateSettings(body) => (Method::PATCH, "/v1/settings".to_owned(), Some(body)),
        };
        let headers: &[_] = match method {
            Method::PATCH => &[("content-type", "application/merge-patch+json")],
            _ => &[],
        };
        answered(self.send(method, &path, headers, body).await)
    }
}

fn answered((status, body): (StatusCode, Value)) -> Result<Value, Refusal> {
    if status.is_success() {
        return Ok(body);
    }
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let fields = body["errors"].as_array().cloned().unwrap_or_default();
    assert_eq!(body["status"], status.as_u16(), "{status} {body}");
    Err(Refusal {
        reason: text("reason").unwrap_or_else(|| panic!("{status} {body}")),
        errno: text("errno"),
        fields: fields
            .iter()
            .filter_map(|error| error["field"].as_str().map(str::to_owned))
            .collect(),
        detail: text("detail").unwrap_or_default(),
        hint: text("hint"),
    })
}

//! An HTTP client on one kept connection, which reads bodies to their end and throws them away.

use std::net::SocketAddr;

use anyhow::ensure;
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A connection.
pub struct Http(SendRequest<Full<Bytes>>);

/// An answer without its body.
#[derive(Debug)]
pub struct Told {
    pub status: StatusCode,
    pub etag: Option<String>,
    pub length: usize,
}

// === impl Http ===

impl Http {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "ipvsd");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.0.ready().await?;
        Ok(self.0.send_request(request.body(Full::new(body))?).await?)
    }

    /// Asks, and reads the answer to its end.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Bytes,
    ) -> anyhow::Result<Told> {
        let response = self.send(method, path, headers, body).await?;
        let status = response.status();
        let etag = response
            .headers()
            .get(header::ETAG)
            .and_then(|etag| etag.to_str().ok())
            .map(str::to_owned);
        let (mut body, mut length) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(Told {
            status,
            etag,
            length,
        })
    }

    /// A write of JSON that must succeed.
    pub async fn write(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<()> {
        let headers = [(header::CONTENT_TYPE, "application/json")];
        let told = self.call(method, path, &headers, body.into()).await?;
        ensure!(told.status.is_success(), "{path}: {}", told.status);
        Ok(())
    }

    /// A read that must succeed. Returns how long its body was.
    pub async fn read(&mut self, path: &str) -> anyhow::Result<usize> {
        let told = self.call(Method::GET, path, &[], Bytes::new()).await?;
        ensure!(told.status.is_success(), "{path}: {}", told.status);
        Ok(told.length)
    }

    /// The body of a read.
    pub async fn fetch(&mut self, path: &str) -> anyhow::Result<Bytes> {
        let response = self.send(Method::GET, path, &[], Bytes::new()).await?;
        ensure!(response.status().is_success(), "{}", response.status());
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

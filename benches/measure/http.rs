//! HTTP clients on one persistent connection, which read bodies and discard them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

/// A connection.
pub struct Http(SendRequest<Full<Bytes>>);

/// A blocking client that reads all responses into the same buffer: hyper's client would account for a
/// tenth of the time of a list.
pub struct Reader<S = std::net::TcpStream> {
    stream: BufReader<S>,
    /// Field lines of each request.
    fields: String,
}

/// A response without its body.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub etag: Option<String>,
    pub length: usize,
}

/// Bytes that a [`Reader`] reads at once.
const READ: usize = 256 << 10;

// === impl Reader ===

impl Reader {
    pub fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream, String::new()))
    }
}

impl<S: Read + Write> Reader<S> {
    /// A client on a connection, which sends these field lines with each request.
    pub fn over(stream: S, fields: String) -> Self {
        let stream = BufReader::with_capacity(READ, stream);
        Self { stream, fields }
    }

    /// A GET that must succeed. Returns the length of the body.
    pub fn read(&mut self, path: &str) -> anyhow::Result<usize> {
        self.call("GET", path, "")
    }

    /// A request that must succeed, with a JSON body unless it is empty. Returns the length of the
    /// response's body.
    pub fn call(&mut self, method: &str, path: &str, body: &str) -> anyhow::Result<usize> {
        let fields = &self.fields;
        let content = match body.len() {
            0 => String::new(),
            length => {
                format!("content-type: application/json\r\ncontent-length: {length}\r\n")
            }
        };
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{fields}{content}\r\n{body}");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        ensure!(status.starts_with("HTTP/1.1 2"), "{path}: {status}");
        let mut length = None;
        loop {
            let field = self.line()?;
            if field.is_empty() {
                break;
            }
            if let Some(value) = field.strip_prefix("content-length: ") {
                length = Some(value.parse()?);
            }
        }
        if let Some(length) = length {
            self.skip(length)?;
            return Ok(length);
        }
        let mut all = 0;
        loop {
            let chunk = usize::from_str_radix(&self.line()?, 16)?;
            self.skip(chunk)?;
            let end = self.line()?;
            ensure!(end.is_empty(), "{end:?} after a chunk");
            if chunk == 0 {
                return Ok(all);
            }
            all += chunk;
        }
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n").context("truncated response")?;
        Ok(line.to_owned())
    }

    fn skip(&mut self, mut length: usize) -> anyhow::Result<()> {
        while length > 0 {
            let read = self.stream.fill_buf()?.len().min(length);
            ensure!(read > 0, "truncated response");
            self.stream.consume(read);
            length -= read;
        }
        Ok(())
    }
}

// === impl Http ===

impl Http {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Self::over(TcpStream::connect(address).await?).await
    }

    /// The same from an address of this machine.
    pub async fn connect_from(source: Ipv4Addr, address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        Self::over(socket.connect(address).await?).await
    }

    async fn over(stream: TcpStream) -> anyhow::Result<Self> {
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
            .header(header::HOST, "localhost");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.0.ready().await?;
        Ok(self.0.send_request(request.body(Full::new(body))?).await?)
    }

    /// Sends a request and reads the whole response.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Bytes,
    ) -> anyhow::Result<Reply> {
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
        Ok(Reply {
            status,
            etag,
            length,
        })
    }

    /// A write with a JSON body that must succeed.
    pub async fn write(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<()> {
        let headers = [(header::CONTENT_TYPE, "application/json")];
        let response = self.call(method, path, &headers, body.into()).await?;
        ensure!(response.status.is_success(), "{path}: {}", response.status);
        Ok(())
    }

    /// A GET that must succeed. Returns the length of the body.
    pub async fn read(&mut self, path: &str) -> anyhow::Result<usize> {
        let response = self.call(Method::GET, path, &[], Bytes::new()).await?;
        ensure!(response.status.is_success(), "{path}: {}", response.status);
        Ok(response.length)
    }

    /// The body of the response to a GET.
    pub async fn fetch(&mut self, path: &str) -> anyhow::Result<Bytes> {
        self.answer(Method::GET, path, Bytes::new()).await
    }

    /// The body of the response to a request, which must succeed.
    pub async fn answer(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Bytes> {
        let headers = [(header::CONTENT_TYPE, "application/json")];
        let response = self.send(method, path, &headers, body.into()).await?;
        ensure!(response.status().is_success(), "{}", response.status());
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

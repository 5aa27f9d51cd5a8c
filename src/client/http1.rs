//! HTTP/1.1, the part of it that this client needs: one request and its response over one
//! connection. `httparse` parses the head and the sizes of chunks.
//!
//! Why not ureq: `ipvsctl` is a process for each command, and executes 98,000 instructions for one
//! `ipvsctl -Ln`, start and end of the process included. With ureq 3.5 over the streams of
//! `connect`, the same command executes 160,000 (buffers of 8 KiB) to 288,000 (64 KiB), the binary
//! is 300 KB larger, and of this module only half could go: a unix socket, names by `getent`, TLS
//! errors by cause, and a response that arrives before its request is sent (413) need an own
//! transport, whose interface in ureq is not covered by its semantic versioning. TLS is rustls in
//! both cases.

use std::{
    fmt,
    io::{self, BufRead, Read, Write},
    time::Duration,
};

use http::StatusCode;

use super::{
    buffered::Buffered,
    connect::{Limit, Stream},
    etag::EntityTag,
    token::Token,
};

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// Accepted media type.
    pub accept: &'a str,
    /// Further header fields, names in lower case.
    pub headers: &'a [(&'static str, String)],
    /// Media type and body.
    pub body: Option<(&'a str, &'a [u8])>,
}

/// What all requests of a client carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'a> {
    /// `Host`.
    pub host: &'a str,
    /// `User-Agent`.
    pub user_agent: &'a str,
    /// `Authorization`.
    pub token: Option<&'a Token>,
}

/// A response whose body has not been read.
#[derive(Debug)]
pub(super) struct Response {
    pub status: StatusCode,
    /// `ETag`.
    pub etag: Option<EntityTag>,
    /// `Age`; zero if absent.
    pub age: Duration,
    /// `Content-Type` without parameters; empty if absent.
    pub media_type: String,
    pub body: Body,
}

/// The body of a response, read from the connection.
pub(super) struct Body {
    stream: Buffered,
    framing: Framing,
    /// Remaining bytes of the body, or of the chunk.
    remaining: u64,
}

/// How the end of a body is recognised (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// `Content-Length`, or no body.
    Length,
    /// Chunked, before the first chunk.
    FirstChunk,
    /// Chunked, after the size of a chunk.
    Chunks,
    /// The end of the connection.
    Close,
}

/// Size limits of a head, informational responses before it included, and of a trailer in bytes, and
/// of a head in header fields. A head of ipvsd has ten fields.
const MAX_HEAD: u64 = 64 << 10;
const MAX_FIELDS: usize = 64;
/// Length in bytes up to which a body is copied behind its head.
const SHORT_BODY: usize = 1 << 10;

// === impl Request ===

impl Request<'_> {
    /// Whether the request changes something if it is carried out.
    pub fn is_change(&self) -> bool {
        self.method != "GET" && !self.path.contains("dry_run=true")
    }

    /// The head, and the body if it is short: both fit one packet then.
    fn encode(&self, sender: &Sender<'_>) -> Vec<u8> {
        let Self {
            method,
            path,
            accept,
            headers,
            body,
        } = self;
        let Sender {
            host,
            user_agent,
            token,
        } = sender;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {user_agent}\r\n\
             accept: {accept}\r\nconnection: close\r\n"
        );
        if let Some(token) = token {
            head += &format!("authorization: Bearer {}\r\n", token.secret());
        }
        for (name, value) in *headers {
            head += &format!("{name}: {value}\r\n");
        }
        if body.is_none() && *method != "GET" {
            // The daemon refuses writes that an HTML form could send.
            head += "content-type: application/json\r\n";
        }
        if let Some((media_type, body)) = body {
            let length = body.len();
            head += &format!("content-type: {media_type}\r\ncontent-length: {length}\r\n");
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        if let Some((_, body)) = body
            && body.len() <= SHORT_BODY
        {
            bytes.extend_from_slice(body);
        }
        bytes
    }

    /// Sends the request and reads the head of the response. A limit to silence is that of the whole
    /// head, too.
    pub fn send(
        &self,
        mut stream: Box<dyn Stream>,
        sender: &Sender<'_>,
        limit: Limit,
    ) -> io::Result<Response> {
        stream.set_limit(limit);
        let mut sent = stream.write_all(&self.encode(sender));
        if let Some((_, body)) = self.body.filter(|(_, body)| body.len() > SHORT_BODY) {
            sent = sent.and_then(|()| stream.write_all(body));
        }
        let sent = sent.and_then(|()| stream.flush());
        stream.set_limit(Limit::Deadline(limit.deadline()));
        let mut stream = Buffered::new(stream);
        // A server that rejects a long body may respond and close before it has read all of it.
        let head = match (sent, Head::read(&mut stream)) {
            (Err(error), Err(_)) => return Err(error),
            (_, head) => head?,
        };
        let Head {
            status,
            etag,
            age,
            media_type,
            framing,
            length,
        } = head;
        let body = Body {
            stream,
            framing,
            remaining: length,
        };
        Ok(Response {
            status,
            etag,
            age,
            media_type,
            body,
        })
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the response is not HTTP/1.1")
}

/// The head of a response.
struct Head {
    status: StatusCode,
    etag: Option<EntityTag>,
    age: Duration,
    media_type: String,
    framing: Framing,
    length: u64,
}

// === impl Head ===

impl Head {
    /// Reads up to the empty line. Skips informational responses (100 to 199).
    fn read(stream: &mut impl BufRead) -> io::Result<Self> {
        let mut limited = stream.by_ref().take(MAX_HEAD);
        loop {
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"\r\n\r\n") {
                if limited.read_until(b'\n', &mut bytes)? == 0 {
                    return Err(match bytes.is_empty() && limited.limit() > 0 {
                        true => io::ErrorKind::UnexpectedEof.into(),
                        false => malformed(),
                    });
                }
            }
            let head = Self::parse(&bytes)?;
            if !head.status.is_informational() {
                return Ok(head);
            }
        }
    }

    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        response.parse(bytes).map_err(|_| malformed())?;
        let status = response
            .code
            .and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or_else(malformed)?;
        let (mut etag, mut age, mut coding, mut length) = (None, None, None, None);
        let mut media_type = None;
        for field in response.headers.iter() {
            let value = std::str::from_utf8(field.value).ok();
            let slot = match field.name.len() {
                3 if field.name.eq_ignore_ascii_case("age") => &mut age,
                4 if field.name.eq_ignore_ascii_case("etag") => &mut etag,
                12 if field.name.eq_ignore_ascii_case("content-type") => &mut media_type,
                14 if field.name.eq_ignore_ascii_case("content-length") => &mut length,
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => &mut coding,
                _ => continue,
            };
            *slot = value;
        }
        let (framing, length) = match (coding, length) {
            _ if status == StatusCode::NO_CONTENT => (Framing::Length, 0),
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => (Framing::FirstChunk, 0),
            (Some(_), _) => return Err(malformed()),
            (None, Some(length)) => {
                let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
                let length = length.parse().ok().filter(|_| is_number);
                let length = length.ok_or_else(malformed)?;
                (Framing::Length, length)
            }
            (None, None) => (Framing::Close, u64::MAX),
        };
        let age = age.and_then(|age| age.parse().ok()).unwrap_or(0);
        let media_type = media_type.and_then(|value| value.split(';').next());
        let media_type = media_type.unwrap_or_default().trim().to_ascii_lowercase();
        Ok(Self {
            status,
            etag: etag.and_then(|etag| etag.parse().ok()),
            age: Duration::from_secs(age),
            media_type,
            framing,
            length,
        })
    }
}

// === impl Body ===

impl Body {
    /// Sets the time limit of the reads that follow.
    pub fn set_limit(&mut self, limit: Limit) {
        self.stream.set_limit(limit);
    }

    /// Reads the size of the next chunk, or the trailer after the last.
    fn next_chunk(&mut self) -> io::Result<()> {
        if self.framing == Framing::Chunks && !self.line()?.is_empty() {
            return Err(malformed());
        }
        self.framing = Framing::Chunks;
        let mut line = self.line()?;
        line.extend_from_slice(b"\r\n");
        self.remaining = match httparse::parse_chunk_size(&line) {
            Ok(httparse::Status::Complete((_, size))) => size,
            _ => return Err(malformed()),
        };
        if self.remaining == 0 {
            let mut allowed = MAX_HEAD;
            loop {
                let length = self.line()?.len() as u64;
                if length == 0 {
                    break;
                }
                allowed = allowed.checked_sub(length).ok_or_else(malformed)?;
            }
            self.framing = Framing::Length;
        }
        Ok(())
    }

    /// Reads a line between chunks, without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let limited = &mut self.stream.by_ref().take(MAX_HEAD);
        limited.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(text) => Ok(text.to_vec()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.remaining == 0 && matches!(self.framing, Framing::FirstChunk | Framing::Chunks) {
            self.next_chunk()?;
        }
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let bytes = self.stream.fill_buf()?;
        if bytes.is_empty() && self.framing != Framing::Close {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let max = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        Ok(&bytes[..bytes.len().min(max)])
    }

    fn consume(&mut self, amount: usize) {
        self.stream.consume(amount);
        if self.framing != Framing::Close {
            self.remaining -= amount as u64;
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.fill_buf()?;
        let amount = bytes.read(buffer)?;
        self.consume(amount);
        Ok(amount)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("framing", &self.framing)
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use proptest::prelude::*;

    use super::*;

    /// A server that sends the same response to every request, `chunk` bytes per read.
    struct Server {
        response: io::Cursor<Vec<u8>>,
        chunk: usize,
    }

    impl Read for Server {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let max = buffer.len().min(self.chunk);
            self.response.read(&mut buffer[..max])
        }
    }

    impl Write for Server {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Server {
        fn set_limit(&mut self, _: Limit) {}
    }

    fn send(response: &[u8], chunk: usize) -> io::Result<Response> {
        let request = Request {
            method: "GET",
            path: "/",
            accept: "*/*",
            headers: &[],
            body: None,
        };
        let server = Server {
            response: io::Cursor::new(response.to_vec()),
            chunk,
        };
        let limit = Limit::Silence(Duration::from_secs(30));
        let sender = Sender {
            host: "localhost",
            user_agent: "test",
            token: None,
        };
        request.send(Box::new(server), &sender, limit)
    }

    fn body(response: &[u8], chunk: usize) -> io::Result<(StatusCode, Vec<u8>)> {
        let mut response = send(response, chunk)?;
        let mut body = Vec::new();
        response.body.read_to_end(&mut body)?;
        Ok((response.status, body))
    }

    #[test]
    fn bodies_are_read_to_their_end_in_every_framing() {
        for response in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloX",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\na: b\r\n\r\nX",
            "HTTP/1.1 200 OK\r\n\r\nhello",
        ] {
            for chunk in 1..response.len() {
                let (status, body) = body(response.as_bytes(), chunk).unwrap();
                assert_eq!((status, body.as_slice()), (StatusCode::OK, &b"hello"[..]));
            }
        }
    }

    #[test]
    fn a_response_without_content_has_no_body() {
        let (status, body) = body(b"HTTP/1.1 204 No Content\r\n\r\nX", 9).unwrap();
        assert_eq!(
            (status, body.as_slice()),
            (StatusCode::NO_CONTENT, &b""[..])
        );
    }

    #[test]
    fn truncated_responses_are_errors() {
        for response in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ] {
            for length in 0..response.len() {
                let cut = &response.as_bytes()[..length];
                assert!(body(cut, 7).is_err(), "{:?}", String::from_utf8_lossy(cut));
            }
        }
    }

    #[test]
    fn age_and_entity_tag_are_read_from_the_head() {
        let head = b"HTTP/1.1 200 OK\r\nAge: 7\r\nETag: \"r-1.2\"\r\nContent-Length: 0\r\n\r\n";
        let response = send(head, 1).unwrap();
        assert_eq!(response.age, Duration::from_secs(7));
        assert_eq!(response.etag.unwrap().as_str(), "\"r-1.2\"");
    }

    proptest! {
        #[test]
        fn arbitrary_responses_do_not_panic(
            head in "(HTTP/1.1 200 OK\r\n(transfer-encoding: chunked|content-length: [0-9]{1,20})\r\n\r\n)?",
            rest in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let _ = body(&[head.as_bytes(), &rest].concat(), 5);
        }
    }
}

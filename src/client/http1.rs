//! One request and its answer over one connection: HTTP/1.1, as much of it as a client needs.
//!
//! This blocks and is small on purpose. `ipvsctl` is a process for each command, and what a runtime
//! and a general client cost to start is more than all the rest of it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    time::Instant,
};

use http::StatusCode;

use super::connect::Stream;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub host: &'a str,
    pub user_agent: &'a str,
    pub accept: &'a str,
    /// Media type, and the body itself.
    pub body: Option<(&'a str, &'a [u8])>,
}

/// The body of an answer as it comes.
pub(super) struct Body {
    stream: BufReader<Box<dyn Stream>>,
    framing: Framing,
    /// Bytes that are left of the body, or of its chunk.
    left: u64,
    /// When reading it fails.
    pub deadline: Option<Instant>,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// `Content-Length`.
    Length,
    /// Chunks, before the first of them.
    FirstChunk,
    /// Chunks.
    Chunks,
    /// The end of the connection.
    Close,
}

/// The longest head, and the most header fields, that are understood; ipvsd's has ten lines.
const MOST_HEAD: u64 = 64 << 10;
const MOST_FIELDS: usize = 64;
/// Bytes that are read at a time.
const READ: usize = 64 << 10;

// === impl Asked ===

impl Asked<'_> {
    fn bytes(&self) -> Vec<u8> {
        let Self {
            method,
            path,
            host,
            user_agent,
            accept,
            body,
        } = self;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {user_agent}\r\n\
             accept: {accept}\r\nconnection: close\r\n"
        );
        if let Some((media_type, body)) = body {
            let length = body.len();
            head += &format!("content-type: {media_type}\r\ncontent-length: {length}\r\n");
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        if let Some((_, body)) = body {
            bytes.extend_from_slice(body);
        }
        bytes
    }

    /// Sends it and reads the head of the answer.
    pub fn send(&self, mut stream: Box<dyn Stream>) -> io::Result<(StatusCode, Body)> {
        let sent = stream
            .write_all(&self.bytes())
            .and_then(|()| stream.flush());
        let mut stream = BufReader::with_capacity(READ, stream);
        // Who refuses a long body may answer and hang up before all of it is sent.
        let head = match (sent, head(&mut stream)) {
            (Err(error), Err(_)) => return Err(error),
            (_, head) => head?,
        };
        let (status, framing, left) = head;
        let body = Body {
            stream,
            framing,
            left,
            deadline: None,
        };
        Ok((status, body))
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP/1.1")
}

/// Reads up to the empty line; what goes before the answer proper (100 to 199) is passed over.
fn head(stream: &mut impl BufRead) -> io::Result<(StatusCode, Framing, u64)> {
    loop {
        let mut bytes = Vec::new();
        let mut limited = stream.by_ref().take(MOST_HEAD);
        while !bytes.ends_with(b"\r\n\r\n") {
            if limited.read_until(b'\n', &mut bytes)? == 0 {
                return Err(match bytes.is_empty() {
                    true => io::ErrorKind::UnexpectedEof.into(),
                    false => malformed(),
                });
            }
        }
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        response.parse(&bytes).map_err(|_| malformed())?;
        let status = response
            .code
            .and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or_else(malformed)?;
        if status.is_informational() {
            continue;
        }
        let field = |name: &str| {
            let mut fields = response.headers.iter();
            let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(field.value).ok()
        };
        if let Some(coding) = field("transfer-encoding") {
            return match coding.eq_ignore_ascii_case("chunked") {
                true => Ok((status, Framing::FirstChunk, 0)),
                false => Err(malformed()),
            };
        }
        return match field("content-length") {
            Some(length) => {
                let length = length.parse().map_err(|_| malformed())?;
                Ok((status, Framing::Length, length))
            }
            None => Ok((status, Framing::Close, u64::MAX)),
        };
    }
}

// === impl Body ===

impl Body {
    /// Finds the next chunk, or the end.
    fn next_chunk(&mut self) -> io::Result<()> {
        if self.framing == Framing::Chunks && !self.line()?.is_empty() {
            return Err(malformed());
        }
        self.framing = Framing::Chunks;
        let mut line = self.line()?;
        line.extend_from_slice(b"\r\n");
        self.left = match httparse::parse_chunk_size(&line) {
            Ok(httparse::Status::Complete((_, size))) => size,
            _ => return Err(malformed()),
        };
        if self.left == 0 {
            // Trailers tell nothing that is wanted.
            while !self.line()?.is_empty() {}
            self.framing = Framing::Length;
        }
        Ok(())
    }

    /// A line between chunks, without its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let limited = &mut self.stream.by_ref().take(MOST_HEAD);
        limited.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(text) => Ok(text.to_vec()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.left == 0 && matches!(self.framing, Framing::FirstChunk | Framing::Chunks) {
            self.next_chunk()?;
        }
        if self.left == 0 {
            return Ok(&[]);
        }
        let bytes = self.stream.fill_buf()?;
        if bytes.is_empty() && self.framing != Framing::Close {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        Ok(&bytes[..bytes.len().min(most)])
    }

    fn consume(&mut self, amount: usize) {
        self.stream.consume(amount);
        if self.framing != Framing::Close {
            self.left -= amount as u64;
        }
    }
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut bytes = self.fill_buf()?;
        let amount = bytes.read(into)?;
        self.consume(amount);
        Ok(amount)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("framing", &self.framing)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use proptest::prelude::*;

    use super::*;

    /// A daemon that answers with this, a few bytes at a time, whatever it is asked.
    struct Answer {
        bytes: io::Cursor<Vec<u8>>,
        at_a_time: usize,
    }

    impl Read for Answer {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let most = into.len().min(self.at_a_time);
            self.bytes.read(&mut into[..most])
        }
    }

    impl Write for Answer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ask(answer: &[u8], at_a_time: usize) -> io::Result<(StatusCode, Vec<u8>)> {
        let asked = Asked {
            method: "GET",
            path: "/",
            host: "localhost",
            user_agent: "test",
            accept: "*/*",
            body: None,
        };
        let answer = Answer {
            bytes: io::Cursor::new(answer.to_vec()),
            at_a_time,
        };
        let (status, mut body) = asked.send(Box::new(answer))?;
        let mut whole = Vec::new();
        body.read_to_end(&mut whole)?;
        Ok((status, whole))
    }

    #[test]
    fn every_framing_of_a_body_is_read_to_its_end() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloX",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\na: b\r\n\r\nX",
            "HTTP/1.1 200 OK\r\n\r\nhello",
        ] {
            for at_a_time in 1..answer.len() {
                let (status, body) = ask(answer.as_bytes(), at_a_time).unwrap();
                assert_eq!((status, body.as_slice()), (StatusCode::OK, &b"hello"[..]));
            }
        }
    }

    #[test]
    fn an_answer_that_breaks_off_is_noticed() {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ] {
            for length in 0..answer.len() {
                let cut = &answer.as_bytes()[..length];
                assert!(ask(cut, 7).is_err(), "{:?}", String::from_utf8_lossy(cut));
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_that_answers_makes_it_panic(
            head in "(HTTP/1.1 200 OK\r\n(transfer-encoding: chunked|content-length: [0-9]{1,20})\r\n\r\n)?",
            rest in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let _ = ask(&[head.as_bytes(), &rest].concat(), 5);
        }
    }
}

//! Servers that behave as a test needs it, and proxies that lose replies.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Request line and header fields.
    pub head: String,
    /// Body, `content-length` bytes.
    pub body: Vec<u8>,
}

/// A server on a free port. It runs until the end of the test program.
pub struct Server {
    /// Its URL.
    pub endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// Media types of ipvsd.
pub const JSON: &str = "application/json";
pub const TEXT: &str = "text/plain; charset=utf-8";
pub const NDJSON: &str = "application/x-ndjson";

// === impl Server ===

impl Server {
    /// Calls `respond` for each request, in a thread of its own, with the number of the request.
    pub fn start(
        respond: impl Fn(usize, &Request, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (received, respond) = (requests.clone(), Arc::new(respond));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (received, respond) = (received.clone(), respond.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let request = Request::read(&stream);
                    received.lock().unwrap().push(request.clone());
                    respond(number, &request, &mut stream);
                });
            }
        });
        Self { endpoint, requests }
    }

    /// Sends the same bytes as every response.
    pub fn responding(response: impl Into<Vec<u8>>) -> Self {
        let response = response.into();
        Self::start(move |_, _, stream| {
            let _ = stream.write_all(&response);
        })
    }

    /// A proxy before `endpoint`. It forwards every request, and closes the connection instead of
    /// relaying the response where `loses` holds of the number of the request.
    pub fn losing(endpoint: &str, loses: impl Fn(usize) -> bool + Send + Sync + 'static) -> Self {
        let to = endpoint.trim_start_matches("http://").to_owned();
        Self::start(move |number, request, stream| {
            let mut daemon = TcpStream::connect(&to).unwrap();
            daemon.write_all(request.head.as_bytes()).unwrap();
            daemon.write_all(&request.body).unwrap();
            let mut response = Vec::new();
            daemon.read_to_end(&mut response).unwrap();
            if !loses(number) {
                let _ = stream.write_all(&response);
            }
        })
    }

    /// The values of a header field, by its name in lower case, in the requests so far; empty where it is
    /// absent.
    pub fn header(&self, name: &str) -> Vec<String> {
        let value = |request: &Request| {
            let mut lines = request.head.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.unwrap_or_default().to_owned()
        };
        self.requests.lock().unwrap().iter().map(value).collect()
    }

    /// The first lines of the requests so far.
    pub fn request_lines(&self) -> Vec<String> {
        let first = |request: &Request| request.head.lines().next().unwrap_or_default().to_owned();
        self.requests.lock().unwrap().iter().map(first).collect()
    }
}

// === impl Request ===

impl Request {
    fn read(stream: &TcpStream) -> Self {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).unwrap_or(0) == 0 {
                break;
            }
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        let _ = stream.read_exact(&mut body);
        Self { head, body }
    }
}

/// A complete response.
pub fn response(status: &str, media_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// A response that is complete but for its body, which goes on until the connection ends.
pub fn head(media_type: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ntransfer-encoding: chunked\r\n\r\n")
}

/// Sends `bytes` again and again until the client has gone.
pub fn flood(stream: &mut TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}

/// Sends `bytes` again and again, slowly, until the client has gone.
pub fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

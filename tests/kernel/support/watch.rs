//! A client that watches.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;

use super::daemon::ADDRESS;

/// A watch over HTTP/1.1.
pub struct Watch(BufReader<TcpStream>);

impl Watch {
    /// Of the daemon in this thread's namespace.
    pub fn start(query: &str) -> Self {
        Self::of(&format!("/v1/watch?{query}"))
    }

    /// Another stream of that daemon.
    pub fn of(path: &str) -> Self {
        let mut stream = TcpStream::connect(ADDRESS).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        Self(BufReader::new(stream))
    }

    /// The data of the next event; `None` at the end. Other lines are of the head, of chunks and of the event.
    pub fn event(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(data.trim_end()).unwrap());
            }
        }
    }

    /// The next event that is no bookmark: type, object, origin.
    pub fn change(&mut self) -> (String, String, String) {
        loop {
            let event = self.event().expect("the watch ended");
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            if event["type"] != "bookmark" {
                let object = format!("{} {}", text("service"), text("server"));
                return (text("type"), object.trim().to_owned(), text("origin"));
            }
        }
    }
}

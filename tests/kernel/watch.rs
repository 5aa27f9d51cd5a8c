//! A watch on a real kernel: what the real ipvsadm changes is seen, in order, together with what the daemon
//! changes.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    Namespace,
    api::{Api, Interface, Request},
    daemon::{ADDRESS, Daemon},
    rules,
};

/// A watch over HTTP/1.1.
struct Watch(BufReader<TcpStream>);

impl Watch {
    fn start(query: &str) -> Self {
        let mut stream = TcpStream::connect(ADDRESS).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        write!(
            stream,
            "GET /v1/watch?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        .unwrap();
        Self(BufReader::new(stream))
    }

    /// The data of the next event. Other lines are of the head, of chunks and of the event.
    fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the watch ended");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data.trim_end()).unwrap();
            }
        }
    }

    /// The next event that is no bookmark: type, object, origin.
    fn change(&mut self) -> (String, String, String) {
        loop {
            let event = self.next();
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            if event["type"] != "bookmark" {
                let object = format!("{} {}", text("service"), text("server"));
                return (text("type"), object.trim().to_owned(), text("origin"));
            }
        }
    }
}

fn event(kind: &str, object: &str, origin: &str) -> (String, String, String) {
    (kind.to_owned(), object.to_owned(), origin.to_owned())
}

#[test]
fn changes_of_ipvsadm_and_of_the_daemon_are_seen_in_order() {
    let namespace = Namespace::new();
    namespace.run(|| {
        rules("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m\n");
        let api = Api::with(Interface::Http, Daemon::start(&[]));
        // The revision of a list when nobody watches. What changes before the watch begins is not missed.
        let (status, list) = api.fetch("/v1/services");
        assert_eq!(status, 200);
        let revision = list["revision"].as_str().unwrap();
        rules("-a -t 192.0.2.1:80 -r 192.168.10.2:80 -m\n");
        let mut watch = Watch::start(&format!("from_revision={revision}"));
        let service = "tcp-192.0.2.1-80";
        let second = "tcp-192.0.2.1-80 192.168.10.2-80";
        assert_eq!(watch.change(), event("added", second, "foreign"));
        // Each is seen before the next: they are in order.
        for (line, expected) in [
            (
                "-e -t 192.0.2.1:80 -r 192.168.10.2:80 -m -w 5",
                event("modified", second, "foreign"),
            ),
            (
                "-d -t 192.0.2.1:80 -r 192.168.10.2:80",
                event("deleted", second, "foreign"),
            ),
            (
                "-E -t 192.0.2.1:80 -s wlc",
                event("modified", service, "foreign"),
            ),
        ] {
            rules(&format!("{line}\n"));
            assert_eq!(watch.change(), expected, "{line}");
        }
        // One that the daemon discovers by its own write comes before it.
        rules("-e -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 7\n");
        let first = "tcp-192.0.2.1-80 192.168.10.1-80";
        let body = json!({"upper_threshold": 9});
        let (service_id, server_id) = (service.to_owned(), "192.168.10.1-80".to_owned());
        api.write(&Request::UpdateServer(service_id, server_id, body))
            .unwrap();
        assert_eq!(watch.change(), event("modified", first, "foreign"));
        assert_eq!(watch.change(), event("modified", first, "api"));
        rules("-C\n");
        assert_eq!(watch.change(), event("deleted", first, "foreign"));
        assert_eq!(watch.change(), event("deleted", service, "foreign"));
    });
}

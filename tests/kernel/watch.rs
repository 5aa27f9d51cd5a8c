//! A watch on a real kernel: what the real ipvsadm changes is seen, in order, together with what the daemon
//! changes.

use serde_json::json;

use crate::support::{
    Namespace,
    api::{Api, Interface, Request},
    daemon::Daemon,
    rules,
    watch::Watch,
};

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

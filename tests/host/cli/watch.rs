//! `ipvsctl watch`.

use crate::{
    common::parity::{links, shell},
    scripted::{Server, response},
};

const EVENTS: &str = concat!(
    "event: added\n",
    r#"data: {"type":"added","resource":"service","service":"tcp-192.0.2.1-80","after":{"service":{"id":"tcp-192.0.2.1-80"}}}"#,
    "\n\nid: a-1\nevent: bookmark\n",
    r#"data: {"type":"bookmark","revision":"a-1"}"#,
    "\n\nid: a-2\nevent: modified\n",
    r#"data: {"type":"modified","service":"tcp-192.0.2.1-80","server":"192.168.10.1-80","#,
    r#""before":{"server":{"weight":1,"forwarding":"direct","etag":"r-1"}},"#,
    r#""after":{"server":{"weight":5,"forwarding":"tunnel","etag":"r-2"}},"#,
    r#""origin":"api","principal":"web","revision":"a-2","time":"2026-01-31T12:00:00.123Z"}"#,
    "\n\nid: a-3\nevent: modified\n",
    r#"data: {"type":"modified","resource":"drain","#,
    r#""before":{"drain":{"id":"0123456789abcdef","state":"draining","members":[{"state":"draining"}]}},"#,
    r#""after":{"drain":{"id":"0123456789abcdef","state":"drained","members":[{"state":"drained"}]}},"#,
    r#""origin":"task","revision":"a-3","time":"2026-01-31T12:00:01.123Z"}"#,
    "\n\nevent: deleted\n",
    r#"data: {"type":"deleted","resource":"table","before":{"table":{"owner":"k8s"}},"origin":"api"}"#,
    "\n\nevent: resync\n",
    r#"data: {"type":"resync","reason":"TOO_SLOW"}"#,
    "\n\n"
);

#[test]
fn changes_are_printed_as_they_happen() {
    let server = Server::responding(response("200 OK", "text/event-stream", EVENTS));
    let run = |cmd: &str| shell(cmd, "", Some(&links()), &server.endpoint);
    let output =
        run("ipvsadm watch --initial --protocol tcp --owner k8s --label team=web --label '!old'");
    assert_eq!(
        output.stdout,
        "added tcp-192.0.2.1-80\n\
         2026-01-31T12:00:00.123Z modified tcp-192.0.2.1-80 192.168.10.1-80 \
         forwarding direct -> tunnel weight 1 -> 5 (api, web)\n\
         2026-01-31T12:00:01.123Z modified drain 0123456789abcdef \
         members [1] -> [1] state draining -> drained (task)\n\
         deleted table k8s (api)\n\
         resync TOO_SLOW\n"
    );
    // A watch has no end of its own.
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("ended the watch"), "{output:?}");
    let json = run("ipvsadm --output json watch --from-revision a-1").stdout;
    let data = EVENTS
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    assert!(json.lines().eq(data), "{json}");
    assert_eq!(
        server.request_lines(),
        [
            "GET /v1/watch?protocol=tcp&initial=true&owner=k8s&label=team%3Dweb&label=%21old HTTP/1.1",
            "GET /v1/watch?from_revision=a-1 HTTP/1.1",
        ]
    );
    let refused = run("ipvsadm --all watch");
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""));
}

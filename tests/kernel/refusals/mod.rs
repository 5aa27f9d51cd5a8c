//! Everything that the kernel refuses, and everything that it should refuse but does not, comes
//! back as an error that says why and which field, and leaves the kernel as it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rows;
mod servers;
mod unchecked;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    Namespace,
    api::{Api, Request, Way},
    daemon::Daemon,
    http::Http,
    ipvsadm, lists, rules,
};

/// A request that is refused.
pub struct Row {
    /// Command and name of the recorded rows that it stands for.
    pub of: &'static [(&'static str, &'static str)],
    /// What is asked for.
    pub request: Request,
    /// Why not.
    pub reason: &'static str,
    /// The field that is named, or one of several, by `|`; empty where none is.
    pub field: &'static str,
    /// What the kernel said, where it must be the one who refuses.
    pub errno: Option<&'static str>,
}

const TABLE: &str = "\
-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 10.1.1.2:80 -m -w 3
-a -t 10.0.0.1:80 -r [2001:db8:1::9]:80 -i
-A -t 10.0.0.1:81 -s wrr -p 300
-A -u 10.0.0.1:53 -s rr
-A -t [2001:db8::1]:80 -s rr
-A -f 5 -s rr
";

/// A namespace in which everything is refused that [`rows::rows`] asks for.
fn inside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let namespace = Namespace::new();
    namespace.ip("link add d0 type dummy");
    namespace.ip("addr add 10.1.1.1/24 brd + dev d0");
    namespace.ip("link set d0 up");
    namespace.ip("link add down0 type dummy");
    namespace.run(|| {
        rules(TABLE);
        work()
    })
}

/// All that a refusal must leave alone, as the real program lists it.
fn everything() -> String {
    let listings = ["-S -n", "-L -n --thresholds", "-L --timeout", "-L --daemon"];
    listings.map(lists).concat()
}

fn holds(api: &Api, rows: &[Row]) {
    let (before, table) = (everything(), lists("-S -n"));
    for row in rows {
        let Row { of, request, .. } = row;
        let refusal = match api.write(request) {
            Err(refusal) => refusal,
            Ok(value) => panic!("{of:?}: {request:?} was carried out: {value}"),
        };
        assert_eq!(refusal.reason, row.reason, "{of:?} {request:?} {refusal:?}");
        assert!(
            row.field.is_empty() || row.field.split('|').any(|field| refusal.names(field)),
            "{of:?} {request:?} {refusal:?}"
        );
        assert_eq!(
            refusal.errno.as_deref(),
            row.errno,
            "{of:?} {request:?} {refusal:?}"
        );
        assert!(!refusal.detail.is_empty());
        assert_eq!(lists("-S -n"), table, "{of:?} {request:?} {refusal:?}");
    }
    assert_eq!(everything(), before);
}

fn all_hold(way: Way) {
    inside(|| {
        let api = Api::start(way);
        holds(&api, &rows::rows());
        holds(&api, &unchecked::rows());
        // Where no server of another family stands in the way.
        let mixed = "-d -t 10.0.0.1:80 -r [2001:db8:1::9]:80";
        assert!(ipvsadm(mixed, "").status.success());
        holds(&api, &rows::interfaces());
    });
}

#[test]
fn what_is_refused_is_explained_by_the_use_cases() {
    all_hold(Way::App);
}

#[test]
fn what_is_refused_is_explained_over_http() {
    all_hold(Way::Http);
}

#[test]
fn what_is_refused_is_explained_over_grpc() {
    all_hold(Way::Grpc);
}

#[test]
fn every_recorded_refusal_is_asked_for_or_cannot_be() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/kernel-errno.json"
    );
    let recorded: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let recorded: BTreeSet<(String, String)> = recorded
        .iter()
        .map(|row| {
            let cmd = row["cmd"].as_str().map(str::to_owned);
            (
                cmd.unwrap_or_else(|| row["cmd"].to_string()),
                row["test"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let (rows, interfaces) = (rows::rows(), rows::interfaces());
    let asked = rows.iter().chain(&interfaces).flat_map(|row| row.of);
    let own = |(cmd, test): &(&str, &str)| ((*cmd).to_owned(), (*test).to_owned());
    let covered: BTreeSet<_> = asked
        .chain(rows::ELSEWHERE)
        .chain(rows::MALFORMED)
        .map(own)
        .collect();
    assert_eq!(
        recorded.symmetric_difference(&covered).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new()
    );
}

#[test]
fn a_running_sync_daemon_is_not_started_again() {
    let namespace = Namespace::new();
    namespace.run(|| {
        rules("-A -t 10.0.0.1:80 -s rr\n");
        for way in [Way::App, Way::Grpc, Way::Http] {
            let api = Api::start(way);
            let daemon = json!({"interface": "lo"});
            let start = Request::StartSyncDaemon("master".to_owned(), daemon);
            api.write(&start).unwrap();
            let before = everything();
            let refusal = api.write(&start).unwrap_err();
            let expected = match way {
                // A PUT declares a state; If-None-Match is what makes it a start.
                Way::Http => "REVISION_MISMATCH",
                _ => "SYNC_DAEMON_RUNNING",
            };
            assert_eq!(refusal.reason, expected, "{refusal:?}");
            let mixed = json!({"address": "2001:db8:1::9", "forwarding": "tunnel"});
            let mixed = Request::CreateServer("tcp-10.0.0.1-80".to_owned(), mixed);
            let refusal = api.write(&mixed).unwrap_err();
            assert_eq!(refusal.reason, "SYNC_DAEMON_CONFLICT", "{refusal:?}");
            assert_eq!(refusal.errno.as_deref(), Some("EINVAL"));
            assert_eq!(everything(), before);
            let stop = Request::StopSyncDaemon("master".to_owned());
            api.write(&stop).unwrap();
            assert_eq!(
                api.write(&stop).unwrap_err().reason,
                "SYNC_DAEMON_NOT_RUNNING"
            );
        }
    });
}

#[test]
fn a_sync_daemon_stopped_before_it_ran_is_stopped() {
    // The kernel never answers to that: the thread that it made is gone before it has begun.
    Namespace::new().run(|| {
        let api = Api::start(Way::App);
        let daemon = json!({"interface": "lo"});
        for _ in 0..20 {
            for state in ["master", "backup"] {
                let start = Request::StartSyncDaemon(state.to_owned(), daemon.clone());
                api.write(&start).unwrap();
                api.write(&Request::StopSyncDaemon(state.to_owned()))
                    .unwrap();
            }
            assert_eq!(lists("-L --daemon"), "");
        }
    });
}

#[test]
fn an_unconfirmed_clearance_deletes_nothing() {
    inside(|| {
        let before = everything();
        let daemon = Daemon::start(&[]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let http = Http::to(Some(daemon));
            for (query, status) in [("", 400), ("?confirm=4", 412), ("?confirm=all", 400)] {
                let path = format!("/v1/services{query}");
                let (told, body) = http.send(http::Method::DELETE, &path, &[], None).await;
                assert_eq!(told, status, "{path}: {body}");
                assert_eq!(everything(), before);
            }
            let path = "/v1/services?confirm=5";
            let (told, body) = http.send(http::Method::DELETE, path, &[], None).await;
            assert_eq!(told, 200, "{body}");
        });
        assert_eq!(lists("-S -n"), "");
    });
}

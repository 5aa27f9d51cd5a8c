//! Requests that the kernel rejects, or accepts although it cannot honour them, fail with an error that
//! names the reason and the field, and leave the kernel unchanged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod rows;
mod servers;
mod unchecked;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    Namespace, Saves,
    api::{Api, Interface, Request},
    daemon::Daemon,
    http::Http,
    ipvsadm, lists, rules,
};

/// A request that is rejected.
pub struct Row {
    /// Command and name of the recorded rows that it covers.
    pub of: &'static [(&'static str, &'static str)],
    pub request: Request,
    pub reason: &'static str,
    /// The field that the error names, or several separated by `|`, one of which it names; empty for none.
    pub field: &'static str,
    /// The errno, if the kernel must be the one to reject it.
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

/// Runs `work` in a namespace in which all requests of [`rows::rows`] are rejected.
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

/// The whole state that a rejected request must not change, listed by the real ipvsadm.
fn state() -> String {
    let listings = ["-S -n", "-L -n --thresholds", "-L --timeout", "-L --daemon"];
    listings.map(lists).concat()
}

fn check(api: &Api, rows: &[Row]) {
    let saves = Saves::new();
    let saved = || saves.get(|| lists("-S -n"));
    let (before, table) = (state(), saved());
    for row in rows {
        let Row { of, request, .. } = row;
        let refusal = match api.write(request) {
            Err(refusal) => refusal,
            Ok(value) => panic!("{of:?}: {request:?} succeeded: {value}"),
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
        assert_eq!(saved(), table, "{of:?} {request:?} {refusal:?}");
    }
    assert_eq!(state(), before);
}

fn check_all(interface: Interface) {
    inside(|| {
        let api = Api::start(interface);
        check(&api, &rows::rows());
        check(&api, &unchecked::rows());
        // Without a server of another address family.
        let mixed = "-d -t 10.0.0.1:80 -r [2001:db8:1::9]:80";
        assert!(ipvsadm(mixed, "").status.success());
        check(&api, &rows::interfaces());
    });
}

#[test]
fn rejections_are_explained_by_the_use_cases() {
    check_all(Interface::App);
}

#[test]
fn rejections_are_explained_over_http() {
    check_all(Interface::Http);
}

#[test]
fn rejections_are_explained_over_grpc() {
    check_all(Interface::Grpc);
}

#[test]
fn every_recorded_rejection_is_requested_or_listed_as_impossible() {
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
fn a_running_sync_daemon_cannot_be_started_again() {
    let namespace = Namespace::new();
    namespace.run(|| {
        rules("-A -t 10.0.0.1:80 -s rr\n");
        for interface in [Interface::App, Interface::Grpc, Interface::Http] {
            let api = Api::start(interface);
            let daemon = json!({"interface": "lo"});
            let start = Request::StartSyncDaemon("master".to_owned(), daemon);
            api.write(&start).unwrap();
            let before = state();
            let refusal = api.write(&start).unwrap_err();
            let expected = match interface {
                // PUT declares a state; with If-None-Match it is a start.
                Interface::Http => "REVISION_MISMATCH",
                _ => "SYNC_DAEMON_RUNNING",
            };
            assert_eq!(refusal.reason, expected, "{refusal:?}");
            let mixed = json!({"address": "2001:db8:1::9", "forwarding": "tunnel"});
            let mixed = Request::CreateServer("tcp-10.0.0.1-80".to_owned(), mixed);
            let refusal = api.write(&mixed).unwrap_err();
            assert_eq!(refusal.reason, "SYNC_DAEMON_CONFLICT", "{refusal:?}");
            assert_eq!(refusal.errno.as_deref(), Some("EINVAL"));
            assert_eq!(state(), before);
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
fn stopping_a_sync_daemon_before_its_first_run_succeeds() {
    // The kernel never replies to this stop: its thread ends before its first run.
    Namespace::new().run(|| {
        let api = Api::start(Interface::App);
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
fn clear_without_confirmation_deletes_nothing() {
    inside(|| {
        let before = state();
        let daemon = Daemon::start(&[]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let http = Http::to(Some(daemon));
            for (query, status) in [("", 400), ("?confirm=4", 412), ("?confirm=all", 400)] {
                let path = format!("/v1/services{query}");
                let (response, body) = http.send(http::Method::DELETE, &path, &[], None).await;
                assert_eq!(response, status, "{path}: {body}");
                assert_eq!(state(), before);
            }
            let path = "/v1/services?confirm=5";
            let (response, body) = http.send(http::Method::DELETE, path, &[], None).await;
            assert_eq!(response, 200, "{body}");
        });
        assert_eq!(lists("-S -n"), "");
    });
}

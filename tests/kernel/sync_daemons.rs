//! The interface of a sync daemon is deleted and created again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};

use crate::support::{
    Namespace,
    api::{Api, Interface},
    lists, run,
};

const GROUPS: [&str; 2] = ["224.0.0.81", "ff02::81"];

fn add_interface() {
    for line in [
        "link add d0 type dummy",
        "addr add 10.5.0.1/24 dev d0",
        "addr add fd05::1/64 dev d0 nodad",
        "link set d0 up",
    ] {
        run("ip", line.split_whitespace());
    }
}

fn put(api: &Api, state: &str, group: &str) -> (u16, Value) {
    let body = json!({"interface": "d0", "sync_id": 7, "multicast_group": group});
    api.send(
        "PUT",
        &format!("/v1/sync-daemons/{state}"),
        &[],
        Some(&body),
    )
}

fn interface_state(api: &Api, state: &str) -> String {
    let (status, daemon) = api.fetch(&format!("/v1/sync-daemons/{state}"));
    assert_eq!(status, 200, "{daemon}");
    let (_, list) = api.fetch("/v1/sync-daemons");
    let listed = list["sync_daemons"].as_array().unwrap();
    assert!(listed.contains(&daemon), "{list} {daemon}");
    daemon["interface_state"].as_str().unwrap().to_owned()
}

fn start_by_ipvsadm(state: &str, group: &str) {
    let line =
        format!("--start-daemon {state} --mcast-interface d0 --syncid 7 --mcast-group {group}");
    run("ipvsadm", line.split_whitespace());
}

#[test]
fn put_restarts_a_daemon_whose_interface_was_deleted_and_created_again() {
    for group in GROUPS {
        for state in ["master", "backup"] {
            Namespace::new().run(|| {
                add_interface();
                let api = Api::start(Interface::Http);
                let (status, started) = put(&api, state, group);
                assert_eq!(status, 201, "{started}");
                assert_eq!(started["interface_state"], "ok", "{started}");
                let (status, same) = put(&api, state, group);
                assert_eq!((status, &same["changed"]), (200, &json!(false)), "{same}");
                let text = lists("-L --daemon");

                run("ip", ["link", "del", "d0"]);
                assert_eq!(interface_state(&api, state), "missing");
                // It cannot be started on an interface that does not exist, so it is not stopped.
                let (status, problem) = put(&api, state, group);
                assert_eq!(status, 400, "{problem}");
                assert_eq!(problem["errors"][0]["field"], "interface", "{problem}");
                assert_eq!(lists("-L --daemon"), text);

                add_interface();
                assert_eq!(interface_state(&api, state), "replaced");
                let (status, restarted) = put(&api, state, group);
                assert_eq!(status, 200, "{restarted}");
                assert_eq!(restarted["changed"], true, "{restarted}");
                assert_eq!(restarted["interface_state"], "ok", "{restarted}");
                assert_eq!(interface_state(&api, state), "ok");
                let (_, same) = put(&api, state, group);
                assert_eq!(same["changed"], false, "{same}");
                assert_eq!(lists("-L --daemon"), text);
            });
        }
    }
}

#[test]
fn the_interface_of_a_backup_that_another_program_started_is_known() {
    for group in GROUPS {
        Namespace::new().run(|| {
            add_interface();
            start_by_ipvsadm("backup", group);
            run("ip", ["link", "del", "d0"]);
            add_interface();
            // The daemon starts after the interface was replaced.
            let api = Api::start(Interface::Http);
            assert_eq!(interface_state(&api, "backup"), "replaced");
            let (_, restarted) = put(&api, "backup", group);
            assert_eq!(restarted["changed"], true, "{restarted}");
            run("ipvsadm", ["--stop-daemon", "backup"]);
            run("ip", ["link", "del", "d0"]);
            add_interface();
            start_by_ipvsadm("backup", group);
            assert_eq!(interface_state(&api, "backup"), "ok");
        });
    }
}

#[test]
fn the_interface_of_a_master_that_another_program_started_is_unknown_until_it_is_replaced() {
    for group in GROUPS {
        Namespace::new().run(|| {
            add_interface();
            start_by_ipvsadm("master", group);
            let api = Api::start(Interface::Http);
            assert_eq!(interface_state(&api, "master"), "unknown");
            let (_, same) = put(&api, "master", group);
            assert_eq!(same["changed"], false, "{same}");
            run("ip", ["link", "del", "d0"]);
            add_interface();
            assert_eq!(interface_state(&api, "master"), "replaced");
            // Another program restarts it on the present interface.
            run("ipvsadm", ["--stop-daemon", "master"]);
            start_by_ipvsadm("master", group);
            assert_eq!(interface_state(&api, "master"), "unknown");
            run("ipvsadm", ["--stop-daemon", "master"]);
            let (status, started) = put(&api, "master", group);
            assert_eq!(status, 201, "{started}");
            assert_eq!(interface_state(&api, "master"), "ok");
        });
    }
}

#[test]
fn an_apply_and_a_put_agree_about_a_daemon_whose_interface_is_missing() {
    for state in ["master", "backup"] {
        Namespace::new().run(|| {
            add_interface();
            let api = Api::start(Interface::Http);
            let daemon = json!({"state": state, "interface": "d0", "sync_id": 7});
            let table = json!({"services": [], "sync_daemons": [daemon]});
            let apply = || api.send("PUT", "/v1/tables/net", &[], Some(&table));
            let (_, applied) = apply();
            assert_eq!(applied["outcome"], "applied", "{applied}");
            let text = lists("-L --daemon");

            run("ip", ["link", "del", "d0"]);
            let (status, problem) = apply();
            assert_eq!((status, &problem["outcome"]), (400, &json!("rolled_back")));
            let error = &problem["operations"][0]["error"];
            assert_eq!(error["reason"], "INVALID_ARGUMENT", "{problem}");
            assert_eq!(put(&api, state, GROUPS[0]).0, 400);
            assert_eq!(lists("-L --daemon"), text, "it runs on");

            add_interface();
            let (_, applied) = apply();
            assert_eq!(applied["outcome"], "applied", "{applied}");
            assert_eq!(interface_state(&api, state), "ok");
            assert_eq!(lists("-L --daemon"), text);
        });
    }
}

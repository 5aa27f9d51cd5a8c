//! The managed network namespace is deleted, created again, or missing at the start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};

use crate::support::{
    Namespace,
    api::{Api, Interface, Refusal, Request},
    daemon::Daemon,
    run, until,
};

fn create() -> Request {
    Request::CreateService(json!({"id": "tcp-10.0.0.1-80", "scheduler": "rr"}))
}

fn delete(name: &str) {
    run("ip", ["netns", "del", name]);
}

/// The daemon, outside of the namespace that it manages.
fn managing(name: &str, interface: Interface) -> (Namespace, Api) {
    let outside = Namespace::new();
    let api = outside.run(|| Api::with(interface, Daemon::start(&["--netns", name])));
    (outside, api)
}

fn assert_missing(refusal: &Refusal, name: &str) {
    assert_eq!(refusal.reason, "KERNEL_UNAVAILABLE", "{refusal:?}");
    assert!(refusal.detail.contains(name), "{refusal:?}");
    let hint = refusal.hint.as_deref().unwrap();
    assert!(hint.contains(&format!("ip netns add {name}")), "{hint}");
}

#[test]
fn a_namespace_that_is_deleted_and_created_again_is_entered_again() {
    for interface in [Interface::Http, Interface::Grpc] {
        let old = Namespace::named("again");
        let (outside, api) = managing("again", interface);
        outside.run(|| {
            api.write(&create()).unwrap();
            assert_eq!(old.save(), "-A -t 10.0.0.1:80 -s rr\n");
            let counted = || interface != Interface::Http || api.fetch("/v1/stats").0 == 200;
            assert!(counted());
            delete("again");
            let new = Namespace::named("again");

            assert!(counted());
            api.write(&create()).unwrap();
            assert_eq!(new.save(), "-A -t 10.0.0.1:80 -s rr\n", "{interface:?}");
            assert_eq!(api.services().len(), 1);
            let settings = json!({"expire_nodest_conn": true});
            api.write(&Request::UpdateSettings(settings)).unwrap();
            let setting = || std::fs::read_to_string("/proc/sys/net/ipv4/vs/expire_nodest_conn");
            assert_eq!(new.run(setting).unwrap(), "1\n");
            assert_eq!(old.run(setting).unwrap(), "0\n");
            api.write(&Request::SetTimeouts(json!({"udp_seconds": 77})))
                .unwrap();
            assert!(new.lists("-L --timeout").ends_with("900 120 77\n"));
            assert!(old.lists("-L --timeout").ends_with("900 120 300\n"));
            new.run(|| crate::support::rules("-A -f 3 -s rr"));
            assert_eq!(api.services().len(), 2);
            assert_eq!(old.save(), "-A -t 10.0.0.1:80 -s rr\n");
        });
        delete("again");
    }
}

#[test]
fn a_kept_result_of_a_replaced_namespace_is_not_returned() {
    let old = Namespace::named("kept");
    old.run(|| crate::support::rules("-A -f 3 -s rr"));
    let (outside, api) = managing("kept", Interface::Http);
    outside.run(|| {
        let services = || {
            let cached = [("cache-control", "max-age=1000")];
            let (status, list) = api.send("GET", "/v1/services", &cached, None);
            assert_eq!(status, 200, "{list}");
            list["services"].as_array().unwrap().len()
        };
        assert_eq!(services(), 1);
        delete("kept");
        let _new = Namespace::named("kept");
        assert_eq!(services(), 0);
        assert_eq!(api.fetch("/readyz").0, 200);
    });
    delete("kept");
}

#[test]
fn while_the_namespace_is_gone_requests_fail_and_name_it() {
    for interface in [Interface::Http, Interface::Grpc] {
        let old = Namespace::named("gone");
        let (outside, api) = managing("gone", interface);
        outside.run(|| {
            api.write(&create()).unwrap();
            delete("gone");
            assert_missing(&api.write(&create()).unwrap_err(), "gone");
            assert_missing(&api.try_services().unwrap_err(), "gone");
            let settings = Request::UpdateSettings(json!({"expire_nodest_conn": true}));
            assert_missing(&api.write(&settings).unwrap_err(), "gone");
            if interface == Interface::Http {
                for path in ["/readyz", "/v1/settings", "/v1/connections", "/v1/info"] {
                    let (status, problem) = api.fetch(path);
                    assert_eq!(status, 503, "{path} {problem}");
                    let detail = problem["detail"].as_str().unwrap();
                    assert!(detail.contains("gone"), "{path} {detail}");
                }
                assert_eq!(api.fetch("/healthz").0, 200);
            }
            assert_eq!(old.save(), "-A -t 10.0.0.1:80 -s rr\n");

            let new = Namespace::named("gone");
            api.write(&create()).unwrap();
            assert_eq!(new.save(), "-A -t 10.0.0.1:80 -s rr\n");
            if interface == Interface::Http {
                assert_eq!(api.fetch("/readyz").0, 200);
                let (status, connections) = api.fetch("/v1/connections");
                assert_eq!((status, &connections["connections"]), (200, &json!([])));
            }
        });
        delete("gone");
    }
}

#[test]
fn a_namespace_that_is_missing_at_the_start_is_waited_for() {
    let (outside, api) = managing("later", Interface::Http);
    outside.run(|| {
        let (status, problem) = api.fetch("/readyz");
        assert_eq!(status, 503, "{problem}");
        assert_eq!(problem["reason"], "KERNEL_UNAVAILABLE");
        assert!(problem["detail"].as_str().unwrap().contains("later"));
        assert_missing(&api.write(&create()).unwrap_err(), "later");
        let later = Namespace::named("later");
        assert_eq!(api.services(), [] as [Value; 0]);
        assert_eq!(api.fetch("/readyz").0, 200);
        api.write(&create()).unwrap();
        assert_eq!(later.save(), "-A -t 10.0.0.1:80 -s rr\n");
    });
    delete("later");
}

#[test]
fn a_deleted_namespace_ends_although_no_request_arrives() {
    let old = Namespace::named("ends");
    let (outside, api) = managing("ends", Interface::Http);
    outside.link("peer", &old, "inside");
    outside.run(|| {
        api.write(&create()).unwrap();
        drop(old);
        delete("ends");
        // The kernel deletes both ends of the pair with the namespace.
        until("the namespace ends", || {
            match std::fs::read_to_string("/proc/thread-self/net/dev").unwrap() {
                devices if devices.contains("peer") => Err(devices),
                _ => Ok(()),
            }
        });
    });
}

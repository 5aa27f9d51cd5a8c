//! What the kernel makes of settings, and what is reported about them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{
    Namespace,
    api::{Api, Interface, Refusal, Request},
    run,
};

const DIRECTORY: &str = "/proc/sys/net/ipv4/vs";

fn set(api: &Api, settings: Value) -> Result<Value, Refusal> {
    api.write(&Request::UpdateSettings(settings))
}

fn has(name: &str) -> bool {
    Path::new(DIRECTORY).join(name).exists()
}

#[test]
fn a_value_that_the_kernel_replaces_is_a_change_only_if_the_setting_changed() {
    Namespace::new().run(|| {
        let api = Api::start(Interface::Http);
        for name in ["drop_entry", "drop_packet", "secure_tcp"] {
            let written = set(&api, json!({name: 2})).unwrap();
            assert_eq!(
                (&written[name], &written["changed"]),
                (&json!(1), &json!(true))
            );
            // Memory is not low: the kernel makes 1 of 2.
            let again = set(&api, json!({name: 2})).unwrap();
            assert_eq!(
                (&again[name], &again["changed"]),
                (&json!(1), &json!(false))
            );
        }
    });
}

#[test]
fn a_value_that_the_kernel_rejects_is_an_invalid_argument_whatever_the_errno() {
    Namespace::new().run(|| {
        let mut api = Api::start(Interface::Http);
        for interface in [Interface::Http, Interface::Grpc] {
            api = {
                drop(api);
                Api::start(interface)
            };
            // EINVAL
            let refusal = set(&api, json!({"sync_ports": 3})).unwrap_err();
            assert_eq!(refusal.reason, "INVALID_ARGUMENT", "{refusal:?}");
            assert!(refusal.names("sync_ports"), "{refusal:?}");
            // This machine has one CPU.
            for (list, errno) in [
                ("5", "ERANGE"),
                ("0-5", "ERANGE"),
                ("4294967296", "EOVERFLOW"),
                ("x", "EINVAL"),
            ] {
                let refusal = set(&api, json!({"est_cpulist": list})).unwrap_err();
                let reason = match has("est_cpulist") {
                    true => "INVALID_ARGUMENT",
                    false => "UNSUPPORTED_BY_KERNEL",
                };
                assert_eq!(refusal.reason, reason, "{list} {refusal:?}");
                assert!(refusal.names("est_cpulist"), "{list} {refusal:?}");
                if has("est_cpulist") {
                    assert_eq!(refusal.errno.as_deref(), Some(errno), "{list} {refusal:?}");
                    assert!(refusal.hint.unwrap().contains("CPUs"));
                }
            }
        }
    });
}

#[test]
fn a_setting_that_is_read_only_is_not_blamed_on_the_user_of_the_daemon() {
    Namespace::new().run(|| {
        let api = Api::start(Interface::App);
        // Shared by all namespaces: read-only in all but the first. A kernel without
        // CONFIG_IP_VS_DEBUG does not have it.
        let refusal = set(&api, json!({"debug_level": 3})).unwrap_err();
        let reason = match has("debug_level") {
            true => "KERNEL_UNAVAILABLE",
            false => "UNSUPPORTED_BY_KERNEL",
        };
        assert_eq!(refusal.reason, reason, "{refusal:?}");
        if has("debug_level") {
            assert_eq!(refusal.errno.as_deref(), Some("EACCES"), "{refusal:?}");
            assert!(refusal.hint.unwrap().contains("read-only"));
        }
    });
    // A read-only /proc/sys, as in a container or with ProtectKernelTunables=yes.
    Namespace::new().run(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        run("mount", ["--make-rprivate", "/"]);
        run("mount", ["--bind", "/proc/sys", "/proc/sys"]);
        run("mount", ["-o", "remount,ro,bind", "/proc/sys"]);
        let api = Api::start(Interface::Http);
        let refusal = set(&api, json!({"backup_only": true})).unwrap_err();
        assert_eq!(refusal.reason, "KERNEL_UNAVAILABLE", "{refusal:?}");
        assert_eq!(refusal.errno.as_deref(), Some("EROFS"), "{refusal:?}");
        assert!(refusal.hint.unwrap().contains("ProtectKernelTunables"));
    });
}

#[test]
fn estimation_is_false_while_no_cpu_estimates() {
    Namespace::new().run(|| {
        let api = Api::start(Interface::Http);
        let estimation = || {
            let of = |path: &str, pointer: &str| {
                let (status, body) = api.fetch(path);
                assert_eq!(status, 200, "{body}");
                body.pointer(pointer).and_then(Value::as_bool).unwrap()
            };
            let all = [
                of("/v1/services?include=stats", "/estimation"),
                of("/v1/stats", "/estimation"),
                of("/v1/info", "/kernel/estimation"),
            ];
            assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
            all[0]
        };
        assert!(estimation());
        set(&api, json!({"run_estimation": false})).unwrap();
        assert!(!estimation());
        set(&api, json!({"run_estimation": true})).unwrap();
        assert!(estimation());
        if !has("est_cpulist") {
            // Before Linux 6.2, a timer estimates.
            let refusal = set(&api, json!({"est_cpulist": ""})).unwrap_err();
            assert_eq!(refusal.reason, "UNSUPPORTED_BY_KERNEL");
            return;
        }
        set(&api, json!({"est_cpulist": ""})).unwrap();
        let (_, settings) = api.fetch("/v1/settings");
        assert_eq!(settings["run_estimation"], true);
        assert!(!estimation(), "{settings}");
        set(&api, json!({"est_cpulist": "0"})).unwrap();
        assert!(estimation());
    });
}

//! The module ip_vs is unloaded and loaded again. One test, since all namespaces share the module.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;

use crate::support::{
    Namespace,
    api::{Api, Interface, Request},
    lists, run, until,
};

const LOADER: &str = "/proc/sys/kernel/modprobe";

#[test]
#[ignore = "unloads ip_vs: runs alone"]
fn the_daemon_survives_unloading_of_the_module_and_recovers() {
    Namespace::new().run(|| {
        let loader = std::fs::read_to_string(LOADER).unwrap();
        let service = json!({"id": "tcp-10.0.0.1-80", "scheduler": "rr"});
        let create = Request::CreateService(service);
        let delete = Request::DeleteService("tcp-10.0.0.1-80".to_owned());
        for interface in [Interface::App, Interface::Http, Interface::Grpc] {
            let api = Api::start(interface);
            api.write(&create).unwrap();
            assert_eq!(api.services().len(), 1);

            // The kernel loads it on request, with another generic netlink family id.
            api.write(&delete).unwrap();
            run("rmmod", ["ip_vs_rr", "ip_vs"]);
            api.write(&create).unwrap();
            assert_eq!(lists("-S -n"), "-A -t 10.0.0.1:80 -s rr\n");
            api.write(&delete).unwrap();
            run("rmmod", ["ip_vs_rr", "ip_vs"]);
            assert_eq!(api.services().len(), 0);

            // Without a loader, requests fail.
            std::fs::write(LOADER, "/bin/false").unwrap();
            run("rmmod", ["ip_vs"]);
            let refusals = [
                api.try_services().map(drop),
                api.write(&create).map(drop),
                api.write(&delete).map(drop),
                api.try_services().map(drop),
            ];
            for refusal in refusals {
                let refusal = refusal.unwrap_err();
                assert_eq!(refusal.reason, "KERNEL_UNAVAILABLE", "{refusal:?}");
                assert_eq!(refusal.errno.as_deref(), Some("ENOENT"));
                let hint = refusal.hint.unwrap();
                assert!(hint.contains("modprobe ip_vs"), "{hint}");
            }
            if interface == Interface::Http {
                assert_eq!(api.fetch("/healthz").0, 200);
                assert_eq!(api.fetch("/readyz").0, 503);
                assert_eq!(api.fetch("/v1/settings").0, 503);
                assert_eq!(api.fetch("/v1/connections").0, 503);
            }
            std::fs::write(LOADER, loader.trim()).unwrap();
            run("modprobe", ["ip_vs"]);
            until("the daemon recovers", || {
                api.try_services().map_err(|refusal| refusal.detail)
            });
            api.write(&create).unwrap();
            assert_eq!(lists("-S -n"), "-A -t 10.0.0.1:80 -s rr\n");
            api.write(&delete).unwrap();
        }
    });
}

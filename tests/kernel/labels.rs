//! Labels of services beside the kernel's table: what the real ipvsadm does to a service, and what a daemon that was
//! killed finds again.

use serde_json::{Value, json};

use crate::support::{Folder, Namespace, api::Api, daemon::Daemon, lists, rules, until};

const WEB: &str = "tcp-192.0.2.1-80";
const DB: &str = "fwmark-7";
const OTHER: &str = "tcp-192.0.2.9-80";

fn start(folder: &Folder) -> Api {
    Api::of(Daemon::with_state(folder, &[]))
}

/// The labels that a service has in a read of it.
fn labels(api: &Api, service: &str) -> Value {
    let (status, read) = api.fetch(&format!("/v1/services/{service}"));
    assert_eq!(status, 200, "{read}");
    read["labels"].clone()
}

/// The services of a list with this filter, sorted.
fn selected(api: &Api, label: &str) -> Vec<String> {
    let (status, list) = api.fetch(&format!("/v1/services?include=none&label={label}"));
    assert_eq!(status, 200, "{list}");
    let services = list["services"].as_array().unwrap().iter();
    let mut ids: Vec<_> = services
        .map(|service| service["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

/// Waits until the start of the daemon has dropped labels: it is a change, which is recorded.
pub fn dropped(api: &Api) {
    until("the start drops labels", || {
        let (_, trail) = api.fetch("/v1/audit");
        let mut records = trail["records"].as_array().unwrap().iter();
        match records.any(|record| record["request_id"] == "unused-fields") {
            true => Ok(()),
            false => Err(trail.to_string()),
        }
    });
}

#[test]
fn labels_are_kept_with_the_services_of_the_kernel() {
    let folder = Folder::new("labels");
    Namespace::new().run(|| {
        rules("-A -t 192.0.2.9:80 -s rr\n");
        let api = start(&folder);
        let web = json!({"team": "web", "env": "dev"});
        let body = json!({"id": WEB, "scheduler": "rr", "labels": web});
        assert_eq!(api.send_json("POST", "/v1/services", &body)["labels"], web);
        let body = json!({"id": DB, "scheduler": "rr", "labels": {"team": "db"}});
        api.send_json("POST", "/v1/services", &body);
        assert_eq!(selected(&api, "team=web"), [WEB]);
        assert_eq!(selected(&api, "team"), [DB, WEB]);
        assert_eq!(selected(&api, "team!=web"), [DB, OTHER]);
        assert_eq!(selected(&api, "!team"), [OTHER]);
        let text = lists("-S -n");
        let patch = json!({"labels": {"env": null, "tier": "1"}});
        api.send_json("PATCH", &format!("/v1/services/{WEB}"), &patch);
        assert_eq!(lists("-S -n"), text, "the kernel has no labels");
        let web = json!({"team": "web", "tier": "1"});
        assert_eq!(labels(&api, WEB), web);

        // Another program changes a service, and deletes it and creates it again.
        rules("-E -t 192.0.2.1:80 -s wrr\n");
        assert_eq!(labels(&api, WEB), web);
        rules("-D -t 192.0.2.1:80\n-A -t 192.0.2.1:80 -s rr\n");
        assert_eq!(labels(&api, WEB), web);
        // The daemon is killed.
        drop(api);
        let api = start(&folder);
        assert_eq!(labels(&api, WEB), web);
        assert_eq!(selected(&api, "team=db"), [DB]);

        // A service that the daemon has deleted is another one when it is created again.
        let headers = [("x-request-id", "test")];
        let (status, _) = api.send("DELETE", &format!("/v1/services/{DB}"), &headers, None);
        assert!((200..300).contains(&status), "{status}");
        rules("-A -f 7 -s rr\n");
        assert_eq!(labels(&api, DB), Value::Null);
        // So is one that does not exist when the daemon starts.
        drop(api);
        rules("-D -t 192.0.2.1:80\n");
        let api = start(&folder);
        dropped(&api);
        rules("-A -t 192.0.2.1:80 -s rr\n");
        assert_eq!(labels(&api, WEB), Value::Null);
        assert_eq!(selected(&api, "team"), [""; 0]);
    });
}

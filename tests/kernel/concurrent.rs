//! Writes while ipvsadm changes the same objects; a replacement of the table by its own text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::thread;

use serde_json::{Value, json};

use crate::support::{
    Namespace,
    api::{Api, Interface, Request},
    ipvsadm, lists, rules, until,
    world::{World, echo},
};

const SERVICE: &str = "tcp-10.0.0.1-80";

/// Runs `request` with the numbers from 0 on until another thread has run these command lines of
/// ipvsadm `rounds` times.
fn beside(namespace: &Namespace, lines: &[&str], rounds: usize, mut request: impl FnMut(usize)) {
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            namespace.run(|| {
                for _ in 0..rounds {
                    for line in lines {
                        // It fails when the object is not as it expects.
                        ipvsadm(line, "");
                    }
                }
            });
        });
        for i in 0.. {
            if other.is_finished() {
                return;
            }
            request(i);
        }
    });
}

#[test]
fn put_succeeds_while_ipvsadm_deletes_and_creates_the_service() {
    let namespace = Namespace::new();
    let lines = ["-A -t 10.0.0.1:80 -s rr", "-D -t 10.0.0.1:80"];
    namespace.run(|| {
        let api = Api::start(Interface::App);
        beside(&namespace, &lines, 50, |i| {
            let scheduler = ["sh", "wlc"][i % 2];
            let servers = json!([{"address": "10.1.1.1", "weight": i % 7}]);
            let body = json!({"scheduler": scheduler, "servers": servers});
            let request = Request::ReplaceService(SERVICE.to_owned(), body);
            let written = api.write(&request);
            let written = written.unwrap_or_else(|error| panic!("{i}: {error:?}"));
            assert_eq!(written["scheduler"], scheduler, "{i}: {written}");
        });
    });
}

#[test]
fn patch_reverts_no_field_that_ipvsadm_sets() {
    let namespace = Namespace::new();
    namespace.run(|| {
        rules("-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.1.1:80 -m");
        let api = Api::start(Interface::App);
        let mut reverted = 0;
        for i in 1..=200 {
            let line = format!("-e -t 10.0.0.1:80 -r 10.1.1.1:80 -m -w 1 -x {i}");
            beside(&namespace, &[&line], 1, |weight| {
                let body = json!({"weight": weight % 1000 + 2});
                let (service, server) = (SERVICE.to_owned(), "10.1.1.1-80".to_owned());
                api.write(&Request::UpdateServer(service, server, body))
                    .unwrap();
            });
            let services = api.services();
            reverted += usize::from(services[0]["servers"][0]["upper_threshold"] != i);
        }
        // What remains is a change between two messages of one send.
        println!("{reverted} of 200 changes of ipvsadm were reverted");
        assert!(reverted <= 1, "{reverted}");
    });
}

#[test]
fn what_ipvsadm_has_set_can_be_put_and_restored() {
    Namespace::new().run(|| {
        rules(
            "-A -t 10.0.0.1:80 -s rr\n\
             -a -t 10.0.0.1:80 -r 10.1.1.1:80 -m -w 100000\n\
             -a -t 10.0.0.1:80 -r 10.1.1.2:80 -m -w 2147483647\n",
        );
        let saved = lists("-S -n");
        let api = Api::start(Interface::Http);
        let (status, body) = api.fetch(&format!("/v1/services/{SERVICE}"));
        assert_eq!(status, 200);
        let put = Request::ReplaceService(SERVICE.to_owned(), body);
        assert_eq!(api.write(&put).unwrap()["changed"], false);
        let text = [("content-type", "text/plain"), ("x-request-id", "1")];
        let (_, rules) = api.fetch("/v1/rules");
        let (status, answer) = api.send("POST", "/v1/rules?clear=true", &text, Some(&rules));
        assert_eq!(status, 200, "{answer}");
        assert_eq!(lists("-S -n"), saved);
    });
}

#[test]
fn a_table_that_is_replaced_by_its_own_text_keeps_counters_and_connections() {
    let world = World::new();
    world.director.run(|| {
        rules(
            "-A -t 10.9.0.100:80 -s rr\n\
             -a -t 10.9.0.100:80 -r 10.1.0.11:80 -m\n\
             -A -f 9 -s wlc -p 60\n",
        );
        let api = Api::start(Interface::Http);
        let mut stream = world.connect("10.9.0.100:80");
        let counted = |api: &Api| -> Value {
            let (_, body) = api.fetch("/v1/services/tcp-10.9.0.100-80?include=servers,stats");
            let (service, server) = (&body["stats"], &body["servers"][0]);
            json!([
                service["connections"],
                server["stats"]["connections"],
                server["active_connections"]
            ])
        };
        let before = json!([1, 1, 1]);
        // The kernel sums up counters every two seconds.
        until("the connection is counted", || match counted(&api) {
            counts if counts == before => Ok(()),
            counts => Err(counts.to_string()),
        });
        let text = [("content-type", "text/plain"), ("x-request-id", "1")];
        let (_, rules) = api.fetch("/v1/rules");
        let (status, answer) = api.send("PUT", "/v1/rules", &text, Some(&rules));
        assert_eq!(
            (status, &answer["changed"]),
            (200, &json!(false)),
            "{answer}"
        );
        assert_eq!(counted(&api), before);
        // An edit keeps them too.
        let edited = rules.as_str().unwrap().replace("-s rr", "-s wrr");
        let edited = edited.replace("-w 1", "-w 7").into();
        let (_, answer) = api.send("PUT", "/v1/rules", &text, Some(&edited));
        assert_eq!(answer["updated"], 2, "{answer}");
        assert_eq!(counted(&api), before);
        echo(&mut stream);
    });
}

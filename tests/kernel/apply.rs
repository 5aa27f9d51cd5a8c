//! Clients of a service while its servers, weights and scheduler change: what an apply loses, and what a flush and
//! restore of the table loses.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    Namespace,
    api::Api,
    daemon::Daemon,
    ipvsadm, rules, until,
    web::{self, Http},
    world::World,
};

/// Clients that make requests without pause, each with a connection of its own.
const CLIENTS: usize = 20;
/// Connections that are kept.
const KEPT: usize = 5;
/// Answers that the clients get before the change and after it.
const ANSWERS: usize = 300;
/// A request that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Scheduler, servers by the last byte of their address, and weights.
type Service = (&'static str, Vec<(u8, usize)>);

/// What clients have seen.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    lost: AtomicUsize,
    ended: AtomicUsize,
    is_over: AtomicBool,
}

fn service() -> SocketAddr {
    SocketAddr::new([10, 9, 0, 100].into(), web::PORT)
}

fn address(server: u8) -> String {
    format!("10.1.0.{server}")
}

fn table((scheduler, servers): &Service) -> Value {
    let server = |(n, weight): &(u8, usize)| {
        let address = address(*n);
        json!({"address": address, "forwarding": "masquerade", "weight": weight})
    };
    let servers: Vec<_> = servers.iter().map(server).collect();
    let service = json!({"id": "tcp-10.9.0.100-8080", "scheduler": scheduler, "servers": servers});
    json!({"services": [service], "removal": "drain"})
}

fn text((scheduler, servers): &Service) -> String {
    let servers = servers.iter().map(|(n, weight)| {
        format!(
            "-a -t {} -r {}:8080 -m -w {weight}\n",
            service(),
            address(*n)
        )
    });
    format!(
        "-A -t {} -s {scheduler}\n{}",
        service(),
        servers.collect::<String>()
    )
}

fn put(api: &Api, service: &Service) -> Value {
    let headers = [("content-type", "application/json")];
    let (status, answer) = api.send("PUT", "/v1/tables/web", &headers, Some(&table(service)));
    assert_eq!(
        (status, &answer["outcome"]),
        (200, &json!("applied")),
        "{answer}"
    );
    answer
}

impl Seen {
    fn request(&self) {
        let answer = Http::connect(service(), PATIENCE).and_then(|mut http| http.server());
        let count = if answer.is_ok() {
            &self.answered
        } else {
            &self.lost
        };
        count.fetch_add(1, Relaxed);
    }

    fn start(self: &Arc<Self>, client: &Namespace) {
        for _ in 0..CLIENTS {
            let seen = self.clone();
            client.spawn(move || {
                while !seen.is_over.load(Relaxed) {
                    seen.request();
                }
                seen.ended.fetch_add(1, Relaxed);
            });
        }
    }

    fn wait(&self, what: &str, count: &AtomicUsize, least: usize) {
        until(what, || match count.load(Relaxed) {
            enough if enough >= least => Ok(()),
            count => Err(format!("{count}, and {} lost", self.lost.load(Relaxed))),
        });
    }
}

/// Changes 30 % of the servers, the scheduler and all weights meanwhile. Returns the answered requests, the lost ones,
/// and the kept connections that were cut.
fn observe(change: impl Fn(&Api, &Service) + Sync) -> (usize, usize, usize) {
    let world = World::new();
    for n in 12..=23 {
        world
            .server
            .ip(&format!("addr add {}/24 dev net", address(n)));
    }
    web::serve(&world.server);
    world.director.run(|| {
        let before = ("rr", (11..=20).map(|n| (n, 1)).collect());
        let api = Api::of(Daemon::start(&[]));
        put(&api, &before);
        let connect = || {
            let mut http = world
                .client
                .run(|| Http::connect(service(), PATIENCE))
                .unwrap();
            let server = http.server().unwrap();
            (http, server)
        };
        let kept: Vec<_> = (0..KEPT).map(|_| connect()).collect();
        // Two servers with a kept connection, and one without.
        let has_kept = |n: &u8| kept.iter().any(|(_, server)| *server == address(*n));
        let (with, without): (Vec<u8>, Vec<u8>) = (11..=20).partition(has_kept);
        let removed = [with[0], with[1], without[0]];
        let of_before = (11..=20).filter(|n| !removed.contains(n));
        let servers = of_before
            .chain(21..=23)
            .map(|n| (n, 2 + usize::from(n) % 3));
        let after = ("wrr", servers.collect());

        let seen = Arc::new(Seen::default());
        seen.start(&world.client);
        seen.wait("requests before", &seen.answered, ANSWERS);
        change(&api, &after);
        let now = seen.answered.load(Relaxed);
        seen.wait("requests after", &seen.answered, now + ANSWERS);
        seen.is_over.store(true, Relaxed);
        seen.wait("the clients end", &seen.ended, CLIENTS);
        let cut = thread::scope(|scope| {
            let is_cut = |(mut http, server): (Http, String)| {
                scope.spawn(move || http.server().ok().is_none_or(|now| now != server))
            };
            let asked: Vec<_> = kept.into_iter().map(is_cut).collect();
            let cut = asked.into_iter().map(|asked| asked.join().unwrap());
            cut.filter(|cut| *cut).count()
        });
        (seen.answered.load(Relaxed), seen.lost.load(Relaxed), cut)
    })
}

/// Declares the new table. The servers that it does not have any more are drained, and their kept connections go on.
fn apply(api: &Api, after: &Service) {
    let applied = put(api, after);
    assert_eq!(
        applied["summary"],
        json!({"create": 3, "update": 8, "delete": 0, "unchanged": 0, "draining": 3}),
    );
}

/// Removes all services and restores the new ones, as with `ipvsadm-restore`.
fn flush_and_restore(_: &Api, after: &Service) {
    assert!(ipvsadm("-C", "").status.success());
    rules(&text(after));
}

#[test]
fn an_apply_loses_no_request_and_cuts_no_connection_but_flush_and_restore_do() {
    let (answered, lost, cut) = observe(apply);
    println!("apply: {answered} answered, {lost} lost, {cut} connections cut");
    assert_eq!((lost, cut), (0, 0));
    let (answered, lost, cut) = observe(flush_and_restore);
    println!("flush and restore: {answered} answered, {lost} lost, {cut} connections cut");
    // How many requests come while there is no service depends on the load of the machine.
    assert_eq!(cut, 2, "{lost} lost");
}

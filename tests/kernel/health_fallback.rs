//! Fallback servers of health checks: there is a server at any time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ipvsd::executor::TableQuery;
use serde_json::json;

use super::health::{SERVICE, create, service, wait_for, world};
use crate::support::{
    Folder, SOON,
    api::Api,
    daemon::Daemon,
    executor,
    failing::{Mode, Server, ask},
    until,
};

const FALLBACK: &str = "10.1.0.14";

/// Reads the kernel's table again and again, until it is stopped. Returns the number of reads, and those of a service
/// without a server that gets connections.
struct Sampler {
    ends: Arc<AtomicBool>,
    thread: thread::JoinHandle<(usize, Vec<String>)>,
}

impl Sampler {
    /// In the namespace of this thread.
    fn start() -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (stop, executor) = (ends.clone(), executor());
        let thread = thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            let (mut count, mut unserved) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let deadline = Instant::now() + SOON;
                let read = executor.reader.read(TableQuery, Duration::ZERO, deadline);
                let table = runtime.block_on(read).unwrap().value;
                for entry in table.iter() {
                    let mut servers = entry.servers.iter();
                    if !servers.any(|server| server.effective_weight > 0) {
                        unserved.push(format!("{:?}", entry.servers));
                    }
                }
                count += 1;
            }
            (count, unserved)
        });
        Self { ends, thread }
    }

    fn stop(self) -> usize {
        self.ends.store(true, Ordering::Relaxed);
        let (count, unserved) = self.thread.join().unwrap();
        assert!(
            unserved.is_empty(),
            "{} of {count}: {}",
            unserved.len(),
            unserved[0]
        );
        count
    }
}

/// Waits until the fallback server has this weight in the kernel; `None`: it is not there, or gets nothing.
fn wait_for_fallback(api: &Api, expected: Option<u64>) {
    until("the fallback server", || {
        let (_, service) = api.fetch(&format!("/v1/services/{SERVICE}"));
        let servers = service["servers"].as_array().unwrap().iter();
        let mut servers = servers.filter(|server| server["membership"] == "fallback");
        let weight = servers
            .next()
            .and_then(|server| server["effective_weight"].as_u64());
        match weight.filter(|weight| *weight > 0) == expected {
            true => Ok(()),
            false => Err(service.to_string()),
        }
    });
}

#[test]
fn there_is_a_server_at_any_time_while_a_fallback_server_stands_in() {
    let (world, servers) = world(None);
    world.server.ip(&format!("addr add {FALLBACK}/24 dev net"));
    let _fallback = Server::start(&world, format!("{FALLBACK}:8080").parse().unwrap(), None);
    let set = |mode| servers.iter().for_each(|server| server.set(&world, mode));
    let ask = || world.client.run(|| ask(service(), None)).result.unwrap();
    let folder = Folder::new("fallback");
    world.director.run(|| {
        let api = Api::of(Daemon::with_state(&folder, &[]));
        let fallback =
            json!([{"address": FALLBACK, "port": 8080, "forwarding": "masquerade", "weight": 3}]);
        create(&api, json!({"fallback_servers": fallback}));
        let sampler = Sampler::start();
        for mode in [Mode::Error, Mode::Hang] {
            set(mode);
            wait_for_fallback(&api, Some(3));
            for _ in 0..4 {
                assert_eq!(ask(), FALLBACK, "{mode:?}");
            }
            set(Mode::Good);
            wait_for_fallback(&api, None);
            wait_for(&api, ["up", "up", "up"]);
            for _ in 0..12 {
                assert_ne!(ask(), FALLBACK, "{mode:?}");
            }
        }
        // It is killed while it stands in.
        set(Mode::Error);
        wait_for_fallback(&api, Some(3));
        drop(api);
        let api = Api::of(Daemon::with_state(&folder, &[]));
        wait_for(&api, ["down", "down", "down"]);
        wait_for_fallback(&api, Some(3));
        assert_eq!(ask(), FALLBACK);
        set(Mode::Good);
        wait_for_fallback(&api, None);
        println!("{} reads, each with a server", sampler.stop());
        let path = format!("/v1/services/{SERVICE}");
        let deleted = api.send("DELETE", &path, &[("x-request-id", "t")], None);
        assert!((200..300).contains(&deleted.0), "{deleted:?}");
        assert_eq!(world.director.save(), "");
    });
}

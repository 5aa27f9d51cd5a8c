//! Two owners, ipvsadm and keepalived change one table at once: nothing touches what is another's, and who watches sees
//! all of it.
//!
//! `IPVSD_TEST_OPERATIONS` is the number of operations of all four.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Folder, Namespace, Random, daemon::Daemon, http::Http, lists, rules, until, watch::Watch,
};

/// Part of the table, service and server, each as a byte of the addresses; server 0 is the service itself.
type Object = (u8, u8, u8);
/// Weights; that of a service is 0.
type Objects = BTreeMap<Object, u64>;

/// The parts of the owners.
const OWNERS: [(u8, &str); 2] = [(1, "alpha"), (2, "beta")];
/// The parts of ipvsadm and of keepalived.
const OTHERS: [u8; 2] = [3, 4];
/// Services of a part.
const SERVICES: u8 = 4;
/// Servers of a service.
const SERVERS: u64 = 20;
/// Longest time between two dumps for watchers.
const DUMP_INTERVAL: &str = "100ms";

fn operations() -> usize {
    let set = std::env::var("IPVSD_TEST_OPERATIONS");
    set.map_or(600, |number| number.parse().unwrap())
}

/// `IDENTIFIER` or `ADDRESS:PORT` of a service, and those of a server.
fn object(service: &str, server: Option<&str>) -> Object {
    let bytes = |name: &str| -> Vec<u8> {
        let numbers = name.split(|c: char| !c.is_ascii_digit());
        numbers.filter_map(|number| number.parse().ok()).collect()
    };
    match server {
        None => {
            let address = bytes(service);
            (address[2], address[3], 0)
        }
        Some(server) => {
            let address = bytes(server);
            (address[1], address[2], address[3])
        }
    }
}

fn service_of((part, service, _): Object) -> String {
    format!("192.0.{part}.{service}")
}

fn server_of((part, service, server): Object) -> String {
    format!("10.{part}.{service}.{server}")
}

fn of(objects: &Objects, part: u8) -> Objects {
    let range = (part, 0, 0)..(part + 1, 0, 0);
    objects
        .range(range)
        .map(|(key, value)| (*key, *value))
        .collect()
}

/// The kernel's table, as ipvsadm saves it.
fn kernel() -> Objects {
    let text = lists("-S -n");
    let line = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        match words[0] {
            "-A" => (object(words[2], None), 0),
            _ => (object(words[2], Some(words[4])), words[7].parse().unwrap()),
        }
    };
    text.lines().map(line).collect()
}

/// What one of the four has made of its part.
struct Part {
    number: u8,
    random: Random,
    objects: Objects,
    /// All its states in order, `None` where the object was deleted. No weight is there twice.
    made: Vec<(Object, Option<u64>)>,
    weight: u64,
    operations: Arc<AtomicUsize>,
}

impl Part {
    /// With the first server of each service, which are not deleted.
    fn new(number: u8, operations: &Arc<AtomicUsize>) -> Self {
        let services = (1..=SERVICES).map(|service| ((number, service, 0), 0));
        let servers = (1..=SERVICES).map(|service| ((number, service, 1), 1));
        Self {
            number,
            random: Random(number.into()),
            objects: services.chain(servers).collect(),
            made: Vec::new(),
            weight: 1,
            operations: operations.clone(),
        }
    }

    fn make(&mut self, object: Object, state: Option<u64>) {
        match state {
            Some(weight) => self.objects.insert(object, weight),
            None => self.objects.remove(&object),
        };
        self.made.push((object, state));
    }

    /// Changes an object. Returns the command of ipvsadm for it.
    fn change(&mut self, deletes_services: bool) -> String {
        let service = (self.number, 1 + self.random.below(SERVICES.into()) as u8, 0);
        let to = format!("-t {}:80", service_of(service));
        if !self.objects.contains_key(&service) {
            self.make(service, Some(0));
            return format!("-A {to} -s rr\n");
        }
        if deletes_services && service.1 > 1 && self.random.below(8) == 0 {
            let (part, service, _) = service;
            let all = (part, service, 0)..(part, service + 1, 0);
            let all: Vec<_> = self.objects.range(all).map(|(key, _)| *key).collect();
            for object in all {
                self.make(object, None);
            }
            return format!("-D {to}\n");
        }
        let server = (service.0, service.1, 1 + self.random.below(SERVERS) as u8);
        let exists = self.objects.contains_key(&server);
        let to = format!("{to} -r {}:80", server_of(server));
        if exists && server.2 > 1 && self.random.below(3) == 0 {
            self.make(server, None);
            return format!("-d {to}\n");
        }
        self.weight += 1;
        self.make(server, Some(self.weight));
        let command = if exists { "-e" } else { "-a" };
        format!("{command} {to} -m -w {}\n", self.weight)
    }

    /// Fails if another has touched the part.
    fn expect_in_kernel(&self) {
        assert_eq!(of(&kernel(), self.number), self.objects);
    }

    fn count(&mut self, operations: usize) -> usize {
        self.operations.fetch_add(operations, Relaxed);
        operations
    }
}

/// Sends a request, and returns status and body.
fn send(method: &str, path: &str, id: &str, body: Option<&Value>) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let (http, headers) = (Http::to(None), [("x-request-id", id)]);
    let answer = http.send(method.parse().unwrap(), path, &headers, body);
    let (status, body) = runtime.block_on(answer);
    (status.as_u16(), body)
}

fn table(objects: &Objects) -> Value {
    let services = objects.keys().filter(|(_, _, server)| *server == 0);
    let service = |&(part, service, _): &Object| {
        let servers = objects.range((part, service, 1)..(part, service + 1, 0));
        let server = |(server, weight): (&Object, &u64)| json!({"address": server_of(*server), "forwarding": "masquerade", "weight": weight});
        let servers: Vec<_> = servers.map(server).collect();
        let id = format!("tcp-{}-80", service_of((part, service, 0)));
        json!({"id": id, "scheduler": "rr", "servers": servers})
    };
    json!({"services": services.map(service).collect::<Vec<_>>()})
}

/// Applies tables of an owner, and now and then one with a service of another, which is refused.
fn own(mut part: Part, owner: &str, operations: usize) -> Part {
    let path = format!("/v1/tables/{owner}?max_deletes=100%25");
    let (mut done, mut turn) = (0, 0);
    while done < operations {
        turn += 1;
        let id = format!("{owner}-{turn}");
        let (status, applied) = send("PUT", &path, &id, Some(&table(&part.objects)));
        assert_eq!(status, 200, "{applied}");
        part.expect_in_kernel();
        done += part.count(applied["operations_total"].as_u64().unwrap() as usize);
        if turn % 5 == 0 {
            let others = OWNERS.map(|(number, _)| number).into_iter().chain(OTHERS);
            let other = others
                .filter(|number| *number != part.number)
                .nth(turn / 5 % 3);
            let mut wrong = part.objects.clone();
            wrong.insert((other.unwrap(), 1, 0), 0);
            let (status, refused) = send("PUT", &path, &id, Some(&table(&wrong)));
            assert_eq!(
                (status, &refused["reason"]),
                (409, &json!("SERVICE_OWNED")),
                "{refused}"
            );
            part.expect_in_kernel();
        }
        for _ in 0..part.random.below(30) {
            part.change(true);
        }
    }
    // The last changes were not applied.
    let (status, applied) = send(
        "PUT",
        &path,
        &format!("{owner}-end"),
        Some(&table(&part.objects)),
    );
    assert_eq!(status, 200, "{applied}");
    part
}

/// Another program than the daemon.
enum Program {
    Ipvsadm,
    Keepalived(Child, PathBuf),
}

impl Program {
    /// Starts keepalived with the services of a part.
    fn keepalived(folder: &Folder, part: &Part) -> Self {
        let file = folder.0.join("keepalived.conf");
        fs::write(&file, configuration(&part.objects)).unwrap();
        let pid = |name: &str| folder.0.join(name).display().to_string();
        let child = Command::new("keepalived")
            .args(["--check", "--dont-fork", "--log-console", "--use-file"])
            .arg(&file)
            .args(["--pid", &pid("pid"), "--checkers_pid", &pid("checkers")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("keepalived starts");
        until("keepalived has its services", || {
            match of(&kernel(), part.number) {
                found if found == part.objects => Ok(()),
                found => Err(format!("{found:?}")),
            }
        });
        Self::Keepalived(child, file)
    }

    /// Some changes at once. Returns their number.
    fn change(&self, part: &mut Part) -> usize {
        let before = part.objects.clone();
        let count = 1 + part.random.below(15);
        match self {
            Self::Ipvsadm => {
                let lines = (0..count).map(|_| part.change(true));
                rules(&lines.collect::<String>());
                count as usize
            }
            Self::Keepalived(child, file) => {
                for _ in 0..count {
                    part.change(false);
                }
                fs::write(file, configuration(&part.objects)).unwrap();
                let pid = child.id().to_string();
                let reload = Command::new("kill").args(["-s", "HUP", &pid]).status();
                assert!(reload.unwrap().success());
                let objects = before.keys().chain(part.objects.keys());
                let differs = |object: &&Object| before.get(object) != part.objects.get(object);
                objects
                    .filter(differs)
                    .collect::<std::collections::BTreeSet<_>>()
                    .len()
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Self::Keepalived(child, _) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The commands of ipvsadm that make these objects.
fn text(objects: &Objects) -> String {
    let line = |(object, weight): (&Object, &u64)| match object.2 {
        0 => format!("-A -t {}:80 -s rr\n", service_of(*object)),
        _ => format!(
            "-a -t {}:80 -r {}:80 -m -w {weight}\n",
            service_of(*object),
            server_of(*object)
        ),
    };
    objects.iter().map(line).collect()
}

/// A keepalived.conf without health checks.
fn configuration(objects: &Objects) -> String {
    let mut text = "global_defs {\n checker_priority 0\n}\n".to_owned();
    for (object, weight) in objects {
        if object.2 == 0 {
            let end = if object.1 > 1 { "}\n" } else { "" };
            let address = service_of(*object);
            let _ = write!(
                text,
                "{end}virtual_server {address} 80 {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n"
            );
        } else {
            let _ = write!(
                text,
                " real_server {} 80 {{\n  weight {weight}\n }}\n",
                server_of(*object)
            );
        }
    }
    text + "}\n"
}

/// Makes changes and waits until the watcher has seen them. Returns how long that took.
fn change(
    mut part: Part,
    program: &Program,
    seen: &Watcher,
    operations: usize,
) -> (Part, Vec<Duration>) {
    let (mut done, mut delays) = (0, Vec::new());
    while done < operations {
        let changed = program.change(&mut part);
        done += part.count(changed);
        let begin = Instant::now();
        until("the watcher sees a change", || {
            match of(&seen.seen().copy, part.number) {
                copy if copy == part.objects => Ok(()),
                copy => Err(format!("{copy:?} instead of {:?}", part.objects)),
            }
        });
        delays.push(begin.elapsed());
        part.expect_in_kernel();
    }
    (part, delays)
}

/// The copy of a client that has listed and watches since, and what it has received.
#[derive(Default)]
struct Seen {
    copy: Objects,
    events: Vec<(Object, Value)>,
}

#[derive(Clone)]
struct Watcher(Arc<Mutex<Seen>>);

impl Watcher {
    /// In the namespace of this thread.
    fn start() -> Self {
        let (status, list) = send("GET", "/v1/services?page_size=1000", "list", None);
        assert_eq!(status, 200, "{list}");
        let mut seen = Seen::default();
        for service in list["services"].as_array().unwrap() {
            let id = service["id"].as_str().unwrap();
            seen.copy.insert(object(id, None), 0);
            for server in service["servers"].as_array().unwrap() {
                let server_id = object(id, server["id"].as_str());
                seen.copy
                    .insert(server_id, server["weight"].as_u64().unwrap());
            }
        }
        assert!(list.get("next_page_token").is_none(), "{list}");
        let revision = list["revision"].as_str().unwrap();
        let mut watch = Watch::start(&format!("from_revision={revision}"));
        let watcher = Self(Arc::new(Mutex::new(seen)));
        let of_thread = watcher.clone();
        thread::spawn(move || {
            while let Some(event) = watch.event() {
                of_thread.seen().take(event);
            }
        });
        watcher
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }
}

impl Seen {
    fn take(&mut self, event: Value) {
        if event["type"] == "bookmark" {
            return;
        }
        let object = object(
            event["service"].as_str().unwrap_or_default(),
            event["server"].as_str(),
        );
        match &event["after"] {
            Value::Null => self.copy.remove(&object),
            after => self
                .copy
                .insert(object, after["server"]["weight"].as_u64().unwrap_or(0)),
        };
        self.events.push((object, event));
    }

    /// Each event is of whom the part belongs to, begins where the last of its object ended, and, of other programs,
    /// is one of the states that were made, in their order.
    fn check(&self, parts: &[Part]) {
        let mut last: BTreeMap<Object, &Value> = BTreeMap::new();
        for (object, event) in &self.events {
            assert!(
                ["added", "modified", "deleted"].contains(&event["type"].as_str().unwrap()),
                "{event}"
            );
            let before = last.insert(*object, &event["after"]);
            assert!(
                before.is_none_or(|before| *before == event["before"]),
                "{before:?}, then {event}"
            );
            let owner = OWNERS.iter().find(|(part, _)| *part == object.0);
            match owner {
                Some((_, owner)) => {
                    let request = event["request_id"].as_str().unwrap_or_default();
                    assert!(
                        event["origin"] == "api" && request.starts_with(owner),
                        "{event}"
                    );
                }
                None => assert_eq!(event["origin"], "foreign", "{event}"),
            }
        }
        for part in parts {
            let mut made: BTreeMap<Object, Vec<Option<u64>>> = BTreeMap::new();
            for (object, state) in &part.made {
                made.entry(*object).or_default().push(*state);
            }
            let made = made.iter().map(|(object, states)| (*object, states.iter()));
            let mut made: BTreeMap<_, _> = made.collect();
            for (object, event) in self
                .events
                .iter()
                .filter(|(object, _)| object.0 == part.number)
            {
                let state = match &event["after"] {
                    Value::Null => None,
                    after => Some(after["server"]["weight"].as_u64().unwrap_or(0)),
                };
                let mut states = made.get_mut(object).into_iter().flatten();
                assert!(
                    states.any(|made| *made == state),
                    "not made, or not then: {event}"
                );
            }
        }
    }
}

/// Waits until the copy is what the kernel has.
fn expect_copy(watcher: &Watcher) {
    let kernel = kernel();
    until("the copy is the kernel's table", || {
        match &watcher.seen().copy {
            copy if *copy == kernel => Ok(()),
            copy => Err(format!("{copy:?}, the kernel has {kernel:?}")),
        }
    });
}

#[test]
fn owners_and_other_programs_do_not_touch_each_other_and_all_they_do_is_seen() {
    let namespace = Namespace::new();
    let folder = Folder::new("owners");
    let operations = operations();
    let done = Arc::new(AtomicUsize::new(0));
    let [alpha, beta, manual, kept] = [1, 2, 3, 4].map(|number| Part::new(number, &done));
    namespace.run(|| {
        rules(&text(&manual.objects));
        let (ipvsadm, keepalived) = (Program::Ipvsadm, Program::keepalived(&folder, &kept));
        let _daemon = Daemon::with_state(&folder, &[("IPVSD_WATCH_DUMP_INTERVAL", DUMP_INTERVAL)]);
        let first = Watcher::start();
        let each = operations.div_ceil(4);
        let others = thread::scope(|scope| {
            let owners = [(alpha, "alpha"), (beta, "beta")];
            let owners = owners.map(|(part, owner)| scope.spawn(move || own(part, owner, each)));
            let others = [(manual, &ipvsadm), (kept, &keepalived)];
            let others = others.map(|(part, program)| {
                let first = &first;
                scope.spawn(move || change(part, program, first, each))
            });
            // Another client lists and watches while all are at work.
            while done.load(Relaxed) < operations / 2 && !others.iter().any(|other| other.is_finished()) {
                thread::sleep(Duration::from_millis(20));
            }
            let second = Watcher::start();
            for owner in owners {
                owner.join().unwrap();
            }
            let others = others.map(|other| other.join().unwrap());
            expect_copy(&second);
            others
        });
        expect_copy(&first);
        let (parts, delays): (Vec<_>, Vec<_>) = others.into_iter().unzip();
        let seen = first.seen();
        seen.check(&parts);
        let mut delays = delays.concat();
        delays.sort();
        println!(
            "{} operations, {} events; a change of another program was seen after {:?}, the latest after {:?}",
            done.load(Relaxed),
            seen.events.len(),
            delays[delays.len() / 2],
            delays.last().unwrap(),
        );
    });
}

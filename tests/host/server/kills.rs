//! A daemon that is killed at any instant of an apply, a drain and a batch, on the fake kernel.
//!
//! The daemon is a process of this test program. Its fake kernel outlives it: what changes the table is in a file before
//! the fake kernel executes it. `IPVSD_TEST_REQUESTS` is the number of kills.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    hint,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use ipvsd::{
    app::{App, Interrupted},
    executor::Executor,
    kernel::{FakeKernel, Kernel, NamespaceId, RecvBuffers, Transport, fake::command},
    server::{Authenticator, Config, Server, Shutdown, build_router},
};
use serde_json::{Value, json};

use super::harness::{DEADLINE, TempDir, requests, test_config};
use crate::common::random::Random;

/// The directory of the daemon that a process of this program is.
const DIRECTORY: &str = "IPVSD_TEST_DIRECTORY";
/// What becomes of interrupted applies: `complete`, else they are undone.
const INTERRUPTED: &str = "IPVSD_TEST_INTERRUPTED";
/// Kills of a daemon with the same state.
const ROUNDS: usize = 50;
/// The service whose server is drained, and that of batches.
const DRAINED: &str = "tcp-192.0.4.1-80";
const BATCHED: &str = "tcp-192.0.3.1-80";

/// Weights by `SERVICE SERVER`; 0 of a service alone.
type Table = BTreeMap<String, u32>;

/// A fake kernel whose table is that of the changes in a file.
#[derive(Clone, Debug)]
struct Kept {
    kernel: FakeKernel,
    /// Locked from the write of a change to its end, so that both are in one order.
    file: Arc<Mutex<File>>,
}

/// A socket of it.
struct KeptSocket {
    socket: Box<dyn Transport>,
    file: Arc<Mutex<File>>,
}

impl Kept {
    /// Makes the changes of the file. One that was written in part was not made.
    fn load(path: &Path) -> Self {
        let kernel = FakeKernel::new();
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let made = replay(&kernel, &bytes);
        file.set_len(made as u64).unwrap();
        Self {
            kernel,
            file: Arc::new(Mutex::new(file)),
        }
    }
}

/// Makes changes, and returns the number of their bytes.
fn replay(kernel: &FakeKernel, mut bytes: &[u8]) -> usize {
    let whole = bytes.len();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let Some((datagram, rest)) = rest.split_at_checked(u32::from_ne_bytes(*length) as usize)
        else {
            break;
        };
        // Of a socket of its own: nobody takes the replies.
        kernel.connect().unwrap().send(datagram).unwrap();
        bytes = rest;
    }
    whole - bytes.len()
}

/// Whether a datagram has a message that changes the table.
fn changes(mut datagram: &[u8]) -> bool {
    const CONTROL: u16 = 0x10;
    while let Some(length) = datagram.first_chunk() {
        let length = u32::from_ne_bytes(*length) as usize;
        let family = u16::from_ne_bytes([datagram[4], datagram[5]]);
        let reads = [command::GET_SERVICE, command::GET_DEST, command::GET_DAEMON];
        let reads = [&reads[..], &[command::GET_CONFIG, command::GET_INFO]].concat();
        if family != CONTROL && !reads.contains(&datagram[16]) {
            return true;
        }
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    false
}

impl Kernel for Kept {
    fn namespace(&self) -> Option<&str> {
        self.kernel.namespace()
    }

    fn identity(&self) -> io::Result<NamespaceId> {
        self.kernel.identity()
    }

    fn enter(&self) -> io::Result<NamespaceId> {
        self.kernel.enter()
    }

    fn leave(&self) -> io::Result<()> {
        self.kernel.leave()
    }

    fn connect(&self) -> io::Result<Box<dyn Transport>> {
        let (socket, file) = (self.kernel.connect()?, self.file.clone());
        Ok(Box::new(KeptSocket { socket, file }))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        self.kernel.open(path)
    }

    fn interface_index(&self, name: &str) -> io::Result<Option<u32>> {
        self.kernel.interface_index(name)
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        self.kernel.write(path, text)
    }
}

impl Transport for KeptSocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if !changes(datagram) {
            return self.socket.send(datagram);
        }
        let mut record = (datagram.len() as u32).to_ne_bytes().to_vec();
        record.extend_from_slice(datagram);
        let mut file = self.file.lock().unwrap();
        file.write_all(&record)?;
        self.socket.send(datagram)
    }

    fn receive(&mut self, buffers: &mut RecvBuffers, wait: Duration) -> io::Result<()> {
        self.socket.receive(buffers, wait)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the daemon that the other test kills"]
async fn daemon() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let directory = PathBuf::from(directory);
    let mut config = Config {
        state_dir: Some(directory.join("state")),
        listen: vec![
            format!("unix:{}", directory.join("socket").display())
                .parse()
                .unwrap(),
        ],
        ..test_config()
    };
    if std::env::var(INTERRUPTED).unwrap() != "complete" {
        config.tables.interrupted = Interrupted::Undo;
    }
    // As bin/ipvsd.rs does.
    let kernel = Kept::load(&directory.join("kernel"));
    let executor = Executor::start(Arc::new(kernel), config.executor_limits()).unwrap();
    let app = App::new(executor, config.app_options());
    let app = app.with_store(config.open_store().unwrap()).unwrap();
    let shutdown = Shutdown::new();
    let authenticator = Authenticator::load(&config).unwrap();
    let router = build_router(app.clone(), &config, &authenticator, &shutdown);
    let server = Server::bind(&config).unwrap();
    let (recovered, tables, timeout) = (app.clone(), config.tables, config.limits.request_timeout);
    tokio::spawn(async move {
        recovered.resume_holds();
        recovered
            .recover_tables(tables.interrupted, tables.restore_on_start, timeout)
            .await;
        recovered.reconcile_tables(timeout).await;
    });
    server.serve(router, app.budget(), &shutdown).await;
}

/// A daemon, as the test sees it.
struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    /// Starts it and waits until it listens.
    fn start(directory: &Path, interrupted: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "server::kills::daemon",
                "--ignored",
                "--nocapture",
            ])
            .env(DIRECTORY, directory)
            .env(INTERRUPTED, interrupted)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let socket = directory.join("socket");
        let end = Instant::now() + DEADLINE;
        // The socket file of the last one may be there.
        while UnixStream::connect(&socket).is_err() {
            assert_eq!(child.try_wait().unwrap(), None);
            assert!(Instant::now() < end, "it does not listen");
            thread::sleep(Duration::from_millis(2));
        }
        Self { child, socket }
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, body, _) = answer(&self.socket, method, path, "", body).expect("no answer");
        assert!(status < 300, "{method} {path}: {status} {body}");
        body
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Status, body and head of the response, if the daemon sends one before it ends.
fn answer(
    socket: &Path,
    method: &str,
    path: &str,
    headers: &str,
    body: Option<&Value>,
) -> Option<(u16, Value, String)> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-request-id: t\r\n{headers}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.get(9..12)?.parse().ok()?;
    let body = match body {
        "" => Value::Null,
        // Without its end, it was not received.
        body => serde_json::from_str(body).ok()?,
    };
    Some((status, body, head.to_owned()))
}

/// What the test sees of a daemon that is killed again and again.
struct Director {
    directory: TempDir,
    /// What the file of the fake kernel contains up to `read`.
    kernel: FakeKernel,
    read: usize,
    declared: Table,
}

/// The kills, and what became of applies, drains and batches.
struct Kills {
    random: Random,
    /// Longest time from the requests to the kill, in microseconds.
    longest: u64,
    outcomes: [Outcomes; 3],
}

/// What became of writes.
#[derive(Debug, Default)]
struct Outcomes {
    acknowledged: usize,
    /// Not acknowledged, but done or finished after the restart.
    finished: usize,
    /// Not acknowledged, and not begun or undone.
    absent: usize,
}

impl Outcomes {
    #[track_caller]
    fn count(&mut self, is_acknowledged: bool, is_done: bool) {
        assert!(is_done || !is_acknowledged, "an acknowledged write is lost");
        *match (is_acknowledged, is_done) {
            (true, _) => &mut self.acknowledged,
            (false, true) => &mut self.finished,
            (false, false) => &mut self.absent,
        } += 1;
    }
}

fn service(id: &str, servers: &[(String, u32)]) -> Value {
    let server = |(address, weight): &(String, u32)| json!({"address": address, "forwarding": "masquerade", "weight": weight});
    let servers: Vec<_> = servers.iter().map(server).collect();
    json!({"id": id, "scheduler": "rr", "servers": servers})
}

/// A table, and the request that declares it.
fn random_table(random: &mut Random) -> (Table, Value) {
    let mut table = Table::new();
    let mut services = Vec::new();
    for number in 1..8 {
        if random.below(2) == 0 {
            continue;
        }
        let server =
            |n| (random.below(2) == 0).then(|| (format!("10.0.0.{n}"), random.below(3) as u32));
        let servers: Vec<_> = (1..40).filter_map(server).collect();
        table.insert(format!("192.0.2.{number}:80"), 0);
        let keyed = servers
            .iter()
            .map(|(address, weight)| (format!("192.0.2.{number}:80 {address}:80"), *weight));
        table.extend(keyed);
        services.push(service(&format!("tcp-192.0.2.{number}-80"), &servers));
    }
    (table, json!({"services": services}))
}

/// A batch that is not the same when it is executed twice.
fn batch(weight: u32) -> Value {
    let create = |n: u32| {
        let server =
            json!({"address": format!("10.0.1.{n}"), "forwarding": "masquerade", "weight": 9});
        json!({"op": "create_server", "service": BATCHED, "value": {"server": server}})
    };
    let change = |n: u32| {
        let server = format!("10.0.1.{n}-80");
        match n % 2 {
            0 => json!({"op": "update_server", "service": BATCHED, "server": server,
                        "value": {"server": {"weight": weight}}}),
            _ => json!({"op": "delete_server", "service": BATCHED, "server": server}),
        }
    };
    let operations: Vec<_> = (1..=60).map(create).chain((1..=60).map(change)).collect();
    json!({"on_failure": "stop", "operations": operations})
}

impl Director {
    fn new() -> Self {
        let director = Self {
            directory: TempDir::new(),
            kernel: FakeKernel::new(),
            read: 0,
            declared: Table::new(),
        };
        let daemon = Daemon::start(&director.directory.0, "complete");
        let servers = [("10.0.4.1".to_owned(), 3)];
        for body in [service(DRAINED, &servers), service(BATCHED, &[])] {
            daemon.call("POST", "/v1/services", Some(&body));
        }
        // Of a table that was never declared, the daemon does not show that it recovers it.
        let empty = json!({"services": []});
        daemon.call("PUT", "/v1/tables/k8s", Some(&empty));
        director
    }

    /// The fake kernel's table, of services whose address begins with this.
    fn table(&mut self, address: &str) -> Table {
        let file = std::fs::read(self.directory.0.join("kernel")).unwrap();
        self.read += replay(&self.kernel, &file[self.read..]);
        let mut table = Table::new();
        for service in self.kernel.services() {
            let ipvsd::kernel::fake::ServiceId::Address { address, .. } = service.id else {
                panic!("{:?}", service.id);
            };
            table.insert(address.to_string(), 0);
            let servers = service.destinations();
            table.extend(
                servers.map(|server| (format!("{address} {}", server.address), server.weight)),
            );
        }
        table.retain(|name, _| name.starts_with(address));
        table
    }

    /// Kills the daemon during an apply, a drain and a batch, and checks what is there after the next start.
    fn round(&mut self, round: usize, kills: &mut Kills) {
        let mode = ["complete", "undo"][round % 2];
        let (table, declaration) = random_table(&mut kills.random);
        let batch = batch(round as u32 % 7);
        let drain = json!({"server": "10.0.4.1"});
        let key = format!("idempotency-key: {round}\r\n");
        let writes = [
            ("PUT", "/v1/tables/k8s?max_deletes=100%25", "", &declaration),
            ("POST", "/v1/drains", "", &drain),
            ("POST", "/v1/batch", key.as_str(), &batch),
        ];
        let daemon = Daemon::start(&self.directory.0, mode);
        let delay = Duration::from_micros(kills.random.below(kills.longest));
        let acknowledged = thread::scope(|scope| {
            let socket = daemon.socket.clone();
            let answers = writes.map(|(method, path, headers, body)| {
                let socket = socket.clone();
                scope.spawn(move || answer(&socket, method, path, headers, Some(body)))
            });
            let end = Instant::now() + delay;
            while Instant::now() < end {
                hint::spin_loop();
            }
            drop(daemon);
            answers.map(|answer| match answer.join().unwrap() {
                Some((status, body, _)) => {
                    assert!(status < 300, "{status} {body}");
                    true
                }
                None => false,
            })
        });

        // As long as the writes take here.
        kills.longest = match acknowledged.contains(&true) {
            true => (kills.longest * 9 / 10).max(1000),
            false => kills.longest * 11 / 10,
        };
        let outcomes = &mut kills.outcomes;
        let daemon = Daemon::start(&self.directory.0, mode);
        let is_new = self.applied(&daemon, &table);
        outcomes[0].count(acknowledged[0], is_new);
        if is_new {
            self.declared = table;
        }
        outcomes[1].count(acknowledged[1], self.drained(&daemon));
        let servers = (1..=30).map(|n| {
            (
                format!("192.0.3.1:80 10.0.1.{}:80", 2 * n),
                round as u32 % 7,
            )
        });
        let service = ("192.0.3.1:80".to_owned(), 0);
        let batched: Table = servers.chain([service]).collect();
        outcomes[2].count(acknowledged[2], self.table("192.0.3.") == batched);
        // Its repetition is a replay, or finishes it.
        let (status, body, _) = answer(
            &daemon.socket,
            "POST",
            "/v1/batch",
            writes[2].2,
            Some(&batch),
        )
        .unwrap();
        assert_eq!(status, 200, "{body}");
        assert_eq!(self.table("192.0.3."), batched);
        let path = format!("/v1/services/{BATCHED}");
        daemon.call(
            "PUT",
            &path,
            Some(&json!({"scheduler": "rr", "servers": []})),
        );
    }

    /// Whether the table is the new one. If not, it is the old one.
    fn applied(&mut self, daemon: &Daemon, table: &Table) -> bool {
        let end = Instant::now() + DEADLINE;
        loop {
            let declared = daemon.call("GET", "/v1/tables/k8s", None);
            if declared["status"]["state"] == "in_sync" {
                break;
            }
            assert!(Instant::now() < end, "{declared}");
            thread::yield_now();
        }
        let found = self.table("192.0.2.");
        let is_new = found == *table;
        assert!(is_new || found == self.declared, "{found:?}");
        is_new
    }

    /// Whether the server is drained. It is not afterwards.
    fn drained(&mut self, daemon: &Daemon) -> bool {
        let list = daemon.call("GET", "/v1/drains", None);
        let drains = list["drains"].as_array().unwrap();
        for drain in drains {
            let end = Instant::now() + DEADLINE;
            while self.table("192.0.4.")["192.0.4.1:80 10.0.4.1:80"] != 0 {
                assert!(Instant::now() < end, "{drain}");
                thread::yield_now();
            }
            let path = format!("/v1/drains/{}", drain["id"].as_str().unwrap());
            // Cancelled, and then forgotten.
            daemon.call("DELETE", &path, None);
            daemon.call("DELETE", &path, None);
        }
        let weight = self.table("192.0.4.")["192.0.4.1:80 10.0.4.1:80"];
        assert_eq!(weight, 3, "{list}");
        !drains.is_empty()
    }
}

#[test]
fn a_daemon_that_is_killed_at_any_instant_loses_nothing_that_it_acknowledged() {
    let count = requests(20);
    let mut kills = Kills {
        random: Random(3),
        longest: 60_000,
        outcomes: Default::default(),
    };
    let mut director = Director::new();
    for round in 0..count {
        if round % ROUNDS == ROUNDS - 1 {
            director = Director::new();
        }
        director.round(round, &mut kills);
    }
    let [applies, drains, batches] = kills.outcomes;
    println!("{count} kills\napplies: {applies:?}\ndrains: {drains:?}\nbatches: {batches:?}");
}

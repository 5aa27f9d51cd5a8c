//! A measurement, not a test: health checks beside those of keepalived, with the same settings, in the same kernel.
//! `lab/compare-health` runs it, and `docs/health.md` has its table.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::{
    collections::BTreeMap,
    net::IpAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ipvsd::executor::TableQuery;
use serde_json::json;

use crate::{
    health::{SERVERS, create, service, world},
    support::{
        Folder, SOON,
        api::Api,
        daemon::Daemon,
        executor,
        failing::{Mode, NAME, Request, Server, Tls, meanwhile},
        world::World,
    },
};

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// One server in this way.
    One(Mode),
    /// The host of one server: nothing answers.
    Host,
    /// All servers.
    All,
    /// The same, and there is a server that stands in.
    AllWithSpare,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    Ipvsd,
    Keepalived,
}

/// The program that checks.
enum Checker {
    Ipvsd { _api: Box<Api>, _folder: Folder },
    Keepalived { child: Child, _folder: Folder },
}

/// What was seen of a fault.
#[derive(Debug, Default)]
struct Seen {
    taken_out: Option<Duration>,
    returned: Option<Duration>,
    lost: usize,
    /// Lost requests that began after the server was taken out.
    late: usize,
    requests: usize,
    /// Times without any server that has a weight, and how long they were together.
    gaps: usize,
    without: Duration,
    /// Longest time between two samples.
    blind: Duration,
}

/// The weights of the servers in the kernel, from this time on.
struct Sample {
    at: Instant,
    weights: BTreeMap<IpAddr, u32>,
}

/// Changes of the weights.
#[derive(Default)]
struct Samples {
    changes: Vec<Sample>,
    blind: Duration,
}

const FAULTS: [Fault; 8] = [
    Fault::One(Mode::Killed),
    Fault::One(Mode::Hang),
    Fault::One(Mode::Slow),
    Fault::One(Mode::Error),
    Fault::One(Mode::Reset),
    Fault::One(Mode::Expired),
    Fault::Host,
    Fault::All,
];
/// The server that stands in: `fallback_servers`, `sorry_server`.
const SPARE: &str = "10.1.0.14";
/// Longer than any of both needs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests before and after a fault.
const CALM: Duration = Duration::from_secs(1);

// === the contenders ===

impl Checker {
    fn start(contender: Contender, fault: Fault, tls: Option<&Tls>) -> Self {
        let folder = Folder::new(&format!("measurement-{contender:?}"));
        match contender {
            Contender::Ipvsd => {
                let authority = folder.0.join("authority.pem");
                let spare = json!({"id": format!("{SPARE}-8080"), "forwarding": "masquerade"});
                let check = match fault {
                    Fault::AllWithSpare => json!({"rise": 1, "fallback_servers": [spare]}),
                    Fault::One(Mode::Expired) => {
                        json!({"rise": 1, "type": "https", "host": NAME})
                    }
                    _ => json!({"rise": 1}),
                };
                let text = tls.map_or("", |tls| tls.authority.as_str());
                std::fs::write(&authority, text).unwrap();
                let variables = [("SSL_CERT_FILE", authority.to_str().unwrap())];
                let variables = &variables[..usize::from(tls.is_some())];
                let api = Api::of(Daemon::with_state(&folder, variables));
                create(&api, check);
                Self::Ipvsd {
                    _api: Box::new(api),
                    _folder: folder,
                }
            }
            Contender::Keepalived => {
                let (file, pid) = (folder.0.join("conf"), folder.0.join("pid"));
                std::fs::write(&file, keepalived(fault)).unwrap();
                let child = Command::new("keepalived")
                    .args(["--check", "--dont-fork", "--log-console", "--use-file"])
                    .arg(&file)
                    .arg("--pid")
                    .arg(&pid)
                    .arg("--checkers_pid")
                    .arg(folder.0.join("checkers"))
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("keepalived is needed");
                Self::Keepalived {
                    child,
                    _folder: folder,
                }
            }
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        if let Self::Keepalived { child, .. } = self {
            let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

/// The settings of ipvsd's check: interval 1 s, timeout 1 s, 2 failures, 1 success.
fn keepalived(fault: Fault) -> String {
    let check = match fault {
        Fault::One(Mode::Expired) => "SSL_GET",
        _ => "HTTP_GET",
    };
    let spare = match fault {
        Fault::AllWithSpare => format!(" sorry_server {SPARE} 8080\n"),
        _ => String::new(),
    };
    let servers = SERVERS.map(|address| {
        format!(
            "real_server {address} 8080 {{\n weight 3\n {check} {{\n url {{\n path /\n status_code 200\n }}\n \
             connect_timeout 1\n retry 2\n delay_before_retry 1\n }}\n}}\n"
        )
    });
    format!(
        "global_defs {{\n checker_priority 0\n}}\nvirtual_server 10.9.0.100 8080 {{\n delay_loop 1\n lb_algo rr\n \
         lb_kind NAT\n protocol TCP\n{spare}{}}}\n",
        servers.join("")
    )
}

// === the weights in the kernel ===

/// Reads the weights without a pause, in this thread's namespace.
fn sample(samples: &Mutex<Samples>, ends: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let executor = executor();
    let mut last = Instant::now();
    while !ends.load(Ordering::Relaxed) {
        let deadline = Instant::now() + SOON;
        let read = executor.reader.read(TableQuery, Duration::ZERO, deadline);
        let table = runtime.block_on(read).unwrap().value;
        let servers = table.iter().flat_map(|entry| entry.servers.iter());
        let weights = servers.map(|server| (server.key.address, server.effective_weight));
        let weights: BTreeMap<_, _> = weights.collect();
        let at = Instant::now();
        let mut samples = samples.lock().unwrap();
        samples.blind = samples.blind.max(at - last);
        last = at;
        let known = samples.changes.last();
        if known.is_none_or(|sample| sample.weights != weights) {
            samples.changes.push(Sample { at, weights });
        }
    }
}

fn weight(sample: &Sample, server: &str) -> u32 {
    let address = server.parse().unwrap();
    sample.weights.get(&address).copied().unwrap_or(0)
}

/// Waits until the weights are as wanted, and returns the time since.
fn wait(
    samples: &Mutex<Samples>,
    since: Instant,
    is_wanted: impl Fn(&Sample) -> bool,
) -> Option<Duration> {
    loop {
        {
            let samples = samples.lock().unwrap();
            let last = samples.changes.last();
            if let Some(sample) = last.filter(|sample| is_wanted(sample)) {
                return Some(sample.at.saturating_duration_since(since));
            }
        }
        if since.elapsed() > PATIENCE {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

// === a fault ===

fn measure(contender: Contender, fault: Fault) -> Seen {
    let tls = (fault == Fault::One(Mode::Expired)).then(Tls::new);
    let (world, servers) = world(tls.as_ref());
    world.server.ip(&format!("addr add {SPARE}/24 dev net"));
    let spare = format!("{SPARE}:8080").parse().unwrap();
    let _spare = Server::start(&world, spare, None);
    let (samples, ends) = (Mutex::new(Samples::default()), AtomicBool::new(false));
    world.director.run(|| {
        let checker = Checker::start(contender, fault, tls.as_deref());
        thread::scope(|scope| {
            scope.spawn(|| sample(&samples, &ends));
            let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                broken(&world, &servers, tls.as_ref(), fault, &samples)
            }));
            ends.store(true, Ordering::Relaxed);
            drop(checker);
            seen.unwrap()
        })
    })
}

fn broken(
    world: &World,
    servers: &[Server],
    tls: Option<&Arc<Tls>>,
    fault: Fault,
    samples: &Mutex<Samples>,
) -> Seen {
    let all_serve = |sample: &Sample| SERVERS.iter().all(|server| weight(sample, server) > 0);
    wait(samples, Instant::now(), all_serve).expect("the servers are not there");
    let mut seen = Seen::default();
    let ((failed, end), requests) = meanwhile(world, service(), tls.map(|tls| &**tls), || {
        thread::sleep(CALM);
        samples.lock().unwrap().blind = Duration::ZERO;
        let failed = Instant::now();
        match fault {
            Fault::One(mode) => servers[1].set(world, mode),
            Fault::Host => world.server.ip("addr del 10.1.0.12/24 dev net"),
            Fault::All | Fault::AllWithSpare => {
                servers.iter().for_each(|one| one.set(world, Mode::Killed))
            }
        }
        let is_out = |sample: &Sample| match fault {
            Fault::All | Fault::AllWithSpare => {
                SERVERS.iter().all(|server| weight(sample, server) == 0)
            }
            _ => weight(sample, SERVERS[1]) == 0,
        };
        seen.taken_out = wait(samples, failed, is_out);
        thread::sleep(CALM);
        let healed = Instant::now();
        match fault {
            Fault::Host => world.server.ip("addr add 10.1.0.12/24 dev net"),
            _ => servers.iter().for_each(|one| one.set(world, Mode::Good)),
        }
        if seen.taken_out.is_some() {
            seen.returned = wait(samples, healed, all_serve);
        }
        thread::sleep(CALM);
        (failed, Instant::now())
    });
    seen.count(&requests, &samples.lock().unwrap(), failed, end);
    seen
}

// === impl Seen ===

impl Seen {
    fn count(&mut self, requests: &[Request], samples: &Samples, failed: Instant, end: Instant) {
        let lost = requests.iter().filter(|request| request.result.is_err());
        let out = self.taken_out.map(|time| failed + time);
        self.requests = requests.len();
        self.lost = lost.clone().count();
        self.late = lost
            .filter(|one| out.is_some_and(|out| one.begin > out))
            .count();
        self.blind = samples.blind;
        let ends = samples.changes.iter().skip(1).map(|sample| sample.at);
        for (sample, until) in samples.changes.iter().zip(ends.chain([end])) {
            if sample.at > failed && sample.weights.values().all(|weight| *weight == 0) {
                self.gaps += 1;
                self.without += until.saturating_duration_since(sample.at);
            }
        }
    }

    fn row(&self, contender: Contender, fault: Fault) -> String {
        let seconds = |time: Option<Duration>| {
            time.map_or("never".to_owned(), |time| {
                format!("{:.2} s", time.as_secs_f64())
            })
        };
        let gaps = match self.gaps {
            0 => "none".to_owned(),
            gaps => format!("{gaps}, {:.2} s", self.without.as_secs_f64()),
        };
        format!(
            "| {fault:?} | {contender:?} | {} | {} | {} of {} | {} | {gaps} | {:.1} ms |",
            seconds(self.taken_out),
            seconds(self.returned),
            self.lost,
            self.requests,
            self.late,
            self.blind.as_secs_f64() * 1e3,
        )
    }
}

const HEAD: &str = "
| fault | program | taken out after | back after | lost requests | of them begun later | times without a server | \
    longest time between two samples |
|---|---|---|---|---|---|---|---|";

fn compare(faults: impl IntoIterator<Item = Fault>) {
    println!("{HEAD}");
    for fault in faults {
        for contender in [Contender::Ipvsd, Contender::Keepalived] {
            println!("{}", measure(contender, fault).row(contender, fault));
        }
    }
}

#[test]
#[ignore = "a measurement: lab/compare-health"]
fn health_checks_beside_keepalived() {
    compare(FAULTS);
}

/// How often it is tried: a moment without a server is short.
const ROUNDS: usize = 5;

#[test]
#[ignore = "a measurement: lab/compare-health"]
fn servers_that_stand_in_beside_keepalived() {
    compare([Fault::AllWithSpare; ROUNDS]);
}

//! What one contender does in a network namespace of its own, or several do in turns on one table.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::{Method, header};
use ipvsd::proto::v1::{RestoreRulesRequest, restore_rules_response::Event};
use prost::Message;
use tokio::runtime;

use super::{
    daemon::{DEFAULT_PORT, Daemon},
    grpc::{self, Lister},
    http::Http,
    raw::{Mode, Raw},
    sample::{milliseconds, quantile, remark, sample},
    table::{PORT, Size, server_address, server_id, server_json, service_address, service_id},
    transport::Server,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Loading a table into an empty namespace.
    Fill,
    /// Listing a table, and single changes on it.
    Table,
    /// Many single changes from concurrent clients.
    Changes,
    /// Memory of the daemon while it lists.
    Memory,
}

/// Who loads a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// Bare netlink, packed.
    RawPacked,
    /// Bare netlink, a command at a time.
    RawSingle,
    /// `ipvsadm -R`.
    Ipvsadm,
    /// keepalived, from its configuration.
    Keepalived,
    /// `POST /v1/rules`.
    HttpRules,
    /// `PUT /v1/services/{id}`, one a service.
    HttpPut,
    /// `RestoreRules`.
    GrpcRules,
    /// `ReplaceService`, one a service.
    GrpcReplace,
    /// `ipvsctl -R`.
    Ipvsctl,
}

#[derive(Args, Debug)]
pub struct Options {
    #[arg(value_enum)]
    work: Work,
    #[arg(long, value_enum)]
    contender: Option<Contender>,
    #[arg(long)]
    size: Size,
    #[arg(long)]
    round: u32,
    #[arg(long, default_value_t = 1000)]
    changes: u32,
    #[arg(long, default_value_t = 0)]
    processes: u32,
    #[arg(long)]
    ipvsd: PathBuf,
    #[arg(long)]
    ipvsctl: PathBuf,
}

/// How often a table is listed in a round, whose result is the median.
const LISTINGS: usize = 3;
/// Single changes in a round, and how many go before it is another's turn.
const SINGLES: u32 = 200;
const TURN: u32 = 25;
/// Concurrent clients.
const CLIENTS: u32 = 64;
/// Services beyond every table.
const WARMING: u32 = 60_000;
const LIST: &str = "/v1/services?include=servers,stats,rates";
const RULES: &str = "/v1/rules";
const RULES_ANEW: &str = "/v1/rules?clear=true";
/// Objects of a table that is cleared and loaded anew.
const CLEARED_AT_MOST: u32 = 11_000;
/// Bytes of rules in one gRPC message; a table has 6 MB.
const PART: usize = 1 << 20;
const SCRATCH: &str = "/dev/shm/ipvsd-bench";
/// How often keepalived's progress is looked at.
const LOOK: Duration = Duration::from_millis(10);

pub fn run(options: &Options) -> anyhow::Result<()> {
    // A namespace without any address has no routes, and refuses real servers.
    run_command("ip", &["link", "set", "lo", "up"])?;
    fs::create_dir_all(SCRATCH)?;
    let mut raw = Raw::open()?;
    match options.work {
        Work::Fill => options.fill(&mut raw)?,
        Work::Table => options.table(&mut raw)?,
        Work::Changes => options.changes(&mut raw)?,
        Work::Memory => options.memory(&mut raw)?,
    }
    // So that taking the namespace apart is little work.
    raw.flush()
}

impl Options {
    fn sample(&self, work: &str, contender: &str, value: f64) {
        sample(work, self.size, contender, self.round, value);
    }

    fn daemon(&self) -> anyhow::Result<Daemon> {
        Daemon::start(&self.ipvsd, "netlink", DEFAULT_PORT)
    }

    // --- loading

    fn fill(&self, raw: &mut Raw) -> anyhow::Result<()> {
        let contender = self.contender.context("no contender")?;
        let value = contender.to_possible_value().context("it has a name")?;
        let size = self.size;
        let begin = Instant::now();
        let time = match contender {
            Contender::RawPacked => {
                raw.fill(size, Mode::Packed)?;
                Some(begin.elapsed())
            }
            Contender::RawSingle => {
                raw.fill(size, Mode::Single)?;
                Some(begin.elapsed())
            }
            Contender::Ipvsadm => Some(restore(Path::new("ipvsadm"), size)?),
            Contender::Keepalived => self.keepalived(raw)?,
            Contender::HttpRules => block_on(self.http_rules())?,
            Contender::HttpPut => block_on(self.http_put())?,
            Contender::GrpcRules => block_on(self.grpc_rules())?,
            Contender::GrpcReplace => block_on(self.grpc_replace())?,
            Contender::Ipvsctl => {
                let daemon = self.daemon()?;
                if self.has_ipvsctl() {
                    block_on(async { warm(&mut Http::connect(daemon.address).await?).await })?;
                    Some(restore(&self.ipvsctl, size)?)
                } else {
                    remark("ipvsctl lists nothing here, so it does not take part");
                    None
                }
            }
        };
        if let Some(time) = time {
            let found = raw.sweep()?;
            let wanted = (size.services, size.services * size.servers);
            ensure!(found == wanted, "{found:?} instead of {wanted:?} are there");
            self.sample("fill", value.get_name(), milliseconds(time));
        }
        Ok(())
    }

    /// From the start of the process to the last server in the kernel.
    fn keepalived(&self, raw: &mut Raw) -> anyhow::Result<Option<Duration>> {
        // A process that was killed leaves its files behind, which would stop the next one.
        let directory = format!("{SCRATCH}/keepalived-{}", std::process::id());
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory)?;
        let file = format!("{directory}/conf");
        fs::write(&file, self.size.keepalived())?;
        let begin = Instant::now();
        let child = Command::new("keepalived")
            .args(["--check", "--dont-fork", "--log-console"])
            .args(["--use-file", &file])
            .args(["--pid", &format!("{directory}/pid")])
            .args(["--checkers_pid", &format!("{directory}/checkers.pid")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            remark("keepalived is not installed");
            return Ok(None);
        };
        // It works in the order of its file. Looking costs it little: one small question.
        while raw.servers_of(self.size.services - 1)? < self.size.servers {
            if let Some(status) = child.try_wait()? {
                bail!("keepalived has ended: {status}");
            }
            std::thread::sleep(LOOK);
        }
        Ok(Some(begin.elapsed()))
    }

    async fn http_rules(&self) -> anyhow::Result<Option<Duration>> {
        let daemon = self.daemon()?;
        let mut client = Http::connect(daemon.address).await?;
        let told = client.call(Method::GET, RULES, &[], Bytes::new()).await?;
        if !told.status.is_success() {
            remark(format!("this ipvsd has no {RULES}: {}", told.status));
            return Ok(None);
        }
        let whole = Bytes::from(self.size.rules());
        let changed = Bytes::from(self.size.rules_of(|number| weight_of(number, 2)));
        warm(&mut client).await?;
        let begin = Instant::now();
        post_rules(&mut client, RULES, whole).await?;
        let time = begin.elapsed();
        // What a client does that has nothing better: all away, all anew. The kernel looks for each
        // new server among those that just went, so with a large table it takes minutes.
        if self.size.commands() <= CLEARED_AT_MOST {
            let begin = Instant::now();
            post_rules(&mut client, RULES_ANEW, changed).await?;
            self.sample("replace", "rules-anew", milliseconds(begin.elapsed()));
        }
        Ok(Some(time))
    }

    /// The whole table, then one that differs in 1 %.
    async fn http_put(&self) -> anyhow::Result<Option<Duration>> {
        let daemon = self.daemon()?;
        let mut client = Http::connect(daemon.address).await?;
        let (old, new) = (self.size.service_json(1), self.size.service_json(2));
        let paths: Vec<_> = (0..self.size.services)
            .map(|number| format!("/v1/services/{}", service_id(number)))
            .collect();

        warm(&mut client).await?;
        let begin = Instant::now();
        for path in &paths {
            client.write(Method::PUT, path, old.clone()).await?;
        }
        let whole = begin.elapsed();

        // A client that knows what differs sends that,
        let begin = Instant::now();
        for path in paths.iter().step_by(100) {
            client.write(Method::PUT, path, new.clone()).await?;
        }
        self.sample("replace", "http-changed", milliseconds(begin.elapsed()));

        // and one that does not sends all: what differs now is the same 1 %, turned back.
        let begin = Instant::now();
        for path in &paths {
            client.write(Method::PUT, path, old.clone()).await?;
        }
        self.sample("replace", "http-all", milliseconds(begin.elapsed()));
        self.sample("replace", "restore", milliseconds(whole));
        Ok(Some(whole))
    }

    async fn grpc_rules(&self) -> anyhow::Result<Option<Duration>> {
        let daemon = self.daemon()?;
        let mut client = grpc::connect(daemon.address).await?;
        warm(&mut Http::connect(daemon.address).await?).await?;
        let rules = self.size.rules();
        let begin = Instant::now();
        let parts: Vec<_> = rules
            .as_bytes()
            .chunks(PART)
            .map(|part| RestoreRulesRequest {
                text: String::from_utf8_lossy(part).into_owned(),
                ..RestoreRulesRequest::default()
            })
            .collect();
        let mut events = client
            .restore_rules(tokio_stream::iter(parts))
            .await?
            .into_inner();
        while let Some(told) = events.message().await? {
            if let Some(Event::Refused(refused)) = told.event {
                bail!("line {}: {}", refused.line, refused.detail);
            }
        }
        Ok(Some(begin.elapsed()))
    }

    async fn grpc_replace(&self) -> anyhow::Result<Option<Duration>> {
        let daemon = self.daemon()?;
        let mut client = grpc::connect(daemon.address).await?;
        warm(&mut Http::connect(daemon.address).await?).await?;
        let begin = Instant::now();
        for number in 0..self.size.services {
            let request = grpc::replacement(self.size, number, 1);
            client.replace_service(request).await?;
        }
        Ok(Some(begin.elapsed()))
    }

    fn has_ipvsctl(&self) -> bool {
        Command::new(&self.ipvsctl)
            .arg("-Ln")
            .output()
            .is_ok_and(|output| output.stdout.starts_with(b"IP Virtual Server"))
    }

    // --- a table that is there

    fn table(&self, raw: &mut Raw) -> anyhow::Result<()> {
        raw.fill(self.size, Mode::Packed)?;
        let daemon = self.daemon()?;
        block_on(async {
            let mut http = Http::connect(daemon.address).await?;
            let mut grpc = grpc::connect(daemon.address).await?;
            self.list(raw, &mut http, &mut grpc).await?;
            // What a server costs that does nothing: no other can be faster.
            let answer = http.fetch(&single_path()).await?;
            let (json, proto) = (format!("{SCRATCH}/json"), format!("{SCRATCH}/proto"));
            fs::write(&json, &answer)?;
            fs::write(&proto, answer.get(..answer.len() / 2).unwrap_or_default())?;
            let nothing = Server::start(&["nothing", "--json", &json, "--proto", &proto])?;
            let mut floor_http = Http::connect(nothing.address).await?;
            let mut floor_grpc = Lister::connect(nothing.address).await?;
            self.single(
                raw,
                (&mut http, &mut grpc),
                (&mut floor_http, &mut floor_grpc),
            )
            .await
        })
    }

    async fn list(
        &self,
        raw: &mut Raw,
        http: &mut Http,
        grpc: &mut grpc::Client,
    ) -> anyhow::Result<()> {
        let exact = ["-Ln", "--stats", "--exact"];
        let servers = self.size.services * self.size.servers;
        let has_ipvsctl = self.has_ipvsctl();
        let mut times: [(&str, Vec<f64>); 5] =
            ["raw", "ipvsadm", "http", "grpc", "ipvsctl"].map(|name| (name, Vec::new()));
        http.read(LIST).await?;
        grpc::list(grpc).await?;
        for _ in 0..LISTINGS {
            for (contender, times) in &mut times {
                let begin = Instant::now();
                match *contender {
                    "raw" => {
                        raw.sweep()?;
                    }
                    "ipvsadm" => run_command("ipvsadm", &exact)?,
                    "http" => {
                        let length = http.read(LIST).await?;
                        ensure!(length > servers as usize * 100, "{length} bytes only");
                    }
                    "grpc" => {
                        let (_, listed) = grpc::list(grpc).await?;
                        ensure!(listed == servers as usize, "{listed} of {servers} servers");
                    }
                    _ if has_ipvsctl => {
                        let program = self.ipvsctl.to_str().context("a path in UTF-8")?;
                        run_command(program, &exact)?;
                    }
                    _ => continue,
                }
                times.push(milliseconds(begin.elapsed()));
            }
            times.rotate_left(1);
        }
        for (contender, mut times) in times {
            if !times.is_empty() {
                self.sample("list", contender, quantile(&mut times, 0.5));
            }
        }
        Ok(())
    }

    async fn single(
        &self,
        raw: &mut Raw,
        (http, grpc): (&mut Http, &mut grpc::Client),
        (floor_http, floor_grpc): (&mut Http, &mut Lister),
    ) -> anyhow::Result<()> {
        let path = single_path();
        let mut times: [(&str, Vec<f64>); 5] =
            ["raw", "http", "grpc", "nothing-http", "nothing-grpc"].map(|name| (name, Vec::new()));
        let mut weight = 1;
        for _ in 0..SINGLES / TURN {
            for (contender, times) in &mut times {
                for _ in 0..TURN {
                    weight = weight % 60_000 + 1;
                    let body = format!("{{\"weight\":{weight}}}");
                    let begin = Instant::now();
                    match *contender {
                        "raw" => raw.set_weight(0, 0, weight)?,
                        "http" => http.write(Method::PATCH, &path, body).await?,
                        "nothing-http" => floor_http.write(Method::PATCH, &path, body).await?,
                        "nothing-grpc" => {
                            let update = grpc::weight_update(0, 0, weight).encode_to_vec();
                            floor_grpc.list(update.into()).await?;
                        }
                        _ => {
                            let update = grpc::weight_update(0, 0, weight);
                            grpc.update_server(update).await?;
                        }
                    }
                    times.push(milliseconds(begin.elapsed()) * 1e3);
                }
            }
        }
        for (contender, mut times) in times {
            self.sample("change p50", contender, quantile(&mut times, 0.5));
            self.sample("change p99", contender, quantile(&mut times, 0.99));
        }
        Ok(())
    }

    // --- concurrent changes

    /// Adds servers one by one, each contender others, evenly over the services.
    fn changes(&self, raw: &mut Raw) -> anyhow::Result<()> {
        raw.fill(self.size, Mode::Packed)?;
        let daemon = self.daemon()?;
        let mut contenders = ["raw", "ipvsadm", "ipvsctl", "http", "grpc"];
        if self.round.is_multiple_of(2) {
            contenders.reverse();
        }
        for (place, contender) in contenders.into_iter().enumerate() {
            let first = 10_000 * (place as u32 + 1);
            let begin = Instant::now();
            let mut scale = 1.0;
            match contender {
                "raw" => {
                    for change in 0..self.changes {
                        raw.add_server(change % self.size.services, first + change)?;
                    }
                }
                "http" | "grpc" => {
                    block_on(self.concurrently(&daemon, contender == "grpc", first))?;
                }
                _ if self.processes == 0 => continue,
                "ipvsctl" if !self.has_ipvsctl() => continue,
                program => {
                    let program = match program {
                        "ipvsctl" => self.ipvsctl.to_str().context("a path in UTF-8")?,
                        program => program,
                    };
                    let begin = Instant::now();
                    for change in 0..self.processes {
                        let service = service_address(change % self.size.services);
                        let server = server_address(first + change);
                        let (service, server) =
                            (format!("{service}:{PORT}"), format!("{server}:{PORT}"));
                        let rest = ["-a", "-t", &service, "-r", &server, "-m", "-w", "1"];
                        run_command(program, &rest)?;
                    }
                    scale = f64::from(self.changes) / f64::from(self.processes);
                    self.sample("changes", contender, milliseconds(begin.elapsed()) * scale);
                    continue;
                }
            }
            self.sample("changes", contender, milliseconds(begin.elapsed()) * scale);
        }
        Ok(())
    }

    /// From many clients, each with a connection of its own; to connect is part of it.
    async fn concurrently(&self, daemon: &Daemon, grpc: bool, first: u32) -> anyhow::Result<()> {
        let (changes, services, address) = (self.changes, self.size.services, daemon.address);
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(async move {
                let mine = (client..changes).step_by(CLIENTS as usize);
                if grpc {
                    let mut connection = grpc::connect(address).await?;
                    for change in mine {
                        let request = ipvsd::proto::v1::CreateServerRequest {
                            service: service_id(change % services),
                            server: Some(grpc::server(first + change, 1)),
                        };
                        connection.create_server(request).await?;
                    }
                } else {
                    let mut connection = Http::connect(address).await?;
                    for change in mine {
                        let path =
                            format!("/v1/services/{}/servers", service_id(change % services));
                        let body = server_json(first + change, 1);
                        connection.write(Method::POST, &path, body).await?;
                    }
                }
                anyhow::Ok(())
            });
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        Ok(())
    }

    // --- memory

    fn memory(&self, raw: &mut Raw) -> anyhow::Result<()> {
        raw.fill(self.size, Mode::Packed)?;
        let daemon = self.daemon()?;
        block_on(async {
            let mut http = Http::connect(daemon.address).await?;
            http.read("/readyz").await?;
            let idle = daemon.memory()?.resident;
            self.sample("memory", "idle", idle);
            for (contender, over_grpc) in [("http", false), ("grpc", true)] {
                daemon.forget_peak()?;
                if over_grpc {
                    grpc::list(&mut grpc::connect(daemon.address).await?).await?;
                } else {
                    http.read(LIST).await?;
                }
                let memory = daemon.memory()?;
                let servers = f64::from(self.size.services * self.size.servers);
                self.sample("memory", &format!("{contender}-peak"), memory.peak);
                self.sample("memory", &format!("{contender}-after"), memory.resident);
                let each = (memory.peak - idle) * 1024.0 / servers;
                self.sample("bytes a server", contender, each);
            }
            Ok(())
        })
    }
}

/// The weight of a service's servers in the table that differs in 1 %.
fn weight_of(service: u32, other: u32) -> u32 {
    if service.is_multiple_of(100) {
        other
    } else {
        1
    }
}

/// The server whose weight is changed.
fn single_path() -> String {
    format!("/v1/services/{}/servers/{}", service_id(0), server_id(0))
}

/// `PROGRAM -R` with the table on standard input.
fn restore(program: &Path, size: Size) -> anyhow::Result<Duration> {
    let file = format!("{SCRATCH}/rules");
    fs::write(&file, size.rules())?;
    let input = File::open(&file)?;
    let begin = Instant::now();
    let status = Command::new(program)
        .arg("-R")
        .stdin(input)
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(status.success(), "{} -R: {status}", program.display());
    Ok(begin.elapsed())
}

/// A daemon runs for long: what its first request costs (its pages are read, its socket to the kernel
/// is opened) is no part of any other.
async fn warm(client: &mut Http) -> anyhow::Result<()> {
    let size = Size {
        services: 1,
        servers: 1,
    };
    for number in [WARMING, WARMING + 1] {
        let path = format!("/v1/services/{}", service_id(number));
        client
            .write(Method::PUT, &path, size.service_json(1))
            .await?;
        client.read(&path).await?;
        client.write(Method::DELETE, &path, Bytes::new()).await?;
    }
    Ok(())
}

async fn post_rules(client: &mut Http, path: &str, rules: Bytes) -> anyhow::Result<()> {
    let headers = [(header::CONTENT_TYPE, "text/plain")];
    let told = client.call(Method::POST, path, &headers, rules).await?;
    ensure!(told.status.is_success(), "{path}: {}", told.status);
    Ok(())
}

/// Runs a program whose output goes to a file in memory, as a script's would.
fn run_command(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    fs::create_dir_all(SCRATCH)?;
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(File::create(format!("{SCRATCH}/out"))?)
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

//! Requests per second over HTTP and gRPC: ipvsd on the fake kernel compared with a static server, with
//! the same clients on the same machine.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode, header};
use prost::Message;
use tokio::{runtime::Runtime, task::JoinSet};

use super::{
    daemon::Memory,
    grpc::{self, Undecoded},
    http::{Http, Reader},
    sample::{milliseconds, quantile, remark, sample},
    table::{Size, service_id},
};

#[derive(Args, Debug)]
pub struct Options {
    /// Rounds; each runs every load on every server.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each load.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Pollers, each with its own connection.
    #[arg(long, default_value_t = 1000)]
    pollers: usize,
    /// The table.
    #[arg(long, default_value = "100x10")]
    size: Size,
}

/// What the clients request repeatedly.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// The whole table, with `max-age=1`.
    Poll,
    /// The same with `If-None-Match`.
    PollTagged,
    /// The whole table over gRPC, at most 1 s old.
    PollGrpc,
    /// One service, without caching.
    One,
}

/// Clients of [`Load::One`].
const FEW: usize = 64;
/// Connections of a list whose peak of memory is measured.
const CONNECTIONS: u32 = 1_000_000;
const LIST: &str = "/v1/services?include=servers,stats,rates";

/// A process `measure serve`, which ends with this value.
pub struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

/// The result of a load.
struct Outcome {
    /// Responses per second.
    rate: f64,
    /// Latencies in ms.
    times: Vec<f64>,
    seconds: f64,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    println!("fact\tkernel\t{}", super::lab::release()?);
    let runtime = Runtime::new()?;
    let size = options.size.to_string();
    let directory = env::temp_dir().join(format!("ipvsd-bench-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let (list, one, proto) = (
        directory.join("list"),
        directory.join("one"),
        directory.join("proto"),
    );
    // The static server sends the responses of ipvsd.
    let model = Server::start(&["ipvsd", "--size", &size])?;
    runtime.block_on(async {
        let mut client = Http::connect(model.address).await?;
        fs::write(&list, client.fetch(LIST).await?)?;
        fs::write(&one, client.fetch(&one_service()).await?)?;
        let request = grpc::list_request(1).encode_to_vec().into();
        let mut client = Undecoded::connect(model.address).await?;
        fs::write(&proto, client.call(grpc::LIST, request).await?)?;
        anyhow::Ok(())
    })?;
    drop(model);
    for round in 1..=options.rounds {
        sample(
            "connections peak",
            CONNECTIONS,
            "http",
            round,
            connections()?,
        );
    }
    let bytes = |path: &Path| anyhow::Ok(fs::metadata(path)?.len() as f64);
    sample("answer bytes", &size, "http", 1, bytes(&list)?);
    sample("answer bytes", &size, "grpc", 1, bytes(&proto)?);

    for round in 1..=options.rounds {
        let mut kinds = ["nothing", "ipvsd"];
        if round.is_multiple_of(2) {
            kinds.reverse();
        }
        for load in [Load::Poll, Load::PollTagged, Load::PollGrpc, Load::One] {
            for kind in kinds {
                let json = if matches!(load, Load::One) {
                    &one
                } else {
                    &list
                };
                let (json, proto) = (json.to_string_lossy(), proto.to_string_lossy());
                let mut server = match kind {
                    "ipvsd" => Server::start(&["ipvsd", "--size", &size])?,
                    _ => Server::start(&["nothing", "--json", &json, "--proto", &proto])?,
                };
                let mut outcome = runtime.block_on(load.put_on(server.address, options))?;
                let work = load.name();
                sample(work, &size, kind, round, outcome.rate);
                let p99 = quantile(&mut outcome.times, 0.99);
                sample(&format!("{work} p99"), &size, kind, round, p99);
                if let Some(dumps) = server.end()?
                    && !matches!(load, Load::One)
                {
                    // The first dump is at the start of the period.
                    let rate = dumps.saturating_sub(1) as f64 / outcome.seconds;
                    sample("dumps", &size, work, round, rate);
                }
            }
        }
    }
    remark(format!(
        "each load: {} s, clients and server on the same processors; {} pollers, {FEW} clients of one service",
        options.seconds, options.pollers
    ));
    Ok(fs::remove_dir_all(directory)?)
}

/// Peak RSS in KiB of a server that lists many connections.
fn connections() -> anyhow::Result<f64> {
    let count = CONNECTIONS.to_string();
    let server = Server::start(&["ipvsd", "--size", "1x1", "--connections", &count])?;
    let path = format!("/v1/connections?limit={CONNECTIONS}");
    let length = Reader::connect(server.address)?.read(&path)?;
    ensure!(length > 100 * CONNECTIONS as usize, "{length} bytes only");
    Ok(Memory::of(server.child.id())?.peak)
}

fn one_service() -> String {
    format!("/v1/services/{}?include=stats", service_id(0))
}

// === impl Load ===

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Poll => "poll http",
            Self::PollTagged => "poll http 304",
            Self::PollGrpc => "poll grpc",
            Self::One => "get one",
        }
    }

    /// Runs many clients, each of which sends the next request after a response.
    async fn put_on(self, address: SocketAddr, options: &Options) -> anyhow::Result<Outcome> {
        let clients = match self {
            Self::One => FEW,
            _ => options.pollers,
        };
        // All connect before the first request.
        let mut connections = Vec::with_capacity(clients);
        for _ in 0..clients {
            connections.push(match self {
                Self::PollGrpc => Client::Grpc(Undecoded::connect(address).await?),
                _ => Client::Http(Http::connect(address).await?, None),
            });
        }
        let begin = Instant::now();
        let end = begin + Duration::from_secs(options.seconds);
        let mut tasks = JoinSet::new();
        for mut client in connections {
            tasks.spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < end {
                    let begin = Instant::now();
                    client.ask(self).await?;
                    times.push(milliseconds(begin.elapsed()));
                }
                anyhow::Ok(times)
            });
        }
        let mut times = Vec::new();
        while let Some(task) = tasks.join_next().await {
            times.extend(task??);
        }
        let seconds = begin.elapsed().as_secs_f64();
        Ok(Outcome {
            rate: times.len() as f64 / seconds,
            times,
            seconds,
        })
    }
}

enum Client {
    /// One request with the last ETag.
    Http(Http, Option<String>),
    Grpc(Undecoded),
}

impl Client {
    async fn ask(&mut self, load: Load) -> anyhow::Result<()> {
        match self {
            Self::Grpc(client) => {
                let request = grpc::list_request(1).encode_to_vec();
                let answer = client.call(grpc::LIST, request.into()).await?;
                ensure!(!answer.is_empty(), "an empty list");
            }
            Self::Http(client, tag) => {
                let one = one_service();
                let (path, mut headers) = match load {
                    Load::One => (one.as_str(), Vec::new()),
                    _ => (LIST, vec![(header::CACHE_CONTROL, "max-age=1")]),
                };
                if let Some(tag) = tag {
                    headers.push((header::IF_NONE_MATCH, tag));
                }
                let response = client.call(Method::GET, path, &headers, Bytes::new());
                let response = response.await?;
                let fine = response.status == StatusCode::OK
                    || response.status == StatusCode::NOT_MODIFIED;
                ensure!(fine, "{path}: {}", response.status);
                if matches!(load, Load::PollTagged) {
                    *tag = response.etag;
                }
            }
        }
        Ok(())
    }
}

// === impl Server ===

impl Server {
    pub fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_by(
            Command::new(env::current_exe()?)
                .arg("serve")
                .args(arguments),
        )
    }

    /// Starts a server by a command that becomes `measure serve`.
    pub fn start_by(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let address = line.trim().strip_prefix("address\t");
        Ok(Self {
            address: address.context("the server did not start")?.parse()?,
            child,
            input,
            output,
        })
    }

    /// Ends the server and waits until it has ended; returns the number of dumps.
    pub fn end(&mut self) -> anyhow::Result<Option<u64>> {
        self.input = None;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        self.child.wait()?;
        let dumps = line.trim().strip_prefix("dumps\t");
        Ok(dumps.map(str::parse).transpose()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

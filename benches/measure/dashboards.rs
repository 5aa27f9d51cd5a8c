//! A change beside many dashboards: its latency, the daemon's reads of the table, and its memory.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use http::{Method, header};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    task::JoinSet,
    time::{interval, sleep},
};

use super::{
    daemon::{Daemon, free_port},
    http::Http,
    sample::{milliseconds, quantile, sample},
    table::{Size, server_id, service_id},
};

#[derive(Args, Debug)]
pub struct Options {
    /// The daemon.
    #[arg(long)]
    ipvsd: PathBuf,
    /// The kernel that the daemon manages: `fake` or `netlink`.
    #[arg(long, default_value = "fake")]
    kernel: String,
    /// The table.
    #[arg(long, default_value = "1000x100")]
    size: Size,
    /// Streams of statistics.
    #[arg(long, default_value_t = 1000)]
    streams: u32,
    /// Parameters of the streams.
    #[arg(long, default_value = "include=totals")]
    query: String,
    /// Scrapes per second.
    #[arg(long, default_value_t = 200)]
    scrapes: u32,
    /// `metrics.max_servers` of the daemon.
    #[arg(long, default_value = "0")]
    max_servers: String,
    /// Seconds of each phase.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// Pause between two changes.
const PAUSE: Duration = Duration::from_millis(2);

/// The daemon's reads of the table in `/metrics`.
const READS: &str = "ipvsd_kernel_read_duration_seconds_count{query=\"table\"} ";

pub fn run(options: &Options) -> anyhow::Result<()> {
    println!("fact\tkernel\t{}", super::lab::release()?);
    let variables = [
        ("IPVSD_METRICS_MAX_SERVERS", options.max_servers.as_str()),
        ("IPVSD_STATS_MAX_STREAMS", "100000"),
        ("IPVSD_LIMITS_MAX_CONNECTIONS", "100000"),
    ];
    let daemon = Daemon::start_with(&options.ipvsd, &options.kernel, free_port()?, &variables)?;
    Runtime::new()?.block_on(options.measure(&daemon))
}

impl Options {
    async fn measure(&self, daemon: &Daemon) -> anyhow::Result<()> {
        let address = daemon.address;
        let mut client = Http::connect(address).await?;
        let text = [(header::CONTENT_TYPE, "application/octet-stream")];
        let rules = Bytes::from(self.size.rules());
        let filled = client.call(Method::POST, "/v1/rules", &text, rules).await?;
        ensure!(filled.status.is_success(), "{}", filled.status);
        self.phase("alone", daemon).await?;
        let mut tasks = JoinSet::new();
        for _ in 0..self.streams {
            let stream = request(address, &format!("/v1/stats/stream?{}", self.query)).await?;
            tasks.spawn(read_all(stream));
        }
        self.phase("with streams", daemon).await?;
        let begin = Instant::now();
        let scrapes = self.scrapes;
        let mut scraping = JoinSet::new();
        // Each scrapes once a second.
        for number in 0..scrapes {
            let delay = Duration::from_secs(1) * number / scrapes.max(1);
            scraping.spawn(scrape(address, delay, Duration::from_secs(self.seconds)));
        }
        self.phase("with streams and scrapes", daemon).await?;
        let mut times = Vec::new();
        while let Some(of_one) = scraping.join_next().await {
            times.append(&mut of_one??);
        }
        if !times.is_empty() {
            let made = times.len() as f64 / begin.elapsed().as_secs_f64();
            self.report("scrapes per second", made);
            self.report("scrape p99, ms", quantile(&mut times, 0.99));
        }
        ensure!(tasks.try_join_next().is_none(), "a stream has ended");
        Ok(())
    }

    fn report(&self, what: &str, value: f64) {
        sample("dashboards", self.size, what, 1, value);
    }

    /// Changes weights for some time.
    async fn phase(&self, name: &str, daemon: &Daemon) -> anyhow::Result<()> {
        let mut client = Http::connect(daemon.address).await?;
        let json = [(header::CONTENT_TYPE, "application/json")];
        let reads = table_reads(daemon.address).await?;
        daemon.forget_peak()?;
        let (begin, length) = (Instant::now(), Duration::from_secs(self.seconds));
        let mut times = Vec::new();
        while begin.elapsed() < length {
            let number = times.len() as u32;
            let service = service_id(number % self.size.services);
            let path = format!("/v1/services/{service}/servers/{}", server_id(0));
            let body = format!("{{\"weight\":{}}}", number % 60_000 + 2);
            let start = Instant::now();
            let reply = client
                .call(Method::PATCH, &path, &json, body.into())
                .await?;
            times.push(milliseconds(start.elapsed()));
            ensure!(reply.status.is_success(), "{}", reply.status);
            sleep(PAUSE).await;
        }
        let seconds = begin.elapsed().as_secs_f64();
        let reads = table_reads(daemon.address).await? - reads;
        for (part, what) in [(0.5, "p50"), (0.99, "p99")] {
            let value = quantile(&mut times, part);
            self.report(&format!("change {what}, ms, {name}"), value);
        }
        self.report(
            &format!("reads of the table per second, {name}"),
            reads / seconds,
        );
        let memory = daemon.memory()?;
        self.report(&format!("peak RSS, MiB, {name}"), memory.peak / 1024.0);
        Ok(())
    }
}

/// A GET over a connection of its own, which the server closes or never ends.
async fn request(address: SocketAddr, path: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    ensure!(&status == b"HTTP/1.1 200", "{status:?}");
    Ok(stream)
}

async fn read_all(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// One scrape a second; their times.
async fn scrape(
    address: SocketAddr,
    delay: Duration,
    length: Duration,
) -> anyhow::Result<Vec<f64>> {
    sleep(delay).await;
    let (begin, mut times) = (Instant::now(), Vec::new());
    let mut ticks = interval(Duration::from_secs(1));
    while begin.elapsed() < length {
        ticks.tick().await;
        let start = Instant::now();
        read_all(request(address, "/metrics").await?).await?;
        times.push(milliseconds(start.elapsed()));
    }
    Ok(times)
}

async fn table_reads(address: SocketAddr) -> anyhow::Result<f64> {
    let mut text = String::new();
    let mut stream = request(address, "/metrics").await?;
    stream.read_to_string(&mut text).await?;
    let line = text.lines().find_map(|line| line.strip_prefix(READS));
    Ok(line.context("no reads in /metrics")?.parse()?)
}

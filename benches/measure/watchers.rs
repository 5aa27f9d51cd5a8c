//! The memory of the daemon with many watchers, of which some do not read until the changes that they have not read are
//! more than the daemon keeps.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use http::{Method, header};
use ipvsd::proto::v1::{self as pb, ipvs_service_client::IpvsServiceClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    task::JoinSet,
};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use super::{
    daemon::{Daemon, free_port},
    http::Http,
    sample::sample,
    table::{Size, server_id, service_id},
};

#[derive(Args, Debug)]
pub struct Options {
    /// The daemon.
    #[arg(long)]
    ipvsd: PathBuf,
    /// Watchers; half of them over HTTP/1.1 (SSE), and half over gRPC.
    #[arg(long, default_value_t = 1000)]
    watchers: u32,
    /// Watchers that do not read until the last change.
    #[arg(long, default_value_t = 200)]
    slow: u32,
    /// Changes, one after the other. Sockets buffer up to about 5000 events.
    #[arg(long, default_value_t = 12_000)]
    changes: u32,
    /// `watch.max_events` of the daemon.
    #[arg(long, default_value = "4096")]
    max_events: String,
}

/// A client that watches.
enum Watcher {
    Sse(TcpStream),
    Grpc(Streaming<pb::WatchResponse>),
}

const SIZE: Size = Size {
    services: 100,
    servers: 10,
};
/// Streams of a connection of gRPC.
const STREAMS: u32 = 100;
const WINDOW: u32 = 65_535;

pub fn run(options: &Options) -> anyhow::Result<()> {
    println!("fact\tkernel\t{}", super::lab::release()?);
    let variables = [
        ("IPVSD_WATCH_MAX_EVENTS", options.max_events.as_str()),
        // Those that do not read are not disconnected meanwhile.
        ("IPVSD_LIMITS_WRITE_TIMEOUT", "10m"),
    ];
    let daemon = Daemon::start_with(&options.ipvsd, "fake", free_port()?, &variables)?;
    Runtime::new()?.block_on(options.measure(&daemon))
}

impl Options {
    async fn measure(&self, daemon: &Daemon) -> anyhow::Result<()> {
        let report = |what: &str, value| sample("watchers", SIZE, what, 1, value);
        let mut client = Http::connect(daemon.address).await?;
        let text = [(header::CONTENT_TYPE, "application/octet-stream")];
        let rules = Bytes::from(SIZE.rules());
        let filled = client.call(Method::POST, "/v1/rules", &text, rules).await?;
        ensure!(filled.status.is_success(), "{}", filled.status);
        report("RSS before, KiB", daemon.memory()?.resident);
        let (slow, fast) = self.connect(daemon.address).await?;
        report("RSS with watchers, KiB", daemon.memory()?.resident);

        let mut readers = JoinSet::new();
        for watcher in fast {
            readers.spawn(watcher.read(None));
        }
        daemon.forget_peak()?;
        let path = format!("/v1/services/{}/servers/{}", service_id(0), server_id(0));
        let json = [(header::CONTENT_TYPE, "application/json")];
        for number in 0..self.changes {
            let body = format!("{{\"weight\":{}}}", number % 60_000 + 2);
            let reply = client
                .call(Method::PATCH, &path, &json, body.into())
                .await?;
            ensure!(reply.status.is_success(), "{}", reply.status);
        }
        report("peak RSS during the changes, KiB", daemon.memory()?.peak);

        let mut resynced = JoinSet::new();
        let patience = Duration::from_secs(60);
        for watcher in slow {
            resynced.spawn(tokio::time::timeout(patience, watcher.read(Some("resync"))));
        }
        let mut count = 0;
        while let Some(watcher) = resynced.join_next().await {
            watcher?.context("a slow watcher got no resync")??;
            count += 1;
        }
        report("slow watchers that got resync", f64::from(count));
        ensure!(readers.try_join_next().is_none(), "a watch has ended");
        report("RSS afterwards, KiB", daemon.memory()?.resident);
        Ok(())
    }

    /// Those that are slow, and the others.
    async fn connect(&self, address: SocketAddr) -> anyhow::Result<(Vec<Watcher>, Vec<Watcher>)> {
        let (mut slow, mut fast) = (Vec::new(), Vec::new());
        let mut channel = None;
        for number in 0..self.watchers {
            let watcher = if number % 2 == 0 {
                Watcher::sse(address).await?
            } else {
                if number / 2 % STREAMS == 0 {
                    channel = Some(connection(address).await?);
                }
                let channel = channel.clone().context("no connection")?;
                let mut client = IpvsServiceClient::new(channel);
                let events = client.watch(pb::WatchRequest::default()).await?;
                Watcher::Grpc(events.into_inner())
            };
            // Of both kinds.
            if number < self.slow {
                &mut slow
            } else {
                &mut fast
            }
            .push(watcher);
        }
        Ok((slow, fast))
    }
}

/// A connection whose streams do not wait for each other.
async fn connection(address: SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(STREAMS * WINDOW);
    Ok(endpoint.connect().await?)
}

impl Watcher {
    async fn sse(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(16 << 10)?;
        let mut stream = socket.connect(address).await?;
        let request = "GET /v1/watch HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        ensure!(&status == b"HTTP/1.1 200", "{status:?}");
        Ok(Self::Sse(stream))
    }

    /// Reads up to an event of a type, or to the end of the daemon.
    async fn read(self, end: Option<&'static str>) -> anyhow::Result<()> {
        match self {
            Self::Grpc(mut events) => {
                while let Some(event) = events.message().await? {
                    if end == Some(event.r#type.as_str()) {
                        break;
                    }
                }
            }
            Self::Sse(mut stream) => {
                let needle = end.map(|end| format!("event: {end}\n"));
                let (mut last, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
                loop {
                    let length = stream.read(&mut buffer).await?;
                    ensure!(length > 0, "the watch has ended");
                    let Some(needle) = &needle else { continue };
                    last.extend_from_slice(&buffer[..length]);
                    if last
                        .windows(needle.len())
                        .any(|part| part == needle.as_bytes())
                    {
                        break;
                    }
                    last.drain(..last.len().saturating_sub(needle.len()));
                }
            }
        }
        Ok(())
    }
}

//! Honest clients beside one that sends as many requests as it can, with and without quotas. Each client has
//! an address of its own in 127.0.0.0/8. All run on this machine: the threads of the abuser have the lowest
//! priority, so that it takes the daemon's time and not that of the other clients.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{
    daemon::{Daemon, free_port},
    http::Http,
    sample::{milliseconds, quantile, remark, sample},
    table::{Size, server_id, service_id},
};

#[derive(Args, Debug)]
pub struct Options {
    /// The daemon.
    #[arg(long)]
    ipvsd: PathBuf,
    /// Seconds of each load.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Connections of the abuser.
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Honest clients, each with one connection.
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// The table.
    #[arg(long, default_value = "100x10")]
    size: Size,
}

/// Quotas that the honest clients do not reach, as variables of the daemon.
const QUOTAS: &[(&str, &str)] = &[
    ("IPVSD_QUOTA_READS_PER_SECOND", "100"),
    ("IPVSD_QUOTA_WRITES_PER_SECOND", "100"),
    ("IPVSD_QUOTA_BYTES_PER_SECOND", "5000000"),
];

/// Time between two requests of an honest client: reads of a service and changes of a weight in turn.
const PACE: Duration = Duration::from_millis(20);

/// Honest requests before the first that is measured.
const WARM_UP: usize = 50;

/// Nice value of the abuser's threads.
const LOWEST_PRIORITY: i32 = 19;

/// What the abuser requests, or nothing.
#[derive(Clone, Copy, Debug)]
enum Abuse {
    None,
    /// The whole table.
    Lists,
    /// Changes of a weight.
    Writes,
}

/// What an abuser achieved.
#[derive(Debug, Default)]
struct Achieved {
    stop: AtomicBool,
    answered: AtomicU64,
    refused: AtomicU64,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    println!("fact\tkernel\t{}", super::lab::release()?);
    let quotas: [(&str, &[_]); 2] = [("no quotas", &[]), ("quotas", QUOTAS)];
    for (name, variables) in quotas {
        for abuse in [Abuse::None, Abuse::Lists, Abuse::Writes] {
            let daemon = Daemon::start_with(&options.ipvsd, "fake", free_port()?, variables)?;
            options.measure(&daemon, name, abuse)?;
        }
    }
    Ok(())
}

impl Options {
    fn measure(&self, daemon: &Daemon, quotas: &str, abuse: Abuse) -> anyhow::Result<()> {
        let address = daemon.address;
        let runtime = Runtime::new()?;
        runtime.block_on(self.fill(address))?;
        let abusers = Builder::new_multi_thread()
            .enable_all()
            .on_thread_start(|| {
                let _ = rustix::process::setpriority_process(None, LOWEST_PRIORITY);
            })
            .build()?;
        let achieved = Arc::new(Achieved::default());
        for _ in 0..self.connections {
            match abuse {
                Abuse::None => {}
                _ => drop(abusers.spawn(self.abuse(address, abuse, achieved.clone()))),
            }
        }
        let begin = Instant::now();
        let times = runtime.block_on(self.honest(address));
        let seconds = begin.elapsed().as_secs_f64();
        achieved.stop.store(true, Ordering::Relaxed);
        let mut times = times?;
        let name = format!("{quotas}, {abuse:?}");
        for (work, part) in [
            ("fairness p50", 0.5),
            ("fairness p99", 0.99),
            ("fairness max", 1.0),
        ] {
            sample(work, self.size, &name, 1, quantile(&mut times, part));
        }
        let rate = |count: &AtomicU64| (count.load(Ordering::Relaxed) as f64 / seconds).round();
        let (answered, refused) = (rate(&achieved.answered), rate(&achieved.refused));
        remark(format!(
            "{name}: the abuser has {answered} answers and {refused} refusals per second"
        ));
        abusers.shutdown_background();
        Ok(())
    }

    async fn fill(&self, address: SocketAddr) -> anyhow::Result<()> {
        let mut client = Http::connect(address).await?;
        for number in 0..self.size.services {
            let path = format!("/v1/services/{}", service_id(number));
            let body = self.size.service_json(1);
            client.write(Method::PUT, &path, body).await?;
        }
        Ok(())
    }

    /// The latencies of the honest clients, in milliseconds.
    async fn honest(&self, address: SocketAddr) -> anyhow::Result<Vec<f64>> {
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            let source = Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + number);
            let service = format!("/v1/services/{}", service_id(number % self.size.services));
            clients.spawn(async move {
                let mut client = Http::connect_from(source, address).await?;
                let server = format!("{service}/servers/{}", server_id(0));
                let mut ticks = interval(PACE);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut times = Vec::new();
                for request in 0_usize.. {
                    ticks.tick().await;
                    if Instant::now() >= end {
                        break;
                    }
                    let begin = Instant::now();
                    match request % 2 {
                        0 => drop(client.read(&service).await?),
                        _ => {
                            let body = format!("{{\"weight\":{}}}", request % 60_000);
                            client.write(Method::PATCH, &server, body).await?;
                        }
                    }
                    times.push(milliseconds(begin.elapsed()));
                }
                anyhow::Ok(times.split_off(WARM_UP.min(times.len())))
            });
        }
        let mut times = Vec::new();
        while let Some(client) = clients.join_next().await {
            times.extend(client??);
        }
        Ok(times)
    }

    /// Sends requests on one connection until it is stopped.
    fn abuse(
        &self,
        address: SocketAddr,
        abuse: Abuse,
        achieved: Arc<Achieved>,
    ) -> impl Future<Output = anyhow::Result<()>> + use<> {
        let service = service_id(self.size.services - 1);
        async move {
            let mut client = Http::connect_from(Ipv4Addr::new(127, 0, 2, 1), address).await?;
            let headers = [(http::header::CONTENT_TYPE, "application/json")];
            let path = format!("/v1/services/{service}/servers/{}", server_id(0));
            let body = Bytes::from_static(b"{\"weight\":5}");
            while !achieved.stop.load(Ordering::Relaxed) {
                let reply = match abuse {
                    Abuse::Writes => client.call(Method::PATCH, &path, &headers, body.clone()),
                    _ => client.call(Method::GET, LIST, &[], Bytes::new()),
                };
                let count = match reply.await?.status {
                    StatusCode::TOO_MANY_REQUESTS => &achieved.refused,
                    _ => &achieved.answered,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        }
    }
}

/// The whole table, read from the kernel each time.
const LIST: &str = "/v1/services?include=servers,stats,rates";

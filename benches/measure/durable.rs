//! What a durable write costs: a change of a weight with an idempotency key, which is in the store before the kernel is
//! changed, beside the same change without one, and beside the least that is durable: a write of 4 KiB and its
//! `fdatasync`.

use std::{
    fs::{self, File},
    net::SocketAddr,
    os::unix::fs::FileExt,
    path::PathBuf,
    time::Instant,
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use http::{HeaderName, Method, header};
use tokio::{runtime::Runtime, task::JoinSet};

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
    /// The kernel: netlink or fake.
    #[arg(long, default_value = "fake")]
    kernel: String,
    /// Directory of the state, on the file system to measure. It must not exist, and is deleted at the end.
    #[arg(long, default_value = "target/measure-durable")]
    directory: PathBuf,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Changes of each kind and round.
    #[arg(long, default_value_t = 2000)]
    changes: u32,
    /// Clients that write at once, in the second part.
    #[arg(long, default_value_t = 64)]
    clients: u32,
}

const SIZE: Size = Size {
    services: 100,
    servers: 10,
};
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A kind of changes.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Durable,
    NotStored,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    println!("fact\tkernel\t{}", super::lab::release()?);
    fs::create_dir(&options.directory)
        .with_context(|| format!("cannot create {}", options.directory.display()))?;
    let measured = options.measure();
    fs::remove_dir_all(&options.directory)?;
    measured
}

impl Options {
    fn measure(&self) -> anyhow::Result<()> {
        let directory = fs::canonicalize(&self.directory)?;
        let directory = directory.to_str().context("a path in UTF-8")?;
        let variables = [("IPVSD_STATE_DIR", directory)];
        let daemon = Daemon::start_with(&self.ipvsd, &self.kernel, free_port()?, &variables)?;
        Runtime::new()?.block_on(async {
            let mut client = Http::connect(daemon.address).await?;
            let text = [(header::CONTENT_TYPE, "application/octet-stream")];
            let rules = Bytes::from(SIZE.rules());
            let filled = client.call(Method::POST, "/v1/rules", &text, rules).await?;
            ensure!(filled.status.is_success(), "{}", filled.status);
            let mut kinds = [(Kind::Durable, "durable"), (Kind::NotStored, "not stored")];
            for round in 1..=self.rounds {
                for (kind, name) in kinds {
                    let mut times = self.alone(&mut client, kind, round).await?;
                    let median = quantile(&mut times, 0.5);
                    sample("durable p50, ms", SIZE, name, round, median);
                }
                let median = quantile(&mut self.synchronised()?, 0.5);
                sample(
                    "durable p50, ms",
                    SIZE,
                    "4 KiB and fdatasync",
                    round,
                    median,
                );
                for (kind, name) in kinds {
                    let rate = self.together(daemon.address, kind, round).await?;
                    sample("durable, changes/s", SIZE, name, round, rate);
                }
                kinds.reverse();
            }
            Ok(())
        })
    }

    /// The times of changes one after the other.
    async fn alone(&self, client: &mut Http, kind: Kind, round: u32) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::new();
        for number in 0..self.changes / 4 {
            let begin = Instant::now();
            change(client, kind, round, 0, number).await?;
            times.push(milliseconds(begin.elapsed()));
        }
        Ok(times)
    }

    /// The times of writes over old data that are durable.
    fn synchronised(&self) -> anyhow::Result<Vec<f64>> {
        let file = File::create(self.directory.join("plain"))?;
        file.write_all_at(&vec![0; 1 << 20], 0)?;
        file.sync_all()?;
        let mut times = Vec::new();
        for number in 0..self.changes / 4 {
            let begin = Instant::now();
            file.write_all_at(&[1; 4096], u64::from(number % 256) * 4096)?;
            file.sync_data()?;
            times.push(milliseconds(begin.elapsed()));
        }
        Ok(times)
    }

    /// Changes per second of many clients at once.
    async fn together(&self, address: SocketAddr, kind: Kind, round: u32) -> anyhow::Result<f64> {
        let each = self.changes / self.clients;
        let begin = Instant::now();
        let mut clients = JoinSet::new();
        for client in 1..=self.clients {
            clients.spawn(async move {
                let mut connection = Http::connect(address).await?;
                for number in 0..each {
                    change(&mut connection, kind, round, client, number).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(client) = clients.join_next().await {
            client??;
        }
        Ok(f64::from(each * self.clients) / begin.elapsed().as_secs_f64())
    }
}

/// Changes the weight of a server that only this client changes.
async fn change(
    connection: &mut Http,
    kind: Kind,
    round: u32,
    client: u32,
    number: u32,
) -> anyhow::Result<()> {
    let path = format!(
        "/v1/services/{}/servers/{}",
        service_id(client),
        server_id(0)
    );
    let body = format!("{{\"weight\":{}}}", number % 60_000 + 2);
    let key = format!("{round}-{client}-{number}");
    let mut headers = vec![(header::CONTENT_TYPE, "application/json")];
    if kind == Kind::Durable {
        headers.push((KEY, &key));
    }
    let reply = connection.call(Method::PATCH, &path, &headers, body.into());
    let status = reply.await?.status;
    ensure!(status.is_success(), "{path}: {status}");
    Ok(())
}

//! Requests of other clients while one client restores a service with very many real servers. Each command
//! of the kernel searches the servers that are there already.

use std::time::Instant;

use anyhow::ensure;
use bytes::Bytes;
use http::{Method, header};

use super::{
    super::{
        http::Http,
        raw::Raw,
        sample::{milliseconds, quantile},
    },
    BESIDE, BESIDE_RULES, Options, block_on,
};

/// Kernel commands that are timed at the end.
const COMMANDS: u32 = 20;

impl Options {
    pub(super) fn contended(&self, raw: &mut Raw) -> anyhow::Result<()> {
        let daemon = self.daemon()?;
        let address = daemon.address;
        block_on(async {
            restore(&mut Http::connect(address).await?, BESIDE_RULES.into()).await?;
            let mut restorer = Http::connect(address).await?;
            let mut writer = Http::connect(address).await?;
            let mut prober = Http::connect(address).await?;
            let rules = Bytes::from(self.size.rules());
            let restoring = tokio::spawn(async move { restore(&mut restorer, rules).await });
            let ended = || restoring.is_finished();
            let write = async {
                let mut times = Vec::new();
                while !ended() {
                    let body = format!("{{\"weight\":{}}}", times.len() % 60_000);
                    let begin = Instant::now();
                    writer.write(Method::PATCH, BESIDE, body).await?;
                    times.push(milliseconds(begin.elapsed()));
                }
                anyhow::Ok(times)
            };
            let probe = async {
                let mut times = Vec::new();
                while !ended() {
                    let begin = Instant::now();
                    prober.read("/readyz").await?;
                    times.push(milliseconds(begin.elapsed()));
                }
                anyhow::Ok(times)
            };
            let (write, probe) = tokio::join!(write, probe);
            for (contender, times) in [("write", write), ("readyz", probe)] {
                self.sample("contended p99", contender, quantile(&mut times?, 0.99));
            }
            restoring.await??;
            Ok(())
        })?;
        let found = raw.servers_of(0)?;
        ensure!(found == self.size.servers, "{found} servers");
        let mut times = Vec::new();
        for number in 0..COMMANDS {
            let begin = Instant::now();
            raw.add_server(0, self.size.servers + number)?;
            times.push(milliseconds(begin.elapsed()));
        }
        self.sample("contended p99", "command", quantile(&mut times, 0.5));
        Ok(())
    }
}

async fn restore(client: &mut Http, rules: Bytes) -> anyhow::Result<()> {
    let path = "/v1/rules";
    let headers = [(header::CONTENT_TYPE, "application/octet-stream")];
    let response = client.call(Method::POST, path, &headers, rules).await?;
    ensure!(response.status.is_success(), "{path}: {}", response.status);
    Ok(())
}

//! Listing a loaded table, and single changes of it.

use std::{fs, net::SocketAddr, time::Instant};

use anyhow::{Context, ensure};
use http::{Method, header};
use prost::Message;

use super::{
    super::{
        grpc::{self, Lister},
        http::{Http, Reader},
        raw::{Mode, Raw},
        sample::{milliseconds, quantile},
        table::{server_id, service_id},
        transport::Server,
    },
    BESIDE, BESIDE_RULES, LIST, Options, SCRATCH, block_on, run_command,
};

/// Lists per round; the result is their median.
const LISTINGS: usize = 3;
/// Single changes per round, and per contender before the next one.
const SINGLES: u32 = 200;
const TURN: u32 = 25;

impl Options {
    pub(super) fn table(&self, raw: &mut Raw) -> anyhow::Result<()> {
        raw.fill(self.size, Mode::Packed)?;
        let daemon = self.daemon()?;
        block_on(async {
            let mut grpc = grpc::connect(daemon.address).await?;
            let mut reader = Reader::connect(daemon.address)?;
            let mut lister = Lister::connect(daemon.address).await?;
            self.list(raw, &mut reader, (&mut lister, &mut grpc))
                .await?;
            // Connect here: during the lists it would reach the idle timeout.
            let mut http = Http::connect(daemon.address).await?;
            // The cost of a static server is the minimum of any server.
            let answer = http.fetch(&single_path()).await?;
            let (json, proto) = (format!("{SCRATCH}/json"), format!("{SCRATCH}/proto"));
            fs::write(&json, &answer)?;
            fs::write(&proto, answer.get(..answer.len() / 2).unwrap_or_default())?;
            let nothing = Server::start(&["nothing", "--json", &json, "--proto", &proto])?;
            let mut static_http = Http::connect(nothing.address).await?;
            let mut static_grpc = Lister::connect(nothing.address).await?;
            self.single(
                raw,
                (&mut http, &mut grpc),
                (&mut static_http, &mut static_grpc),
            )
            .await?;
            self.beside(daemon.address, &mut http).await
        })
    }

    async fn list(
        &self,
        raw: &mut Raw,
        http: &mut Reader,
        (lister, decoder): (&mut Lister, &mut grpc::Client),
    ) -> anyhow::Result<()> {
        let exact = ["-Ln", "--stats", "--exact"];
        let servers = self.size.services * self.size.servers;
        let has_ipvsctl = self.has_ipvsctl();
        let mut times: [(&str, Vec<f64>); 6] =
            ["raw", "ipvsadm", "http", "grpc", "grpc-decoded", "ipvsctl"]
                .map(|name| (name, Vec::new()));
        http.read(LIST)?;
        lister.list_all().await?;
        grpc::list(decoder).await?;
        for _ in 0..LISTINGS {
            for (contender, times) in &mut times {
                let begin = Instant::now();
                match *contender {
                    "raw" => {
                        raw.dump()?;
                    }
                    "ipvsadm" => run_command("ipvsadm", &exact)?,
                    "http" => {
                        let length = http.read(LIST)?;
                        ensure!(length > servers as usize * 100, "{length} bytes only");
                    }
                    "grpc" => {
                        let length = lister.list_all().await?;
                        ensure!(length > servers as usize * 20, "{length} bytes only");
                    }
                    "grpc-decoded" => {
                        let (_, listed) = grpc::list(decoder).await?;
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
        (static_http, static_grpc): (&mut Http, &mut Lister),
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
                        "nothing-http" => static_http.write(Method::PATCH, &path, body).await?,
                        "nothing-grpc" => {
                            let update = grpc::weight_update(0, 0, weight).encode_to_vec();
                            static_grpc.list(update.into()).await?;
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

    /// Changes while another client lists everything repeatedly.
    async fn beside(&self, address: SocketAddr, http: &mut Http) -> anyhow::Result<()> {
        let rules = BESIDE_RULES;
        let text = [(header::CONTENT_TYPE, "application/octet-stream")];
        let path = "/v1/rules";
        let response = http.call(Method::POST, path, &text, rules.into()).await?;
        ensure!(response.status.is_success(), "{path}: {}", response.status);
        let alone = weights(http, |count| count == SINGLES as usize).await?;
        let mut other = Http::connect(address).await?;
        let listing = tokio::spawn(async move {
            for _ in 0..LISTINGS {
                other.read(LIST).await?;
            }
            anyhow::Ok(())
        });
        let listed = weights(http, |count| count > 0 && listing.is_finished()).await?;
        listing.await??;
        for (contender, mut times) in [("alone", alone), ("listed", listed)] {
            self.sample("beside p50", contender, quantile(&mut times, 0.5));
            self.sample("beside p99", contender, quantile(&mut times, 0.99));
        }
        Ok(())
    }
}

/// Changes weights of a small service until stopped.
async fn weights(
    http: &mut Http,
    mut enough: impl FnMut(usize) -> bool,
) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    while !enough(times.len()) {
        let body = format!("{{\"weight\":{}}}", times.len() % 60_000);
        let begin = Instant::now();
        http.write(Method::PATCH, BESIDE, body).await?;
        times.push(milliseconds(begin.elapsed()) * 1e3);
    }
    Ok(times)
}

/// The server whose weight is changed.
fn single_path() -> String {
    format!("/v1/services/{}/servers/{}", service_id(0), server_id(0))
}

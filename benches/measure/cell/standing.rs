//! A table that stands: listing it, and single changes of it.

use std::{fs, time::Instant};

use anyhow::{Context, ensure};
use http::Method;
use prost::Message;

use super::{
    super::{
        grpc::{self, Lister},
        http::Http,
        raw::{Mode, Raw},
        sample::{milliseconds, quantile},
        table::{server_id, service_id},
        transport::Server,
    },
    LIST, Options, SCRATCH, block_on, run_command,
};

/// How often a table is listed in a round, whose result is the median.
const LISTINGS: usize = 3;
/// Single changes in a round, and how many go before it is another's turn.
const SINGLES: u32 = 200;
const TURN: u32 = 25;

impl Options {
    pub(super) fn table(&self, raw: &mut Raw) -> anyhow::Result<()> {
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
}

/// The server whose weight is changed.
fn single_path() -> String {
    format!("/v1/services/{}/servers/{}", service_id(0), server_id(0))
}

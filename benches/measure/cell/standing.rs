//! Listing a loaded table, and single changes of it.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{Method, header};
use prost::Message;

use super::{
    super::{
        grpc::{self, Undecoded},
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
/// Single changes per contender and round, and before the next contender: each is in each place once.
const SINGLES: u32 = 200;
const TURN: u32 = 40;
/// Changes beside a listing client per round, at least: ten are above the 99th percentile.
const BESIDE_CHANGES: usize = 1000;
/// Lists that the other client finishes meanwhile, at least.
const BESIDE_LISTINGS: usize = 3;
/// Time limit of the changes beside a listing client.
const BESIDE_TIME: Duration = Duration::from_secs(20);

/// A client that lists everything repeatedly, in its own thread so that it takes no time of the clients
/// that are measured. [`Self::end`] ends it.
struct Listing {
    ended: Arc<AtomicBool>,
    finished: Arc<AtomicUsize>,
    thread: thread::JoinHandle<anyhow::Result<()>>,
}

impl Options {
    pub(super) fn table(&self, raw: &mut Raw) -> anyhow::Result<()> {
        raw.fill(self.size, Mode::Packed)?;
        let daemon = self.daemon()?;
        block_on(async {
            let mut grpc = grpc::connect(daemon.address).await?;
            let mut reader = Reader::connect(daemon.address)?;
            let mut lister = Undecoded::connect(daemon.address).await?;
            self.list(raw, &mut reader, (&mut lister, &mut grpc))
                .await?;
            // Connect here: during the lists it would reach the idle timeout.
            let mut http = Http::connect(daemon.address).await?;
            // The cost of a static server is the minimum of any server. It sends the responses of ipvsd.
            let path = single_path();
            let answer = http.answer(Method::PATCH, &path, weight_json(1)).await?;
            let (json, proto) = (format!("{SCRATCH}/json"), format!("{SCRATCH}/proto"));
            fs::write(&json, answer)?;
            fs::write(&proto, lister.call(grpc::UPDATE, weight_proto(1)).await?)?;
            let nothing = Server::start(&["nothing", "--json", &json, "--proto", &proto])?;
            let mut static_http = Http::connect(nothing.address).await?;
            let mut static_grpc = Undecoded::connect(nothing.address).await?;
            static_http
                .write(Method::PATCH, &path, weight_json(1))
                .await?;
            static_grpc.call(grpc::UPDATE, weight_proto(1)).await?;
            self.single(
                raw,
                (&mut http, &mut lister),
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
        (lister, decoder): (&mut Undecoded, &mut grpc::Client),
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
        (http, grpc): (&mut Http, &mut Undecoded),
        (static_http, static_grpc): (&mut Http, &mut Undecoded),
    ) -> anyhow::Result<()> {
        let path = single_path();
        let mut times: [(&str, Vec<f64>); 5] =
            ["raw", "http", "grpc", "nothing-http", "nothing-grpc"].map(|name| (name, Vec::new()));
        let mut weight = 1;
        for _ in 0..SINGLES / TURN {
            for (contender, times) in &mut times {
                for _ in 0..TURN {
                    weight = weight % 60_000 + 1;
                    let begin = Instant::now();
                    match *contender {
                        "raw" => raw.set_weight(0, 0, weight)?,
                        "http" | "nothing-http" => {
                            let client = match *contender {
                                "http" => &mut *http,
                                _ => &mut *static_http,
                            };
                            let body = weight_json(weight);
                            client.write(Method::PATCH, &path, body).await?;
                        }
                        _ => {
                            let client = match *contender {
                                "grpc" => &mut *grpc,
                                _ => &mut *static_grpc,
                            };
                            client.call(grpc::UPDATE, weight_proto(weight)).await?;
                        }
                    }
                    times.push(milliseconds(begin.elapsed()) * 1e3);
                }
            }
            times.rotate_left(1);
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
        let mut contenders = ["alone", "listed"];
        if self.round.is_multiple_of(2) {
            contenders.reverse();
        }
        for contender in contenders {
            let mut times = match contender {
                "listed" => {
                    let listing = Listing::start(address)?;
                    let begin = Instant::now();
                    let enough = |changes| {
                        let enough = changes >= BESIDE_CHANGES
                            && listing.finished.load(Ordering::Relaxed) >= BESIDE_LISTINGS;
                        enough || begin.elapsed() > BESIDE_TIME || listing.thread.is_finished()
                    };
                    let times = weights(http, enough).await?;
                    let finished = listing.end()?;
                    ensure!(finished > 0, "no list within {BESIDE_TIME:?}");
                    times
                }
                _ => weights(http, |changes| changes >= BESIDE_CHANGES).await?,
            };
            self.sample("beside p50", contender, quantile(&mut times, 0.5));
            self.sample("beside p99", contender, quantile(&mut times, 0.99));
        }
        Ok(())
    }
}

// === impl Listing ===

impl Listing {
    fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let mut reader = Reader::connect(address)?;
        let ended = Arc::new(AtomicBool::new(false));
        let finished = Arc::new(AtomicUsize::new(0));
        let (end, count) = (ended.clone(), finished.clone());
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                reader.read(LIST)?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
        Ok(Self {
            ended,
            finished,
            thread,
        })
    }

    /// Waits for the current list; returns the number of lists.
    fn end(self) -> anyhow::Result<usize> {
        self.ended.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow::anyhow!("the listing client has failed"))??;
        Ok(self.finished.load(Ordering::Relaxed))
    }
}

/// Changes weights of a small service until stopped.
async fn weights(
    http: &mut Http,
    mut enough: impl FnMut(usize) -> bool,
) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    while !enough(times.len()) {
        let body = weight_json(times.len() as u32 % 60_000);
        let begin = Instant::now();
        http.write(Method::PATCH, BESIDE, body).await?;
        times.push(milliseconds(begin.elapsed()) * 1e3);
    }
    Ok(times)
}

fn weight_json(weight: u32) -> String {
    format!("{{\"weight\":{weight}}}")
}

fn weight_proto(weight: u32) -> Bytes {
    grpc::weight_update(0, 0, weight).encode_to_vec().into()
}

/// The server whose weight is changed.
fn single_path() -> String {
    format!("/v1/services/{}/servers/{}", service_id(0), server_id(0))
}

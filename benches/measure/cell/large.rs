//! A million real servers: loading and listing them, and the memory of the daemon.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{
    super::{
        grpc::Undecoded,
        http::{Http, Reader},
        raw::{Mode, Raw},
        sample::{milliseconds, quantile},
    },
    Contender, LIST, Options, block_on,
};

/// Lists per round; the result is their median.
const LISTINGS: usize = 3;
/// After this time without requests, the daemon should have given back the memory of a list.
const AFTER: Duration = Duration::from_secs(60);

impl Options {
    pub(super) fn large(&self, raw: &mut Raw) -> anyhow::Result<()> {
        match self.contender.context("no contender")? {
            Contender::RawPacked => {
                let begin = Instant::now();
                raw.fill(self.size, Mode::Packed)?;
                self.sample("fill", "raw-packed", milliseconds(begin.elapsed()));
                self.large_lists(raw)
            }
            Contender::HttpRules => self.fill(raw),
            _ => bail!("not a contender of this work"),
        }
    }

    fn large_lists(&self, raw: &mut Raw) -> anyhow::Result<()> {
        let daemon = self.daemon()?;
        let servers = (self.size.services * self.size.servers) as usize;
        block_on(async {
            Http::connect(daemon.address).await?.read("/readyz").await?;
            let idle = daemon.memory()?.resident;
            self.sample("rss", "idle", idle);
            let mut reader = Reader::connect(daemon.address)?;
            let mut lister = Undecoded::connect(daemon.address).await?;
            let list = format!("{LIST}&page_size={}", self.size.services);
            let contenders = ["raw", "http", "grpc"];
            let mut results = contenders.map(|name| (name, Vec::new(), 0_f64));
            reader.read(&list)?;
            lister.list_all().await?;
            for _ in 0..LISTINGS {
                for (contender, times, peak) in &mut results {
                    daemon.forget_peak()?;
                    let begin = Instant::now();
                    match *contender {
                        "raw" => drop(raw.dump()?),
                        "http" => {
                            let length = reader.read(&list)?;
                            ensure!(length > servers * 100, "{length} bytes only");
                        }
                        _ => {
                            let length = lister.list_all().await?;
                            ensure!(length > servers * 20, "{length} bytes only");
                        }
                    }
                    times.push(milliseconds(begin.elapsed()));
                    *peak = peak.max(daemon.memory()?.peak);
                }
                results.rotate_left(1);
            }
            for (contender, mut times, peak) in results {
                self.sample("list", contender, quantile(&mut times, 0.5));
                if contender != "raw" {
                    self.sample("rss over idle", contender, peak - idle);
                }
            }
            if self.round == 1 {
                sleep(AFTER);
                let after = daemon.memory()?.resident - idle;
                self.sample("rss over idle", "minute-after", after);
            }
            Ok(())
        })
    }
}

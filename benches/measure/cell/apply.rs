//! Applying a declared table of which a hundredth has changed, beside one dump of the table over raw netlink: an apply
//! must read the table.

use std::{fmt::Write, time::Instant};

use anyhow::ensure;
use http::Method;

use super::{
    super::{
        http::Http,
        raw::Raw,
        sample::{milliseconds, quantile},
        table::{server_json, service_id},
    },
    Options, block_on,
};

/// Applies per round; the result is their median.
const APPLIES: u32 = 5;
const TABLE: &str = "/v1/tables/bench";

impl Options {
    pub(super) fn apply(&self, raw: &mut Raw) -> anyhow::Result<()> {
        let daemon = self.daemon()?;
        let mut times = ["http", "unchanged", "raw"].map(|name| (name, Vec::new()));
        block_on(async {
            let mut client = Http::connect(daemon.address).await?;
            client.write(Method::PUT, TABLE, self.declared(0)).await?;
            for turn in 1..=APPLIES {
                let declared = self.declared(turn);
                // Applied again, it is unchanged.
                for (contender, times) in &mut times {
                    let body = declared.clone();
                    let begin = Instant::now();
                    if *contender == "raw" {
                        let found = raw.dump()?;
                        let servers = self.size.services * self.size.servers;
                        ensure!(found == (self.size.services, servers), "{found:?}");
                    } else {
                        client.write(Method::PUT, TABLE, body).await?;
                    }
                    times.push(milliseconds(begin.elapsed()));
                }
            }
            Ok(())
        })?;
        for (contender, mut times) in times {
            self.sample("apply", contender, quantile(&mut times, 0.5));
        }
        Ok(())
    }

    /// The table as a client declares it. In each turn, another hundredth of the servers has another weight.
    fn declared(&self, turn: u32) -> String {
        let mut text = String::from("{\"services\":[");
        for service in 0..self.size.services {
            let comma = if service == 0 { "" } else { "," };
            let id = service_id(service);
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "{comma}{{\"id\":\"{id}\",\"scheduler\":\"rr\",\"servers\":["
            );
            for server in 0..self.size.servers {
                let comma = if server == 0 { "" } else { "," };
                let number = service * self.size.servers + server;
                let weight = 1 + u32::from(number % 100 < turn);
                let _ = write!(text, "{comma}{}", server_json(server, weight));
            }
            text.push_str("]}");
        }
        text.push_str("]}");
        text
    }
}

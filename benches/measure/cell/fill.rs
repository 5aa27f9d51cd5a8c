//! Loading a table into an empty namespace, and replacing it.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use http::{Method, header};
use ipvsd::proto::v1::{RestoreRulesRequest, restore_rules_response::Event};

use super::{
    super::{
        grpc,
        http::Http,
        raw::{Mode, Raw},
        sample::{milliseconds, remark},
        table::{Size, service_id},
    },
    Contender, Options, SCRATCH, block_on,
};

/// Services beyond every table.
const WARMING: u32 = 60_000;
const RULES: &str = "/v1/rules";
const RULES_ANEW: &str = "/v1/rules?clear=true";
/// Objects of a table that is cleared and reloaded.
const CLEARED_AT_MOST: u32 = 11_000;
/// Bytes of rules in one gRPC message, which has 1 MiB at most; a table has 4.5 MB.
const PART: usize = 512 << 10;
/// Interval of reading keepalived's progress.
const LOOK: Duration = Duration::from_millis(10);

impl Options {
    pub(super) fn fill(&self, raw: &mut Raw) -> anyhow::Result<()> {
        let contender = self.contender.context("no contender")?;
        let value = contender.to_possible_value().context("it has a name")?;
        let size = self.size;
        let begin = Instant::now();
        let time = match contender {
            Contender::RawPacked => {
                raw.fill(size, Mode::Packed)?;
                Some(begin.elapsed())
            }
            Contender::RawSingle => {
                raw.fill(size, Mode::Single)?;
                Some(begin.elapsed())
            }
            Contender::Ipvsadm => Some(restore(Path::new("ipvsadm"), size)?),
            Contender::Keepalived => self.keepalived(raw)?,
            Contender::HttpRules => block_on(self.http_rules())?,
            Contender::HttpPut => block_on(self.http_put())?,
            Contender::GrpcRules => block_on(self.grpc_rules())?,
            Contender::GrpcReplace => block_on(self.grpc_replace())?,
            Contender::Ipvsctl => {
                let daemon = self.daemon()?;
                if self.has_ipvsctl() {
                    block_on(async { warm(&mut Http::connect(daemon.address).await?).await })?;
                    Some(restore(&self.ipvsctl, size)?)
                } else {
                    remark("ipvsctl lists nothing here, so it does not take part");
                    None
                }
            }
        };
        if let Some(time) = time {
            let found = raw.dump()?;
            let wanted = (size.services, size.services * size.servers);
            ensure!(found == wanted, "{found:?} instead of {wanted:?} are there");
            self.sample("fill", value.get_name(), milliseconds(time));
        }
        Ok(())
    }

    /// From the start of the process to the last server in the kernel.
    fn keepalived(&self, raw: &mut Raw) -> anyhow::Result<Option<Duration>> {
        // Remove the PID files of a killed process, which would prevent the next start.
        let directory = format!("{SCRATCH}/keepalived-{}", std::process::id());
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory)?;
        let file = format!("{directory}/conf");
        fs::write(&file, self.size.keepalived())?;
        let begin = Instant::now();
        let child = Command::new("keepalived")
            .args(["--check", "--dont-fork", "--log-console"])
            .args(["--use-file", &file])
            .args(["--pid", &format!("{directory}/pid")])
            .args(["--checkers_pid", &format!("{directory}/checkers.pid")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else {
            remark("keepalived is not installed");
            return Ok(None);
        };
        // keepalived loads in the order of its file, and polling it costs little.
        while raw.servers_of(self.size.services - 1)? < self.size.servers {
            if let Some(status) = child.try_wait()? {
                bail!("keepalived has ended: {status}");
            }
            sleep(LOOK);
        }
        Ok(Some(begin.elapsed()))
    }

    async fn http_rules(&self) -> anyhow::Result<Option<Duration>> {
        let daemon = self.daemon()?;
        let mut client = Http::connect(daemon.address).await?;
        let response = client.call(Method::GET, RULES, &[], Bytes::new()).await?;
        if !response.status.is_success() {
            remark(format!("this ipvsd has no {RULES}: {}", response.status));
            return Ok(None);
        }
        let whole = Bytes::from(self.size.rules());
        let changed = Bytes::from(self.size.rules_of(|number| weight_of(number, 2)));
        warm(&mut client).await?;
        let begin = Instant::now();
        post_rules(&mut client, RULES, whole).await?;
        let time = begin.elapsed();
        // Clear and reload. The kernel searches the deleted servers for each new one, so this takes
        // minutes with a large table.
        if self.size.commands() <= CLEARED_AT_MOST {
            let begin = Instant::now();
            post_rules(&mut client, RULES_ANEW, changed).await?;
            self.sample("replace", "rules-anew", milliseconds(begin.elapsed()));
        }
        Ok(Some(time))
    }

    /// The whole table, then one that differs in 1 %.
    async fn http_put(&self) -> anyhow::Result<Option<Duration>> {
        let daemon = self.daemon()?;
        let mut client = Http::connect(daemon.address).await?;
        let (old, new) = (self.size.service_json(1), self.size.service_json(2));
        let paths: Vec<_> = (0..self.size.services)
            .map(|number| format!("/v1/services/{}", service_id(number)))
            .collect();

        warm(&mut client).await?;
        let begin = Instant::now();
        for path in &paths {
            client.write(Method::PUT, path, old.clone()).await?;
        }
        let whole = begin.elapsed();

        // A client that knows the difference sends it,
        let begin = Instant::now();
        for path in paths.iter().step_by(100) {
            client.write(Method::PUT, path, new.clone()).await?;
        }
        self.sample("replace", "http-changed", milliseconds(begin.elapsed()));

        // and another sends everything; now the same 1 % differs in the other direction.
        let begin = Instant::now();
        for path in &paths {
            client.write(Method::PUT, path, old.clone()).await?;
        }
        self.sample("replace", "http-all", milliseconds(begin.elapsed()));
        self.sample("replace", "restore", milliseconds(whole));
        Ok(Some(whole))
    }

    async fn grpc_rules(&self) -> anyhow::Result<Option<Duration>> {
        let daemon = self.daemon()?;
        let mut client = grpc::connect(daemon.address).await?;
        warm(&mut Http::connect(daemon.address).await?).await?;
        let rules = self.size.rules();
        let begin = Instant::now();
        let parts: Vec<_> = rules
            .as_bytes()
            .chunks(PART)
            .map(|part| RestoreRulesRequest {
                text: String::from_utf8_lossy(part).into_owned(),
                ..RestoreRulesRequest::default()
            })
            .collect();
        let mut events = client
            .restore_rules(tokio_stream::iter(parts))
            .await?
            .into_inner();
        while let Some(message) = events.message().await? {
            if let Some(Event::Refused(refused)) = message.event {
                bail!("line {}: {}", refused.line, refused.detail);
            }
        }
        Ok(Some(begin.elapsed()))
    }

    async fn grpc_replace(&self) -> anyhow::Result<Option<Duration>> {
        let daemon = self.daemon()?;
        let mut client = grpc::connect(daemon.address).await?;
        warm(&mut Http::connect(daemon.address).await?).await?;
        let begin = Instant::now();
        for number in 0..self.size.services {
            let request = grpc::replacement(self.size, number, 1);
            client.replace_service(request).await?;
        }
        Ok(Some(begin.elapsed()))
    }
}

/// The weight of a service's servers in the table that differs in 1 %.
fn weight_of(service: u32, other: u32) -> u32 {
    if service.is_multiple_of(100) {
        other
    } else {
        1
    }
}

/// `PROGRAM -R` with the table on standard input.
fn restore(program: &Path, size: Size) -> anyhow::Result<Duration> {
    let file = format!("{SCRATCH}/rules");
    fs::write(&file, size.rules())?;
    let input = File::open(&file)?;
    let begin = Instant::now();
    let status = Command::new(program)
        .arg("-R")
        .stdin(input)
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(status.success(), "{} -R: {status}", program.display());
    Ok(begin.elapsed())
}

/// Sends a first request, so that one-time costs (page faults, opening the socket) are not measured.
async fn warm(client: &mut Http) -> anyhow::Result<()> {
    let size = Size {
        services: 1,
        servers: 1,
    };
    for number in [WARMING, WARMING + 1] {
        let path = format!("/v1/services/{}", service_id(number));
        client
            .write(Method::PUT, &path, size.service_json(1))
            .await?;
        client.read(&path).await?;
        client.write(Method::DELETE, &path, Bytes::new()).await?;
    }
    Ok(())
}

async fn post_rules(client: &mut Http, path: &str, rules: Bytes) -> anyhow::Result<()> {
    let headers = [(header::CONTENT_TYPE, "application/octet-stream")];
    let response = client.call(Method::POST, path, &headers, rules).await?;
    ensure!(response.status.is_success(), "{path}: {}", response.status);
    Ok(())
}

//! The work of one contender in its own network namespace, or of several that alternate on one table.

mod apply;
mod changes;
mod connections;
mod contended;
mod fill;
mod large;
mod standing;

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use tokio::runtime;

use super::{
    daemon::{DEFAULT_PORT, Daemon},
    grpc::Undecoded,
    http::Http,
    raw::{Mode, Raw},
    sample::sample,
    table::Size,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Loading a table into an empty namespace.
    Fill,
    /// Listing a table, and single changes on it.
    Table,
    /// Many single changes from concurrent clients.
    Changes,
    /// Applying a declared table that differs in 1 %.
    Apply,
    /// Memory of the daemon while it lists.
    Memory,
    /// A million real servers: loading, listing, and memory.
    Large,
    /// Listing the connection table.
    Connections,
    /// Other clients while a service with very many real servers is restored.
    Contended,
}

/// Contenders that load a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// Raw netlink, batched.
    RawPacked,
    /// Raw netlink, one command at a time.
    RawSingle,
    /// `ipvsadm -R`.
    Ipvsadm,
    /// keepalived, from its configuration.
    Keepalived,
    /// `POST /v1/rules`.
    HttpRules,
    /// `PUT /v1/services/{id}`, one per service.
    HttpPut,
    /// `RestoreRules`.
    GrpcRules,
    /// `ReplaceService`, one per service.
    GrpcReplace,
    /// `ipvsctl -R`.
    Ipvsctl,
}

#[derive(Args, Debug)]
pub struct Options {
    #[arg(value_enum)]
    work: Work,
    #[arg(long, value_enum)]
    contender: Option<Contender>,
    #[arg(long)]
    size: Size,
    #[arg(long)]
    round: u32,
    #[arg(long, default_value_t = 1000)]
    changes: u32,
    #[arg(long, default_value_t = 0)]
    processes: u32,
    #[arg(long)]
    ipvsd: PathBuf,
    #[arg(long)]
    ipvsctl: PathBuf,
}

const LIST: &str = "/v1/services?include=servers,stats,rates";
const SCRATCH: &str = "/dev/shm/ipvsd-bench";

/// A server of a service that is small in every table, and the rules that create it.
const BESIDE: &str = "/v1/services/fwmark-1/servers/192.0.2.1-0";
const BESIDE_RULES: &str = "-A -f 1 -s rr\n-a -f 1 -r 192.0.2.1 -g\n";

pub fn run(options: &Options) -> anyhow::Result<()> {
    // Without an address there are no routes, and IPVS rejects real servers.
    run_command("ip", &["link", "set", "lo", "up"])?;
    fs::create_dir_all(SCRATCH)?;
    let mut raw = Raw::open()?;
    match options.work {
        Work::Fill => options.fill(&mut raw)?,
        Work::Table => options.table(&mut raw)?,
        Work::Changes => options.changes(&mut raw)?,
        Work::Apply => options.apply(&mut raw)?,
        Work::Memory => options.memory(&mut raw)?,
        Work::Large => options.large(&mut raw)?,
        Work::Connections => options.connections()?,
        Work::Contended => options.contended(&mut raw)?,
    }
    // Makes removing the namespace cheap.
    raw.flush()
}

impl Options {
    fn sample(&self, work: &str, contender: &str, value: f64) {
        sample(work, self.size, contender, self.round, value);
    }

    fn daemon(&self) -> anyhow::Result<Daemon> {
        Daemon::start(&self.ipvsd, "netlink", DEFAULT_PORT)
    }

    fn has_ipvsctl(&self) -> bool {
        Command::new(&self.ipvsctl)
            .arg("-Ln")
            .output()
            .is_ok_and(|output| output.stdout.starts_with(b"IP Virtual Server"))
    }

    fn memory(&self, raw: &mut Raw) -> anyhow::Result<()> {
        raw.fill(self.size, Mode::Packed)?;
        let daemon = self.daemon()?;
        block_on(async {
            let mut http = Http::connect(daemon.address).await?;
            http.read("/readyz").await?;
            let idle = daemon.memory()?.resident;
            self.sample("memory", "idle", idle);
            for (contender, over_grpc) in [("http", false), ("grpc", true)] {
                daemon.forget_peak()?;
                if over_grpc {
                    Undecoded::connect(daemon.address).await?.list_all().await?;
                } else {
                    http.read(LIST).await?;
                }
                let memory = daemon.memory()?;
                let servers = f64::from(self.size.services * self.size.servers);
                self.sample("memory", &format!("{contender}-peak"), memory.peak);
                self.sample("memory", &format!("{contender}-after"), memory.resident);
                let each = (memory.peak - idle) * 1024.0 / servers;
                self.sample("bytes a server", contender, each);
            }
            Ok(())
        })
    }
}

/// Runs a program whose output goes to a file in memory.
fn run_command(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    fs::create_dir_all(SCRATCH)?;
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(File::create(format!("{SCRATCH}/out"))?)
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

//! Rounds in a kernel with IPVS. Each contender of each round has its own network namespace: the kernel
//! keeps a deleted real server for 2 minutes and searches these for each new one. The order alternates
//! between rounds, so that changes in the machine's speed affect all contenders.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::{Args, ValueEnum};

use super::{
    cell::{Contender, Work},
    sample::remark,
    table::Size,
};

#[derive(Args, Debug)]
pub struct Options {
    /// Tables, such as 100x10, separated by commas.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1x1,100x10,1000x10,1000x100"
    )]
    sizes: Vec<Size>,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Works to measure.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "fill,table,changes,memory"
    )]
    works: Vec<Work>,
    /// Contenders of the work `fill`.
    #[arg(long, value_enum, value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// Number of changes by concurrent clients.
    #[arg(long, default_value_t = 1000)]
    changes: u32,
    /// Processes of ipvsadm; results of fewer processes than changes are scaled up.
    #[arg(long, default_value_t = 1000)]
    processes: u32,
    /// Rounds of those processes.
    #[arg(long, default_value_t = 5)]
    process_rounds: u32,
    /// Rounds of the works `large`, `connections` and `contended`, at most.
    #[arg(long, default_value_t = 3)]
    long_rounds: u32,
    /// The table of the work `large`.
    #[arg(long, default_value = "10000x100")]
    large: Size,
    /// The table of the work `contended`.
    #[arg(long, default_value = "1x70000")]
    contended: Size,
    /// Time limit of a contender in seconds.
    #[arg(long, default_value_t = 400)]
    limit: u64,
    /// The daemon.
    #[arg(long)]
    ipvsd: PathBuf,
    /// The client.
    #[arg(long)]
    ipvsctl: PathBuf,
}

/// The kernel removes namespaces in the background.
const SETTLE: Duration = Duration::from_millis(300);

/// The tables of the concurrent changes and of the memory measurement.
const CHANGES_SIZE: Size = Size {
    services: 100,
    servers: 10,
};

pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0, "no rounds");
    println!("fact\tkernel\t{}", release()?);
    let largest = options.sizes.iter().max().copied();
    // The kernel loads the scheduler's module on first use.
    options.spawn(
        Work::Fill,
        Some(Contender::RawPacked),
        CHANGES_SIZE,
        0,
        Stdio::null(),
    )?;
    for work in &options.works {
        match work {
            Work::Fill => {
                for size in &options.sizes {
                    for round in 1..=options.rounds {
                        let mut contenders = options.contenders.clone();
                        if contenders.is_empty() {
                            contenders = Contender::value_variants().to_vec();
                        }
                        if round.is_multiple_of(2) {
                            contenders.reverse();
                        }
                        for contender in contenders {
                            options.cell(*work, Some(contender), *size, round)?;
                        }
                    }
                }
            }
            Work::Table => {
                for size in &options.sizes {
                    for round in 1..=options.rounds {
                        options.cell(*work, None, *size, round)?;
                    }
                }
            }
            Work::Changes => {
                for round in 1..=options.rounds {
                    options.cell(*work, None, CHANGES_SIZE, round)?;
                }
            }
            Work::Memory => {
                for round in 1..=options.rounds {
                    options.cell(*work, None, largest.unwrap_or(CHANGES_SIZE), round)?;
                }
            }
            Work::Large => {
                for round in 1..=options.rounds.min(options.long_rounds) {
                    let mut contenders = [Contender::RawPacked, Contender::HttpRules];
                    if round.is_multiple_of(2) {
                        contenders.reverse();
                    }
                    for contender in contenders {
                        options.cell(*work, Some(contender), options.large, round)?;
                    }
                }
            }
            Work::Connections | Work::Contended => {
                for round in 1..=options.rounds.min(options.long_rounds) {
                    options.cell(*work, None, options.contended, round)?;
                }
            }
        }
    }
    Ok(())
}

pub fn release() -> anyhow::Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(release.trim().to_owned())
}

impl Options {
    /// Runs one contender in its own network and PID namespaces, which end its processes.
    fn cell(
        &self,
        work: Work,
        contender: Option<Contender>,
        size: Size,
        round: u32,
    ) -> anyhow::Result<()> {
        self.spawn(work, contender, size, round, Stdio::inherit())
    }

    fn spawn(
        &self,
        work: Work,
        contender: Option<Contender>,
        size: Size,
        round: u32,
        output: Stdio,
    ) -> anyhow::Result<()> {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map_or_else(String::new, |value| value.get_name().to_owned())
        };
        let mut command = Command::new("unshare");
        command
            .args([
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "--",
            ])
            .arg(env::current_exe()?)
            .args(["cell", &name(work.to_possible_value())])
            .args(["--size", &size.to_string(), "--round", &round.to_string()])
            .args(["--changes", &self.changes.to_string()])
            .arg("--ipvsd")
            .arg(&self.ipvsd)
            .arg("--ipvsctl")
            .arg(&self.ipvsctl)
            .stdin(Stdio::null())
            .stdout(output);
        if round <= self.process_rounds {
            command.args(["--processes", &self.processes.to_string()]);
        }
        let contender = contender.map(|contender| name(contender.to_possible_value()));
        if let Some(contender) = &contender {
            command.args(["--contender", contender]);
        }
        let what = contender.unwrap_or_else(|| name(work.to_possible_value()));
        let mut child = command.spawn()?;
        let begin = Instant::now();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if begin.elapsed() > Duration::from_secs(self.limit) => {
                    child.kill()?;
                    child.wait()?;
                    break None;
                }
                // Rarely, since the kernel has one processor.
                None => sleep(Duration::from_millis(50)),
            }
        };
        match status {
            Some(status) if status.success() => {}
            Some(status) => remark(format!("{what} {size}: failed with {status}")),
            None => remark(format!("{what} {size}: stopped after {} s", self.limit)),
        }
        sleep(SETTLE);
        Ok(())
    }
}

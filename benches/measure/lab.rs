//! Rounds in a kernel with IPVS. Each contender of each round has its own network namespace: the kernel
//! keeps a deleted real server for 2 minutes and searches these for each new one. A round has all sizes
//! and contenders; the order alternates between rounds, so that changes in the machine's speed affect all.

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
        default_value = "fill,table,changes,apply,memory"
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
    /// Rounds of the works `large`, `connections` and `contended`, and of loading a table by ipvsadm,
    /// at most.
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

/// The work of one contender in its namespace.
#[derive(Clone, Copy)]
struct Cell {
    work: Work,
    contender: Option<Contender>,
    size: Size,
    round: u32,
}

/// The kernel removes namespaces in the background.
const SETTLE: Duration = Duration::from_millis(300);

/// The tables of the concurrent changes and of the memory measurement.
const CHANGES_SIZE: Size = Size {
    services: 100,
    servers: 10,
};

/// Runs everything, and fails at the end if a cell has failed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0, "no rounds");
    println!("fact\tkernel\t{}", release()?);
    // The kernel loads the scheduler's module on first use.
    let first = Cell {
        work: Work::Fill,
        contender: Some(Contender::RawPacked),
        size: CHANGES_SIZE,
        round: 0,
    };
    options.spawn(first, Stdio::null())?;
    let (mut all, mut failed) = (0, 0);
    for work in &options.works {
        for round in 1..=options.rounds_of(*work) {
            for cell in options.cells(*work, round) {
                all += 1;
                if !options.spawn(cell, Stdio::inherit())? {
                    failed += 1;
                }
            }
        }
    }
    ensure!(failed == 0, "{failed} of {all} measurements have failed");
    Ok(())
}

pub fn release() -> anyhow::Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(release.trim().to_owned())
}

// === impl Options ===

impl Options {
    fn rounds_of(&self, work: Work) -> u32 {
        match work {
            Work::Large | Work::Connections | Work::Contended => self.rounds.min(self.long_rounds),
            Work::Fill | Work::Table | Work::Changes | Work::Apply | Work::Memory => self.rounds,
        }
    }

    /// The cells of a round. Even rounds have the reverse order.
    fn cells(&self, work: Work, round: u32) -> Vec<Cell> {
        let mut sizes = match work {
            Work::Fill | Work::Table => self.sizes.clone(),
            Work::Changes => vec![CHANGES_SIZE],
            Work::Apply | Work::Memory => {
                vec![self.sizes.iter().max().copied().unwrap_or(CHANGES_SIZE)]
            }
            Work::Large => vec![self.large],
            Work::Connections | Work::Contended => vec![self.contended],
        };
        let mut contenders: Vec<_> = match work {
            Work::Fill if !self.contenders.is_empty() => {
                self.contenders.iter().copied().map(Some).collect()
            }
            Work::Fill => {
                let all = Contender::value_variants().iter().copied();
                // It takes as long as all others together.
                let wanted = |contender: &Contender| {
                    *contender != Contender::Ipvsadm || round <= self.long_rounds
                };
                all.filter(wanted).map(Some).collect()
            }
            Work::Large => vec![Some(Contender::RawPacked), Some(Contender::HttpRules)],
            _ => vec![None],
        };
        if round.is_multiple_of(2) {
            sizes.reverse();
            contenders.reverse();
        }
        let cells = sizes.into_iter().flat_map(|size| {
            contenders.iter().map(move |contender| Cell {
                work,
                contender: *contender,
                size,
                round,
            })
        });
        cells.collect()
    }

    /// Runs one contender in its own network and PID namespaces, which end its processes. Returns
    /// whether it succeeded.
    fn spawn(&self, cell: Cell, output: Stdio) -> anyhow::Result<bool> {
        let Cell {
            work,
            contender,
            size,
            round,
        } = cell;
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
        Ok(status.is_some_and(|status| status.success()))
    }
}

//! Rounds in a kernel with IPVS. Each contender of each round gets a network namespace of its own: a
//! real server that was removed stays in its namespace's trash for 2 minutes, and every new one is
//! first looked for there. The order turns round from round to round, so that what slows down or
//! speeds up the machine meets all alike.

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
    /// Rounds of each.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// What is measured.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "fill,table,changes,memory"
    )]
    works: Vec<Work>,
    /// Who takes part in filling.
    #[arg(long, value_enum, value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// Changes by concurrent clients.
    #[arg(long, default_value_t = 1000)]
    changes: u32,
    /// Processes of ipvsadm; fewer than changes are scaled up to as many.
    #[arg(long, default_value_t = 1000)]
    processes: u32,
    /// Rounds of those processes, which take longest.
    #[arg(long, default_value_t = 5)]
    process_rounds: u32,
    /// Seconds that a contender may take.
    #[arg(long, default_value_t = 200)]
    limit: u64,
    /// The daemon.
    #[arg(long)]
    ipvsd: PathBuf,
    /// The client.
    #[arg(long)]
    ipvsctl: PathBuf,
}

/// A namespace that has ended is taken apart in the background.
const SETTLE: Duration = Duration::from_millis(300);

/// The table of the concurrent changes, and the one whose listing costs memory.
const CHANGES_SIZE: Size = Size {
    services: 100,
    servers: 10,
};

pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0, "no rounds");
    println!("fact\tkernel\t{}", release()?);
    let largest = options.sizes.iter().max().copied();
    // The kernel loads the scheduler's module at its first use.
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
        }
    }
    Ok(())
}

pub fn release() -> anyhow::Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(release.trim().to_owned())
}

impl Options {
    /// One contender, in namespaces of its own: whatever it leaves running dies with them.
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
                // Seldom enough not to disturb a kernel with one processor.
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

//! Counts instructions under valgrind and compares them with a baseline: of the micro-benchmarks, of the
//! daemon for one request, and of one process of ipvsctl. Unlike times, they do not depend on load.
//!
//! A program is counted twice, with few and with many iterations; the difference excludes its start.

mod baseline;
mod daemon;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, available_parallelism},
};

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;

use self::{baseline::Baseline, daemon::Request};
use super::{sample::sample, subjects::SUBJECTS, transport::Server};

#[derive(Args, Debug)]
pub struct Options {
    /// Scenarios to count. Default: all.
    names: Vec<String>,
    /// The client.
    #[arg(long)]
    ipvsctl: PathBuf,
    /// Compare with this file, and fail if a scenario needs more than 3 % more.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Write the counts to the baseline instead.
    #[arg(long, requires = "baseline")]
    update: bool,
}

/// What is counted.
#[derive(Clone, Copy)]
struct Scenario {
    name: &'static str,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// One iteration of a micro-benchmark.
    Micro,
    /// One request, in the daemon.
    Daemon(Request),
    /// One process of ipvsctl.
    Process(&'static [&'static str]),
}

/// A count of one iteration.
type Counted = anyhow::Result<u64>;

/// Iterations of the shorter run: the first ones grow buffers and fill caches.
const FEW: u32 = 5;
/// Instructions of the additional iterations of the longer run, about: enough that the start, which
/// varies by 20,000, is less than 0.1 %.
const ENOUGH: u64 = 40_000_000;
/// Runs of which the smallest count is taken: a thread that waits for another one adds a few.
const REPEATS: u32 = 2;
/// Iterations of the longer run, at least and at most.
const MORE: (u32, u32) = (5, 20_000);

/// Environment of the counted programs. Which functions glibc chooses does not depend on the processor
/// then: valgrind shows programs the processor's AVX and AVX2, and the same model for all processors.
const ENVIRONMENT: [(&str, &str); 1] = [(
    "GLIBC_TUNABLES",
    "glibc.cpu.hwcaps=-AVX_Usable,-AVX2_Usable,-AVX2,-AVX,-ERMS,-FSRM",
)];

/// `ipvsctl` adds a server to a service of the table.
const ADD: &[&str] = &[
    "-a",
    "-t",
    "10.1.0.1:80",
    "-r",
    "192.0.2.1:80",
    "-m",
    "-w",
    "1",
];

pub fn run(options: &Options) -> anyhow::Result<()> {
    let all = scenarios();
    for name in &options.names {
        let known = all.iter().any(|scenario| scenario.name == name);
        ensure!(known, "there is no scenario {name}");
    }
    let chosen: Vec<_> = all
        .into_iter()
        .filter(|scenario| {
            options.names.is_empty() || options.names.iter().any(|name| name == scenario.name)
        })
        .collect();
    let scratch = env::temp_dir().join(format!("ipvsd-instructions-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    let counts = options.count_all(&chosen, &scratch);
    fs::remove_dir_all(&scratch)?;
    let counts = counts?;
    match &options.baseline {
        None => {
            for (name, count) in counts {
                sample("instructions", "-", name, 1, count as f64);
            }
            Ok(())
        }
        Some(path) if options.update => {
            Baseline::read(path)
                .unwrap_or_default()
                .update(path, &counts, options.names.is_empty())
        }
        Some(path) => Baseline::read(path)?.compare(&counts, options.names.is_empty()),
    }
}

fn scenarios() -> Vec<Scenario> {
    let mut all: Vec<_> = SUBJECTS
        .iter()
        .map(|subject| Scenario {
            name: subject.name,
            what: What::Micro,
        })
        .collect();
    all.extend(daemon::REQUESTS.iter().map(|(name, request)| Scenario {
        name,
        what: What::Daemon(*request),
    }));
    all.push(Scenario {
        name: "ipvsctl_add_server",
        what: What::Process(ADD),
    });
    all
}

impl Options {
    /// Counts on all processors.
    fn count_all(
        &self,
        scenarios: &[Scenario],
        scratch: &Path,
    ) -> anyhow::Result<Vec<(&'static str, u64)>> {
        let counts = Mutex::new(Vec::new());
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                let count = self
                    .count(*scenario, scratch)
                    .with_context(|| scenario.name);
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                counts.push((scenario.name, count));
            }
        };
        thread::scope(|scope| {
            for _ in 0..available_parallelism().map_or(1, usize::from) {
                scope.spawn(work);
            }
        });
        let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        // In the order of the scenarios.
        scenarios
            .iter()
            .map(|scenario| {
                let mut found = counts.iter().filter(|(name, _)| *name == scenario.name);
                let (name, count) = found.next().context("a scenario was not counted")?;
                match count {
                    Ok(count) => Ok((*name, *count)),
                    Err(error) => Err(anyhow!("{error:#}")),
                }
            })
            .collect()
    }

    fn count(&self, scenario: Scenario, scratch: &Path) -> Counted {
        let log = scratch.join(scenario.name);
        match scenario.what {
            What::Micro => difference(|times| {
                let mut command = counted(&env::current_exe()?, &log);
                command.args(["micro", scenario.name, &times.to_string()]);
                succeed(&mut command)?;
                collected(&log)
            }),
            What::Daemon(request) => difference(|times| {
                let mut command = counted(&env::current_exe()?, &log);
                command.args(["serve", "ipvsd", "--workers", "1"]);
                let mut server = Server::start_by(&mut command)?;
                request.send(server.address, times)?;
                server.end()?;
                collected(&log)
            }),
            What::Process(arguments) => least(|| {
                let server = Server::start(&["ipvsd"])?;
                let mut command = counted(&self.ipvsctl, &log);
                command.env("IPVSCTL_ENDPOINT", format!("http://{}", server.address));
                succeed(command.args(arguments))?;
                collected(&log)
            }),
        }
    }
}

/// Instructions of one iteration, from the counts of runs with few and with many.
fn difference(run: impl Fn(u32) -> Counted) -> Counted {
    let few = least(|| run(FEW))?;
    let each = |many: u64, more: u32| many.saturating_sub(few) / u64::from(more);
    let estimate = each(run(FEW + MORE.0)?, MORE.0);
    let more = u32::try_from(ENOUGH / estimate.max(1)).unwrap_or(MORE.1);
    let more = more.clamp(MORE.0, MORE.1);
    Ok(each(least(|| run(FEW + more))?, more))
}

/// The smallest of several counts.
fn least(run: impl Fn() -> Counted) -> Counted {
    let mut least = run()?;
    for _ in 1..REPEATS {
        least = least.min(run()?);
    }
    Ok(least)
}

/// A program under valgrind, which writes to `log`.
fn counted(program: &Path, log: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=cachegrind", "--cache-sim=no"])
        .arg("--cachegrind-out-file=/dev/null")
        .arg(format!("--log-file={}", log.display()))
        .arg(program)
        .env_clear()
        .envs(env::var_os("PATH").map(|path| ("PATH", path)))
        .envs(ENVIRONMENT)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().context("cannot start valgrind")?;
    ensure!(status.success(), "{status}");
    Ok(())
}

/// The count in a log of valgrind.
fn collected(log: &Path) -> Counted {
    let text = fs::read_to_string(log)?;
    let line = text.lines().find_map(|line| line.split_once("refs:"));
    let Some((_, count)) = line else {
        bail!("valgrind has not counted: {text}");
    };
    Ok(count.trim().replace(',', "").parse()?)
}

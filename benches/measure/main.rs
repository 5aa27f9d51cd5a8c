//! Measures ipvsd and compares it with ipvsadm, keepalived, raw netlink and static servers. `lab/bench`
//! runs this; each result is a line for `measure report`.

#![allow(clippy::print_stdout, reason = "its lines are what it is for")]

mod access;
mod cell;
mod checks;
mod daemon;
mod dashboards;
mod durable;
mod fairness;
mod grpc;
mod http;
mod instructions;
mod lab;
mod memory;
mod raw;
mod report;
mod sample;
mod serve;
mod store;
#[path = "../subjects.rs"]
mod subjects;
mod table;
mod transport;
mod watchers;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

use self::table::Size;

#[derive(Debug, Parser)]
#[command(about = "Measures ipvsd; lab/bench runs it")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Everything that needs IPVS; run as root in a kernel that has it.
    Lab(lab::Options),
    /// One contender in a network namespace; started by `lab`.
    Cell(cell::Options),
    /// Requests per second on the fake kernel, compared with static servers.
    Transport(transport::Options),
    /// A server for `transport`, until standard input ends.
    Serve(serve::Options),
    /// Memory of the daemon before and after a soak test.
    Soak(memory::Options),
    /// Latencies of honest clients beside an abuser, with and without quotas.
    Fairness(fairness::Options),
    /// What TLS and a token cost beside plain HTTP without a credential.
    Access(access::Options),
    /// Latency and rate of durable writes of the stored state.
    Store(store::Options),
    /// What a durable write of the daemon costs beside one that is not stored.
    Durable(durable::Options),
    /// A change beside many streams of statistics and scrapes.
    Dashboards(dashboards::Options),
    /// Memory of the daemon with many watchers, some of which do not read.
    Watchers(watchers::Options),
    /// What many health checks cost.
    Checks(checks::Options),
    /// Run a micro-benchmark a number of times, for instruction counters. Without a name, list all.
    Micro {
        /// Name of the benchmark.
        name: Option<String>,
        /// Number of iterations.
        #[arg(default_value_t = 1)]
        count: u32,
    },
    /// Count instructions, and compare them with a baseline; lab/instructions runs it.
    Instructions(instructions::Options),
    /// The rules of a table, as text.
    Rules {
        /// Services × servers.
        size: Size,
    },
    /// Generate the document from result files.
    Report {
        /// Files with the output of the other commands.
        files: Vec<PathBuf>,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().what {
        What::Lab(options) => lab::run(&options),
        What::Cell(options) => cell::run(&options),
        What::Transport(options) => transport::run(&options),
        What::Serve(options) => serve::run(&options),
        What::Soak(options) => memory::soak(&options),
        What::Fairness(options) => fairness::run(&options),
        What::Access(options) => access::run(&options),
        What::Store(options) => store::run(&options),
        What::Durable(options) => durable::run(&options),
        What::Dashboards(options) => dashboards::run(&options),
        What::Watchers(options) => watchers::run(&options),
        What::Checks(options) => checks::run(&options),
        What::Micro { name: None, .. } => {
            for subject in subjects::SUBJECTS {
                println!("{}", subject.name);
            }
            Ok(())
        }
        What::Micro {
            name: Some(name),
            count,
        } => {
            let subject = subjects::SUBJECTS
                .iter()
                .find(|subject| subject.name == name)
                .context("there is no such micro-benchmark")?;
            let mut work = (subject.prepare)();
            for _ in 0..count {
                work();
            }
            Ok(())
        }
        What::Instructions(options) => instructions::run(&options),
        What::Rules { size } => {
            print!("{}", size.rules());
            Ok(())
        }
        What::Report { files } => {
            if files.is_empty() {
                bail!("no result files");
            }
            print!("{}", report::document(&files)?);
            Ok(())
        }
    }
}

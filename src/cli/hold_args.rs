//! Arguments of the subcommands of drains and ramps.

use std::{str::FromStr, time::Duration};

use clap::builder::RangedI64ValueParser;

use super::{
    options::{SECONDS, seconds},
    table_args::words,
};
use crate::model::{
    DrainTarget, HoldId, InvalidDrainTarget, RampRequest, ServerKey, ServiceKey, Then,
};

#[derive(clap::Args, Clone, Debug)]
pub(super) struct DrainArgs {
    /// Id of the server, such as 192.168.10.1-80, or an address for all of its ports
    pub server: DrainTarget,
    /// Only in the service with this id; can be repeated [default: all that have the server]
    #[arg(long = "service", value_name = "ID")]
    pub services: Vec<ServiceKey>,
    /// Seconds until the drain does not wait for connections any more [default: it waits]
    #[arg(long, value_name = "SECONDS", value_parser = RangedI64ValueParser::<u32>::new().range(1..))]
    pub deadline: Option<u32>,
    /// What happens in the end: the servers stay, without new connections, or are removed
    #[arg(long, value_name = "WHAT", default_value = "keep", value_parser = words(&Then::WORDS))]
    pub then: Then,
    /// Show what would be drained, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub wait: WaitArgs,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct RampArgs {
    /// Id of the service, such as tcp-192.0.2.1-80
    pub service: ServiceKey,
    /// Id of the server, such as 192.168.10.1-80
    pub server: ServerKey,
    /// The weight in the end
    #[arg(long, value_name = "WEIGHT")]
    pub to: u32,
    /// Seconds until then
    #[arg(long, value_name = "SECONDS", value_parser = RangedI64ValueParser::<u32>::new().range(1..))]
    pub over: u32,
    /// Number of steps, 1 to 1000
    #[arg(long, value_name = "NUMBER", default_value_t = RampRequest::STEPS)]
    pub steps: u32,
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// How long a command waits.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct WaitArgs {
    /// Do not wait
    #[arg(long, conflicts_with = "wait_timeout")]
    pub no_wait: bool,
    /// Wait so many seconds at most; exit code 6 then
    #[arg(long, value_name = "SECONDS", value_parser = time)]
    pub wait_timeout: Option<Duration>,
}

/// Drains to end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended {
    /// The one with this id.
    Drain(HoldId),
    /// Those of a server or address.
    Server(DrainTarget),
}

fn time(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().and_then(seconds);
    time.ok_or_else(|| format!("expected {SECONDS}"))
}

// === impl Ended ===

impl FromStr for Ended {
    type Err = InvalidDrainTarget;

    fn from_str(text: &str) -> Result<Self, InvalidDrainTarget> {
        match text.parse() {
            Ok(id) => Ok(Self::Drain(id)),
            Err(_) => text.parse().map(Self::Server),
        }
    }
}

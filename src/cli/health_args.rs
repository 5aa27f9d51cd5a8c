//! Arguments of overrides of health checks.

use clap::{ValueEnum, builder::RangedI64ValueParser};

use crate::model::{ServerKey, ServiceKey};

#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct ForceArgs {
    /// Id of the service, such as tcp-192.0.2.1-80
    pub service: ServiceKey,
    /// Id of the server, such as 192.168.10.1-80
    pub server: ServerKey,
    /// up, down, or auto: its checks decide
    pub state: ForcedState,
    /// Seconds until the checks decide again [default: until it is set to auto]
    #[arg(long, value_name = "SECONDS", value_parser = RangedI64ValueParser::<u32>::new().range(1..))]
    pub expires: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ForcedState {
    Up,
    Down,
    Auto,
}

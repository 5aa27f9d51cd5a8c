//! The rim of the daemon: its settings, its listeners, its connections and their end.
//!
//! Nothing here knows what IPVS is. The room joins the two faces into one [`axum::Router`]
//! ([`faces`]), puts the limits around it ([`with_limits`]), and serves it on every listener
//! ([`Server`]) until told to stop ([`Shutdown`]).

mod activity;
mod address;
pub mod args;
mod config;
mod config_error;
mod connection;
mod keys;
mod limits;
mod listener;
pub mod log;
mod memory;
mod options;
mod request_body;
mod router;
mod serve;
mod shutdown;
mod value;

pub use address::{DEFAULT_PORT, ListenAddress, NotAnAddress};
pub use config::{Config, KernelKind, Limits, LogConfig, LogFormat, Sources};
pub use config_error::{ConfigError, ConfigErrors, LoadError, Place, Problem};
pub use limits::{LimitAnswer, LimitReason, with_limits};
pub use listener::BindError;
pub use memory::keep_freed_memory;
pub use router::build_router;
pub use serve::{Drained, Server};
pub use shutdown::{Phase, Shutdown};

//! The gRPC front end over real sockets, with the fake kernel.

mod audit;
mod batch;
mod connections;
mod drains;
mod dry_run;
mod harness;
mod health;
mod labels;
mod list_services;
mod ops;
mod refusals;
mod rules;
mod servers;
mod services;
mod standard;
mod stats;
mod stats_stream;
mod stock_client;
mod sync_daemons;
mod tables;
mod watch;

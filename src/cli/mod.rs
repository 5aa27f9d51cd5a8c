//! The command line `ipvsctl`: ipvsadm's commands for remote directors, and additional subcommands.

mod access;
mod args;
mod batch_file;
mod commands;
mod completion;
mod config;
mod connections;
mod conversion;
mod convert;
mod credentials;
mod directors;
mod document;
mod environment;
mod error;
mod escape;
mod export;
mod fanout;
mod help;
mod hints;
mod hold_args;
mod holds;
mod info;
mod input;
mod keepalived;
mod list;
mod man;
mod names;
mod options;
mod outcome;
mod output;
mod plan;
mod progress;
mod read;
mod reference;
mod replace;
mod restore;
mod run;
mod scripts;
mod session;
mod settings;
mod table_args;
mod table_file;
mod tables;
mod target;
mod times;
mod token;
mod version;
mod wait;
mod watch;

#[cfg(test)]
mod tests;

pub use error::CliError;
pub use run::run;

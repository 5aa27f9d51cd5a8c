//! `ipvsctl`: ipvsadm's own command lines, carried out by a daemon somewhere else; and in words what
//! ipvsadm does not have.

mod args;
mod config;
mod connections;
mod directors;
mod error;
mod help;
mod info;
mod list;
mod man;
mod names;
mod option_help;
mod options;
mod output;
mod restore;
mod run;
mod scripts;
mod settings;
mod target;

pub use error::CliError;
pub use run::run;

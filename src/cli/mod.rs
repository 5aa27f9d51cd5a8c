//! `ipvsctl`: ipvsadm's own command lines, carried out by a daemon somewhere else; and in words what
//! ipvsadm does not have.

mod config;
mod connections;
mod directors;
mod error;
mod explained;
mod help;
mod info;
mod list;
mod man;
mod names;
mod options;
mod output;
mod restore;
mod run;
mod scripts;
mod settings;
mod target;
mod words;

pub use error::CliError;
pub use run::run;

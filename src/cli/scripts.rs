//! `ipvsadm-save` and `ipvsadm-restore`, if the program is invoked by these names.

use std::path::Path;

use super::{
    error::CliError,
    fanout::read,
    names::SystemResolver,
    options::Options,
    output::{Stdout, eprint_text},
    read::ReadCommand,
    restore::{self, RestoreOptions},
};

/// A script of ipvsadm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Save,
    Restore,
}

/// Usage message of the original script.
const SAVE_USAGE: &str = "ipvsadm-save: Script to save the IPVS table to stdout.\n   \
     With the -n option, prints out the table in numeric format.";

// === impl Script ===

impl Script {
    /// The script with the name by which the program is invoked.
    pub(super) fn named(program: &str) -> Option<Self> {
        match Path::new(program).file_name()?.to_str()? {
            "ipvsadm-save" => Some(Self::Save),
            "ipvsadm-restore" => Some(Self::Restore),
            _ => None,
        }
    }

    /// Runs the script. The director is taken from the environment or the configuration.
    pub(super) fn run(self, words: &[String], out: &mut Stdout) -> Result<u8, CliError> {
        let options = Options::default();
        match self {
            Self::Save => {
                let mut flags = words.iter().filter(|word| word.starts_with('-'));
                if flags.any(|word| word != "-n") {
                    eprint_text(SAVE_USAGE);
                    return Ok(1);
                }
                let numeric = words.iter().any(|word| word == "-n");
                read(
                    "ipvsadm-save",
                    &options,
                    out,
                    &ReadCommand::Save { numeric },
                )
            }
            Self::Restore => {
                let restore = RestoreOptions {
                    // The script runs `ipvsadm -R`; messages show that name.
                    program: "ipvsadm",
                    options: &options,
                    skip_comments: true,
                    clear: true,
                };
                restore::run_lines(&restore, &SystemResolver::default(), out)
            }
        }
    }
}

//! `ipvsadm-save` and `ipvsadm-restore`, when the program is called through links of these names.

use std::{io, path::Path};

use super::{
    CliError,
    list::Reading,
    names::System,
    options::Options,
    restore::{self, Manner},
    run::{Out, read, tell},
};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Save,
    Restore,
}

// === impl Script ===

impl Script {
    /// The script that the program is called as.
    pub(super) fn of(program: &str) -> Option<Self> {
        match Path::new(program).file_name()?.to_str()? {
            "ipvsadm-save" => Some(Self::Save),
            "ipvsadm-restore" => Some(Self::Restore),
            _ => None,
        }
    }

    /// Carries it out; the director is that of the environment or the configuration.
    pub(super) fn run(
        self,
        program: &str,
        words: &[String],
        out: &mut Out,
    ) -> Result<u8, CliError> {
        let options = Options::default();
        match self {
            Self::Save => {
                let mut numeric = false;
                for word in words.iter().filter(|word| word.starts_with('-')) {
                    if word != "-n" {
                        tell(
                            "ipvsadm-save: Script to save the IPVS table to stdout.\n   \
                             With the -n option, prints out the table in numeric format.",
                        );
                        return Ok(1);
                    }
                    numeric = true;
                }
                read(&options, out, &Reading::Save { numeric })
            }
            Self::Restore => {
                let text = io::read_to_string(io::stdin()).map_err(CliError::Input)?;
                let manner = Manner {
                    // What the script runs, and what its messages name.
                    program: "ipvsadm",
                    options: &options,
                    comments: true,
                    clear: true,
                };
                let _ = program;
                restore::run(&text, &manner, &System::default(), out)
            }
        }
    }
}

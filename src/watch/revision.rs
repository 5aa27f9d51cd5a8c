//! Revisions: positions in the log of changes.

use std::{fmt, str::FromStr};

use crate::model::Error;

/// A position in the log of changes. Clients compare revisions for equality only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    /// Random, and different after a start of the daemon, a reload of the module `ip_vs` and a change
    /// of the network namespace.
    pub(super) epoch: u64,
    /// The number of the last change before it.
    pub(super) counter: u64,
}

/// The epoch of revisions that nobody can resume from.
pub(super) const NO_EPOCH: u64 = 0;

// === impl Revision ===

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.epoch, self.counter)
    }
}

impl FromStr for Revision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |digits: &str| {
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_hex
                .then(|| u64::from_str_radix(digits, 16).ok())
                .flatten()
        };
        let parsed = text.split_once('-').and_then(|(epoch, counter)| {
            Some(Self {
                epoch: number(epoch).filter(|_| epoch.len() == 16)?,
                counter: number(counter)?,
            })
        });
        parsed.ok_or_else(|| {
            let message =
                format!("{text:?} is not a revision of this API: use one of a list or event");
            Error::invalid("from_revision", message)
        })
    }
}

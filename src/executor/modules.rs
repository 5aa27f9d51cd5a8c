//! The kernel modules that operations need.

use foldhash::{HashSet, HashSetExt};

use super::socket::Outcome;
use crate::model::{Name, Op};

/// The schedulers and persistence engines that the kernel has, as executed operations show. For
/// another one it runs modprobe(8) inside the request, which takes milliseconds or, on a busy machine,
/// longer. (A module that has been removed since is loaded again in the same way.)
#[derive(Debug)]
pub struct LoadedModules(HashSet<Name>);

// === impl LoadedModules ===

impl LoadedModules {
    pub(super) fn new() -> Self {
        Self(HashSet::new())
    }

    /// Whether the kernel may have to load a module for an operation.
    pub(super) fn may_lack(&self, op: &Op) -> bool {
        names(op).any(|name| !self.0.contains(&name))
    }

    /// Remembers what an operation has shown. Only names that the kernel knows are kept.
    pub(super) fn note(&mut self, op: &Op, outcome: Outcome) {
        if outcome == Outcome::Done {
            self.0.extend(names(op));
        }
    }
}

/// The modules that an operation names.
fn names(op: &Op) -> impl Iterator<Item = Name> {
    let needs = op.needs();
    needs
        .into_iter()
        .flat_map(|(scheduler, engine)| [Some(scheduler), engine])
        .flatten()
}

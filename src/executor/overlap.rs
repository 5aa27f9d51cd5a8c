//! Which operations of this process overlap a dump of the thread for long reads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::request::Dump;
use crate::model::Op;

/// The dump and the operations that are in progress. Neither waits for the other: an operation that is
/// in progress at any moment of the dump is taken for one that the kernel executes within it.
#[derive(Debug, Default)]
pub struct Overlap(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The dump in progress, and whether an operation has invalidated it.
    dump: Option<(Dump, bool)>,
    /// The operations in progress that add or remove entries.
    ops: Vec<Op>,
}

/// Operations in progress, until it is dropped.
pub struct OpsInProgress<'a>(&'a Overlap);

// === impl Overlap ===

impl Overlap {
    /// A dump begins.
    pub fn begin_dump(&self, dump: Dump) {
        let mut state = self.state();
        let invalidated = state.ops.iter().any(|op| dump.is_invalidated_by(op));
        state.dump = Some((dump, invalidated));
    }

    /// The dump has ended. Returns whether an operation has invalidated it.
    pub fn end_dump(&self) -> bool {
        let dump = self.state().dump.take();
        dump.is_some_and(|(_, invalidated)| invalidated)
    }

    /// Operations are about to be sent. One thread at a time sends operations.
    pub fn begin_ops(&self, ops: &[Op]) -> OpsInProgress<'_> {
        // Before the lock.
        let ops: Vec<_> = ops.iter().filter(|op| !op.is_edit()).cloned().collect();
        let mut state = self.state();
        if let Some((dump, invalidated)) = &mut state.dump {
            *invalidated |= ops.iter().any(|op| dump.is_invalidated_by(op));
        }
        state.ops = ops;
        drop(state);
        OpsInProgress(self)
    }

    /// No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpsInProgress<'_> {
    fn drop(&mut self) {
        self.0.state().ops.clear();
    }
}

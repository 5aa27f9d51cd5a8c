//! Reads in progress.

use std::time::Instant;

use super::{event::Author, revision::Revision, touched::Touched};
use crate::model::Op;

/// A read in progress.
#[derive(Debug)]
pub(super) struct ReadInProgress {
    pub(super) id: u64,
    pub(super) begin: Instant,
    pub(super) revision: Revision,
    /// What has changed since it began, or is about to.
    pub(super) touched: Touched,
    /// Whether it shows what neither the table nor an event does.
    pub(super) differs: bool,
    /// Operations that were executed since it began, if the table is unknown. `None`: too many.
    pub(super) executed: Option<Vec<(Op, Option<Author>)>>,
}

/// Operations that are executed again on a dump that makes the table known.
const MAX_EXECUTED: usize = 16_384;

// === impl ReadInProgress ===

impl ReadInProgress {
    /// A read that begins now, during operations that touch this.
    pub(super) fn new(id: u64, revision: Revision, touched: Touched) -> Self {
        Self {
            id,
            begin: Instant::now(),
            revision,
            touched,
            differs: false,
            executed: Some(Vec::new()),
        }
    }

    pub(super) fn note_executed(&mut self, op: &Op, author: Option<&Author>) {
        match &mut self.executed {
            Some(executed) if executed.len() < MAX_EXECUTED => {
                executed.push((op.clone(), author.cloned()));
            }
            executed => *executed = None,
        }
    }
}

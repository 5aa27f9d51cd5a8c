//! The reports of the last applies, with all of their operations.

use std::sync::Arc;

use crate::{
    app::ApplyReport,
    budget::{Budget, Charged},
    model::{ApplyOutcome, Owner},
};

/// The reports of the last applies, the oldest first.
#[derive(Debug, Default)]
pub(super) struct LastOperations {
    all: Vec<Kept>,
    /// Number of the next one.
    next: u64,
}

/// The report of the last apply of a table, or of the one in progress.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    owner: Owner,
    /// Another one for each apply, since the daemon began.
    pub number: u64,
    pub report: Arc<Charged<ApplyReport>>,
}

/// The part of the memory of requests that all reports may occupy.
const PART: usize = 8;

// === impl LastOperations ===

impl LastOperations {
    /// Keeps the report of the apply of a table instead of that of the one before. The oldest of other tables are
    /// dropped if there is no memory for all.
    pub fn keep(&mut self, owner: &Owner, report: ApplyReport, budget: &Budget) {
        let is_same = |kept: &Kept| {
            kept.report.outcome == ApplyOutcome::Running && kept.report.apply_id == report.apply_id
        };
        let number = match self.of(owner).filter(is_same) {
            Some(begun) => begun.number,
            None => {
                self.next += 1;
                self.next
            }
        };
        self.forget(owner);
        let needed = bytes(&report);
        loop {
            let used: usize = self.all.iter().map(|kept| bytes(&kept.report)).sum();
            let charged = match used + needed > budget.limit() / PART {
                true => None,
                false => budget.charge(needed).ok(),
            };
            if let Some(charge) = charged {
                self.all.push(Kept {
                    owner: owner.clone(),
                    number,
                    report: Arc::new(Charged::new(report, charge)),
                });
                return;
            }
            if self.all.is_empty() {
                let operations = report.operations.len();
                tracing::warn!(%owner, operations, "no memory for the list of the operations of an apply");
                return;
            }
            self.all.remove(0);
        }
    }

    /// The table does not exist any more.
    pub fn forget(&mut self, owner: &Owner) {
        self.all.retain(|kept| kept.owner != *owner);
    }

    pub fn of(&self, owner: &Owner) -> Option<Kept> {
        self.all.iter().find(|kept| kept.owner == *owner).cloned()
    }
}

fn bytes(report: &ApplyReport) -> usize {
    size_of::<ApplyReport>() + size_of_val(&*report.operations)
}

#[cfg(test)]
mod tests;

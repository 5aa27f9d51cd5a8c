//! The reports of the last applies, with all of their operations.

use std::sync::Arc;

use crate::{
    app::ApplyReport,
    budget::{Budget, Charged},
    model::Owner,
};

/// The reports of the last applies, the oldest first.
#[derive(Debug, Default)]
pub(super) struct LastOperations(Vec<(Owner, Arc<Charged<ApplyReport>>)>);

/// Operations of all reports together, if there are several: about 100 MB. The largest apply is bounded by the size of
/// a request.
const MAX_OPERATIONS: usize = 200_000;

// === impl LastOperations ===

impl LastOperations {
    /// Keeps the report of the apply of a table instead of that of the one before. The oldest of other tables are
    /// dropped if there are too many operations, or no memory.
    pub fn keep(&mut self, owner: &Owner, report: ApplyReport, budget: &Budget) {
        self.forget(owner);
        let bytes = size_of::<ApplyReport>() + size_of_val(&*report.operations);
        let mut total = report.operations.len();
        total += self
            .0
            .iter()
            .map(|(_, kept)| kept.operations.len())
            .sum::<usize>();
        loop {
            let charged = match total > MAX_OPERATIONS && !self.0.is_empty() {
                true => None,
                false => budget.charge(bytes).ok(),
            };
            if let Some(charge) = charged {
                let report = Arc::new(Charged::new(report, charge));
                self.0.push((owner.clone(), report));
                return;
            }
            if self.0.is_empty() {
                let operations = report.operations.len();
                tracing::warn!(%owner, operations, "no memory for the list of the operations of an apply");
                return;
            }
            let (_, oldest) = self.0.remove(0);
            total -= oldest.operations.len();
        }
    }

    /// The table does not exist any more.
    pub fn forget(&mut self, owner: &Owner) {
        self.0.retain(|(kept, _)| kept != owner);
    }

    /// The report of the last apply of a table, or of the one in progress.
    pub fn of(&self, owner: &Owner) -> Option<Arc<Charged<ApplyReport>>> {
        let mut kept = self.0.iter();
        let (_, report) = kept.find(|(kept, _)| kept == owner)?;
        Some(report.clone())
    }
}

#[cfg(test)]
mod tests;

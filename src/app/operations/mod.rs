//! The execution of planned operations, with the outcome of each: what declared tables and batches share.

mod current;
mod execution;
mod report;
mod rollback;
mod run;
mod step;

pub use report::{ApplyReport, Lost, OperationReport, OperationResult, Summary};

pub(in crate::app) use current::Current;
pub(in crate::app) use execution::Execution;
pub(in crate::app) use rollback::known;
pub(in crate::app) use run::Order;
pub(in crate::app) use step::PlannedStep;

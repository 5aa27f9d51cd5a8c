//! How far the execution of a plan has come.

use super::transaction::{Plan, Step};
use crate::model::{Error, Reason};

/// The execution of one plan.
pub struct InFlight {
    stages: std::vec::IntoIter<Vec<Step>>,
    creates: bool,
    /// The steps that are done.
    pub(super) done: Vec<Step>,
    /// Why it has failed.
    pub(super) failed: Option<Error>,
}

// === impl InFlight ===

impl InFlight {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            stages: plan.stages.into_iter(),
            creates: plan.creates,
            done: Vec::new(),
            failed: None,
        }
    }

    pub(super) fn record(&mut self, step: Step, result: Result<(), Error>) {
        match result {
            Ok(()) => self.done.push(step),
            Err(error) => {
                self.failed.get_or_insert(step.locate(error));
            }
        }
    }

    /// The next stage, if there is one and no operation has failed.
    pub(super) fn next_stage(&mut self) -> Option<Vec<Step>> {
        match self.failed {
            None => self.stages.next(),
            Some(_) => None,
        }
    }

    /// Whether the stages that are left have no operation.
    pub(super) fn is_last_stage(&self) -> bool {
        self.stages.as_slice().iter().all(Vec::is_empty)
    }

    /// Whether the plan failed because another program created or deleted an object.
    pub(super) fn is_outdated(&self) -> bool {
        self.failed.as_ref().is_some_and(Error::contradicts_read)
    }

    /// Goes on with a plan from the current state, which shows the steps that are done.
    pub(super) fn resume(&mut self, plan: Plan) {
        self.creates = plan.creates || (self.creates && !self.done.is_empty());
        self.stages = plan.stages.into_iter();
        self.failed = None;
    }

    /// Fails with another error.
    pub(super) fn fail(&mut self, error: Error) {
        self.failed = Some(error);
    }

    /// Whether the plan creates its resource, and its steps; or why it failed.
    pub(super) fn finish(self) -> Result<(bool, Vec<Step>), Error> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok((self.creates, self.done)),
        }
    }
}

// === impl Step ===

impl Step {
    /// Adds the field of the request to an error that the operation itself causes. A kernel that is
    /// unavailable or does not reply is not caused by a field.
    pub(super) fn locate(&self, error: Error) -> Error {
        let rejected = error.errno.is_some() && error.reason != Reason::KernelUnavailable;
        match &self.path {
            Some(path) if rejected || !error.violations.is_empty() => error.below(path),
            _ => error,
        }
    }
}

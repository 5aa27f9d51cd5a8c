//! Plans carried out: those of a pack together, one send for a stage of all, and each with its own
//! exact outcome; undone where they fail.

use tokio::sync::oneshot;

use super::{Batch, Changed, Plan, Seen, Step, link::Outcome, unavailable, worker::Worker};
use crate::{
    codec,
    model::{Errno, Error, Name, Op, Query, Reason, SCHEDULERS},
};

/// A change on its way.
pub(super) struct Act {
    stages: std::vec::IntoIter<Vec<Step>>,
    changed: bool,
    created: bool,
    read_back: Option<Query>,
    /// What reading back would show, where that is known already.
    known: Option<Option<Seen>>,
    done: Vec<Step>,
    failed: Option<Error>,
    reply: oneshot::Sender<Result<Changed, Error>>,
}

// === impl Worker ===

impl Worker {
    /// Carries out operations that have nothing to do with each other.
    pub(super) fn batch(&mut self, batch: &Batch) -> Result<Vec<Result<(), Error>>, Error> {
        if !batch.stop {
            let outcomes = self.execute(&batch.ops)?;
            let pairs = batch.ops.iter().zip(outcomes);
            return Ok(pairs.map(|(op, came)| self.result(op, came)).collect());
        }
        let mut results = Vec::with_capacity(batch.ops.len());
        for op in &batch.ops {
            let came = self.execute(std::slice::from_ref(op))?;
            let came = came.first().copied().unwrap_or(Outcome::NotSent);
            let result = self.result(op, came);
            let failed = result.is_err();
            results.push(result);
            if failed {
                break;
            }
        }
        Ok(results)
    }

    /// What came of an operation, found out where the answer was lost.
    fn result(&mut self, op: &Op, outcome: Outcome) -> Result<(), Error> {
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::Refused(errno) => Err(self.explain(op, errno)),
            Outcome::Unknown => self.find_out(op),
            Outcome::NotSent => Err(lost("it was not carried out")),
        }
    }

    /// Carries out the plans, stage by stage, and undoes those that fail.
    pub(super) fn act(&mut self, acts: &mut [Act]) {
        while let Some(owned) = next_stage(acts) {
            if owned.is_empty() {
                continue;
            }
            let ops: Vec<_> = owned.iter().map(|(_, step)| step.op.clone()).collect();
            let outcomes = self.execute(&ops);
            for (i, (owner, step)) in owned.into_iter().enumerate() {
                let result = match &outcomes {
                    Ok(outcomes) => {
                        let outcome = outcomes.get(i).copied().unwrap_or(Outcome::NotSent);
                        self.result(&step.op, outcome)
                    }
                    Err(error) => Err(error.clone()),
                };
                acts[owner].take(step, result);
            }
        }
        for act in acts.iter_mut().filter(|act| act.failed.is_some()) {
            let done = std::mem::take(&mut act.done);
            let undo: Vec<_> = done
                .iter()
                .rev()
                .filter_map(|step| step.undo.clone())
                .collect();
            let outcomes = match undo.is_empty() {
                true => Ok(Vec::new()),
                false => self.execute(&undo),
            };
            let undone = outcomes.map_or(0, |all| {
                all.into_iter()
                    .filter(|outcome| *outcome == Outcome::Done)
                    .count()
            });
            if undone < done.len()
                && let Some(error) = &mut act.failed
            {
                error.detail += &format!(
                    "; {} other operations were carried out, and {undone} of them undone",
                    done.len()
                );
            }
        }
    }

    /// Sends operations; on a new socket where the old one's family has gone, which is when none
    /// of them was carried out.
    fn execute(&mut self, ops: &[Op]) -> Result<Vec<Outcome>, Error> {
        self.cache.clear();
        if let Some((dump, moved)) = &mut self.dumping {
            *moved |= ops.iter().any(|op| dump.is_moved_by(op));
        }
        let (mut outcomes, mut broken) = self.writes.link()?.execute(ops);
        let refused = |outcomes: &[Outcome]| {
            outcomes
                .iter()
                .all(|outcome| *outcome == Outcome::Refused(Errno::ENOENT))
        };
        if refused(&outcomes) && !matches!(self.writes.link()?.is_current(), Ok(true)) {
            tracing::warn!("the IPVS family has gone or moved; connecting anew");
            self.writes.give_up();
            (outcomes, broken) = self.writes.link()?.execute(ops);
        }
        if let Some(error) = broken {
            tracing::warn!(%error, "the netlink socket is given up after a write");
            self.writes.give_up();
        }
        Ok(outcomes)
    }

    /// The kernel's refusal, in words.
    fn explain(&self, op: &Op, errno: Errno) -> Error {
        if matches!(errno, Errno::EPERM | Errno::ENOPROTOOPT) {
            return unavailable::refused(errno);
        }
        // Both missing are ENOENT.
        let scheduler_is_there = errno == Errno::ENOENT
            && op.needs().is_some_and(|(scheduler, engine)| {
                engine.is_some() && self.has_scheduler(scheduler)
            });
        codec::rejected(op, errno, scheduler_is_there)
    }

    /// Whether the kernel has a scheduler that it was just asked for, which made it load its module.
    fn has_scheduler(&self, scheduler: Name) -> bool {
        let modules = self.read_file("modules").unwrap_or_default();
        let is_loaded = |name: &str| {
            let mut names = modules.lines().filter_map(|line| line.split(' ').next());
            names.any(|module| module == name)
        };
        let known = |name: &str| SCHEDULERS.iter().any(|(known, _)| *known == name);
        // What is built into the kernel is no module.
        scheduler.as_str() == "none"
            || is_loaded(&format!("ip_vs_{scheduler}"))
            || (!is_loaded("ip_vs") && known(scheduler.as_str()))
    }

    /// Looks whether an operation whose answer is lost was carried out; what can be repeated
    /// without harm is.
    fn find_out(&mut self, op: &Op) -> Result<(), Error> {
        let query = match op {
            Op::ZeroAll | Op::ZeroService(_) => {
                return match self.execute(std::slice::from_ref(op))?.first() {
                    Some(Outcome::Done) => Ok(()),
                    Some(Outcome::Refused(errno)) => Err(self.explain(op, *errno)),
                    _ => Err(lost("it is not known whether it was carried out")),
                };
            }
            Op::Clear => Query::Services,
            Op::SetTimeouts(_) => Query::Timeouts,
            Op::StartSyncDaemon(_) | Op::StopSyncDaemon(_) => Query::SyncDaemons,
            Op::CreateService(key, _) | Op::SetService(key, _) | Op::DeleteService(key) => {
                Query::Service(*key)
            }
            Op::CreateServer(key, ..) | Op::SetServer(key, ..) | Op::DeleteServer(key, _) => {
                Query::ServiceWithServers(*key)
            }
        };
        let seen = self.ask(query).map_err(|error| {
            lost(&format!(
                "it is not known whether it was carried out, as reading back failed too: {error}"
            ))
        })?;
        match seen.shows(op) {
            Some(true) => Ok(()),
            Some(false) => Err(lost("it was not carried out, as reading back shows")),
            None => Err(lost("it is not known whether it was carried out")),
        }
    }
}

// === impl Act ===

impl Act {
    pub(super) fn new(
        plan: Plan,
        read_back: Option<Query>,
        known: Option<Option<Seen>>,
        reply: oneshot::Sender<Result<Changed, Error>>,
    ) -> Self {
        let changed = !plan.is_empty();
        let created = plan.creates;
        let stages = plan.stages.into_iter();
        Self {
            stages,
            changed,
            created,
            read_back,
            known,
            done: Vec::new(),
            failed: None,
            reply,
        }
    }

    fn take(&mut self, step: Step, result: Result<(), Error>) {
        match result {
            Ok(()) => self.done.push(step),
            Err(error) => {
                // What the kernel refused is the item's fault, what it did not answer is nobody's.
                let refused = error.errno.is_some() && error.reason != Reason::KernelUnavailable;
                let error = match &step.path {
                    Some(path) if refused || !error.violations.is_empty() => error.below(path),
                    _ => error,
                };
                self.failed.get_or_insert(error);
            }
        }
    }

    pub(super) fn read_back(&self) -> Option<Query> {
        if self.failed.is_some() || self.known.is_some() {
            None
        } else {
            self.read_back
        }
    }

    pub(super) fn finish(self, seen: Result<Option<Seen>, Error>) {
        let answer = match (self.failed, self.known, seen) {
            (Some(error), ..) => Err(error),
            (None, Some(known), _) => Ok(known),
            (None, None, Ok(seen)) => Ok(seen),
            (None, None, Err(mut error)) => {
                error.detail = format!("it was carried out, but not read back: {}", error.detail);
                Err(error)
            }
        };
        let (changed, created) = (self.changed, self.created);
        // Who waited may have gone; what was done stays done.
        drop(self.reply.send(answer.map(|seen| Changed {
            seen,
            changed,
            created,
        })));
    }
}

/// The next stage of every plan that has not failed, each step with the place of its plan.
fn next_stage(acts: &mut [Act]) -> Option<Vec<(usize, Step)>> {
    let mut steps = Vec::new();
    let mut any = false;
    for (owner, act) in acts
        .iter_mut()
        .enumerate()
        .filter(|(_, act)| act.failed.is_none())
    {
        if let Some(stage) = act.stages.next() {
            any = true;
            steps.extend(stage.into_iter().map(|step| (owner, step)));
        }
    }
    any.then_some(steps)
}

/// What is said of an operation whose answer is lost.
fn lost(found: &str) -> Error {
    Error::new(
        Reason::DeadlineExceeded,
        format!("the kernel's answer was lost; {found}"),
    )
    .with_hint("look at it, then try again")
}

//! Operations that replace an entry of which another program may change other fields meanwhile.
//!
//! The kernel has no precondition and no notification. The entry is read in the send of the operation,
//! right before it: if it is not the one that the plan was made from, the operation has overwritten a
//! change of another program, and this is made good. What remains is a change between the two messages
//! of one send, for which the kernel needs about a microsecond.

use super::{
    engine::Engine,
    offload::offload_if,
    service_state::{Servers, ServiceRead},
    socket::Outcome,
    transaction::{Check, Step},
};
use crate::model::{Errno, Error, Op, Reason};

/// Times that an entry is written, if another program keeps changing it.
const ATTEMPTS: usize = 4;

// === impl Engine ===

impl Engine {
    /// Executes a step with a check. Returns the step as it was executed in the end: its operation
    /// keeps, and its opposite restores, what another program wrote.
    pub(super) fn execute_checked(&mut self, mut step: Step) -> (Step, Result<(), Error>) {
        let Some(check) = step.check.take() else {
            let result = self.execute_one(&step.op);
            return (step, result);
        };
        // The second: without the holds, if those have ended since it was written.
        let mut expected = [step.undo.clone(), None];
        for _ in 0..ATTEMPTS {
            let sent = self.holds.sent_one(&step.op, self.keeps_holds);
            let executed = self.in_one_namespace(|engine| {
                engine.holds.prepare(std::slice::from_ref(&step.op))?;
                Ok(engine.execute_after_read(&step.op, &sent))
            });
            let (before, result) = match executed {
                Ok((before, Outcome::Done)) => (before, Ok(())),
                // The family may have a new id, which the other path finds out. Nothing was done.
                Ok((_, Outcome::Rejected(Errno::ENOENT) | Outcome::NotSent)) => {
                    (None, self.execute_one(&step.op))
                }
                Ok((_, outcome)) => (None, self.result(&step.op, outcome).into()),
                Err(error) => (None, Err(error)),
            };
            // Nothing was overwritten, or it is unknown what.
            let is_expected = |before: &Op| expected.iter().flatten().any(|op| op == before);
            let overwritten = before.filter(|before| !is_expected(before));
            let (Ok(()), Some(before)) = (&result, overwritten) else {
                return (step, result);
            };
            let merged = check.merge(&before);
            let written = std::mem::replace(&mut step.op, merged.clone().unwrap_or(before.clone()));
            step.undo = Some(before);
            if let Err(error) = merged {
                let restored = self.execute_one(&step.op);
                return (step, restored.and(Err(error)));
            }
            if step.op == written {
                return (step, result);
            }
            expected = [Some(written), Some(sent)];
        }
        // Another program has changed the entry each time: the last merged state is written unchecked.
        let result = self.execute_one(&step.op);
        (step, result)
    }

    fn execute_one(&mut self, op: &Op) -> Result<(), Error> {
        let outcomes = self.execute(std::slice::from_ref(op))?;
        let outcome = outcomes.first().copied().unwrap_or(Outcome::NotSent);
        self.result(op, outcome).into()
    }

    /// Executes an operation, as which `sent` is sent. The first value is the operation that restores the entry
    /// as it was right before, if that could be read.
    fn execute_after_read(&mut self, op: &Op, sent: &Op) -> (Option<Op>, Outcome) {
        let may_block = self.modules.may_lack(op);
        let watch = self.watch.clone();
        let _in_progress = watch.begin_ops(std::slice::from_ref(op));
        let Ok(socket) = self.socket.socket() else {
            return (None, Outcome::NotSent);
        };
        let (key, servers) = match *op {
            Op::SetService(key, _) => (key, Servers::None),
            Op::SetServer(key, server, _) => (key, Servers::One(server)),
            _ => return (None, Outcome::NotSent),
        };
        let read = ServiceRead {
            key,
            service: matches!(servers, Servers::None),
            servers,
        };
        let (mut state, outcome, broken) =
            offload_if(may_block, || socket.execute_after_read(read, sent));
        self.holds.notice(key, &state.servers);
        self.holds.show(key, &mut state.servers);
        self.modules.note(op, outcome);
        self.metrics.batch(1);
        self.count(op, outcome);
        if let Some(error) = broken {
            tracing::warn!(%error, "closing the netlink socket after a failed write");
            self.socket.close();
        }
        let service = state.service.and_then(Result::ok);
        let before = match (service, state.servers.first()) {
            (Some(service), _) => Some(Op::SetService(key, service.config)),
            (None, Some(server)) => Some(Op::SetServer(key, server.key, server.config)),
            (None, None) => None,
        };
        if outcome == Outcome::Done {
            self.note_executed(op);
            if let Some(before) = &before {
                watch.overwritten(before);
            }
            watch.executed(std::iter::once(op), self.author.as_ref());
        }
        (before, outcome)
    }
}

// === impl Check ===

impl Check {
    /// The operation to execute instead, now that the entry was as `before` restores it.
    fn merge(&self, before: &Op) -> Result<Op, Error> {
        match (self, before) {
            (Self::MergeService(draft), Op::SetService(key, config)) => {
                Ok(Op::SetService(*key, draft.update(*key, *config)?))
            }
            (Self::MergeServer(draft), Op::SetServer(key, server, config)) => {
                let merged = draft.update(*key, *server, *config)?;
                Ok(Op::SetServer(*key, *server, merged))
            }
            _ => Err(Error::new(
                Reason::RevisionMismatch,
                "another program changed the resource at the same time; its change was restored",
            )
            .with_hint("read the resource again and retry with its current ETag")),
        }
    }
}

//! Sends operations to the kernel and determines the outcome of each. A plan that fails is rolled back.

use std::io;

use super::{
    engine::Engine,
    in_flight::InFlight,
    interfaces::Start,
    offload::offload_if,
    proc_query::{SystemQuery, write_setting},
    query::{ServicesQuery, SyncDaemonsQuery, TimeoutsQuery},
    service_query::{ServerQuery, ServiceQuery},
    service_state::{ServiceRead, ServiceState},
    socket::{IpvsSocket, Outcome, READ_AFTER},
    transaction::{CommandList, CommandResult},
    unavailable,
};
use crate::{
    codec,
    model::{Errno, Error, Name, Op, SCHEDULERS, Server, ServerConfig, ServerKey, ServiceKey},
};

// === impl Engine ===

impl Engine {
    /// Executes independent operations. The second value says why they were interrupted, if they
    /// were: the outcome of an operation is unknown, or the kernel takes no further one.
    ///
    /// A reply that is lost closes the socket. The operations after it were not sent, and are sent
    /// on a new socket.
    pub(super) fn run_commands(
        &mut self,
        commands: &CommandList,
    ) -> (Vec<CommandResult>, Option<Error>) {
        let CommandList {
            ops, stop_on_error, ..
        } = commands;
        let mut results = Vec::with_capacity(ops.len());
        let mut stuck = false;
        while results.len() < ops.len() {
            let before = results.len();
            let end = if *stop_on_error {
                before + 1
            } else {
                ops.len()
            };
            let rest = ops.get(before..end).unwrap_or_default();
            let interruption = match self.execute(rest) {
                Ok(outcomes) => self.take_outcomes(rest, &outcomes, &mut results),
                Err(error) => Some(error),
            };
            if interruption.is_some() {
                return (results, interruption);
            }
            if *stop_on_error && matches!(results.last(), Some(CommandResult::Refused(_))) {
                break;
            }
            if results.len() == before && std::mem::replace(&mut stuck, true) {
                return (
                    results,
                    Some(unavailable::lost_reply("the operation was not executed")),
                );
            }
        }
        (results, None)
    }

    /// Decides about operations that are permitted or not by what they change.
    pub(super) fn check_commands(&mut self, commands: &mut CommandList) -> Result<(), Error> {
        let Some(mut check) = commands.check.take() else {
            return Ok(());
        };
        let mut before = Vec::with_capacity(commands.ops.len());
        for op in &commands.ops {
            before.push(match *op {
                // The kernel rejects an edit of a server that does not exist.
                Op::SetServer(service, server, config) => {
                    let found = self.found_server(service, server)?;
                    let now = found.map_or(config, |found| found.config);
                    Some(Op::SetServer(service, server, now))
                }
                _ => None,
            });
        }
        let before = before.iter().map(Option::as_ref);
        check(&mut commands.ops.iter().zip(before))
    }

    /// Adds the results of the operations that were sent. Once one is unknown, the state of those
    /// after it is not read either.
    fn take_outcomes(
        &mut self,
        ops: &[Op],
        outcomes: &[Outcome],
        results: &mut Vec<CommandResult>,
    ) -> Option<Error> {
        let mut interruption: Option<Error> = None;
        let sent = outcomes.iter().take_while(|o| **o != Outcome::NotSent);
        for (op, outcome) in ops.iter().zip(sent) {
            let result = match (&interruption, outcome) {
                (Some(error), Outcome::Unknown) => CommandResult::Unknown(error.clone()),
                _ => self.result(op, *outcome),
            };
            if let CommandResult::Unknown(error) = &result {
                interruption.get_or_insert_with(|| error.clone());
            }
            results.push(result);
        }
        interruption
    }

    /// Executes a plan, stage by stage. The operations of a stage share one send. That of the last
    /// stage includes the read that reads back, if both are small; its result is returned if it is
    /// sure.
    pub(super) fn execute_plan(
        &mut self,
        plan: &mut InFlight,
        read_back: Option<ServiceRead>,
    ) -> Option<ServiceState> {
        let mut state = None;
        while let Some(stage) = plan.next_stage() {
            let (checked, stage): (Vec<_>, Vec<_>) =
                stage.into_iter().partition(|step| step.check.is_some());
            for step in checked {
                let (step, result) = self.execute_checked(step);
                plan.record(step, result);
            }
            if stage.is_empty() {
                continue;
            }
            let ops: Vec<_> = stage.iter().map(|step| step.op.clone()).collect();
            let read = read_back.filter(|_| plan.is_last_stage());
            let (outcomes, read) = match self.execute_and_read(&ops, read) {
                Ok((outcomes, read)) => (Ok(outcomes), read),
                Err(error) => (Err(error), None),
            };
            state = read;
            for (i, step) in stage.into_iter().enumerate() {
                let result = match &outcomes {
                    Ok(outcomes) => {
                        let outcome = outcomes.get(i).copied().unwrap_or(Outcome::NotSent);
                        self.result(&step.op, outcome).into()
                    }
                    Err(error) => Err(error.clone()),
                };
                plan.record(step, result);
            }
        }
        state
    }

    /// Reverts the steps of a plan that has failed, the last first. The error reports what could not
    /// be reverted.
    pub(super) fn roll_back(&mut self, plan: &mut InFlight) {
        let Some(error) = &mut plan.failed else {
            return;
        };
        let done = std::mem::take(&mut plan.done);
        let undo: Vec<_> = done
            .iter()
            .rev()
            .filter_map(|step| step.undo.clone())
            .collect();
        self.holds.put_back(std::mem::take(&mut self.ended_holds));
        let outcomes = match undo.is_empty() {
            true => Ok(Vec::new()),
            false => self.execute(&undo),
        };
        let undone = outcomes.map_or(0, |outcomes| {
            let done = outcomes.iter().filter(|outcome| **outcome == Outcome::Done);
            done.count()
        });
        if undone < done.len() {
            tracing::warn!(
                executed = done.len(),
                undone,
                "failed to roll back all operations of a failed change"
            );
            error.detail += &format!(
                "; {} other operations were executed and {undone} of them rolled back",
                done.len()
            );
        }
    }

    /// Executes operations in order, in the managed network namespace. An operation that fails does
    /// not stop the ones after it.
    pub(super) fn execute(&mut self, ops: &[Op]) -> Result<Vec<Outcome>, Error> {
        let (outcomes, _) = self.execute_and_read(ops, None)?;
        Ok(outcomes)
    }

    /// Executes operations like [`execute`](Self::execute), and reads a service in the same send if that
    /// is possible. The result is returned only if it is sure.
    fn execute_and_read(
        &mut self,
        ops: &[Op],
        read: Option<ServiceRead>,
    ) -> Result<(Vec<Outcome>, Option<ServiceState>), Error> {
        let is_long = ops.len() > READ_AFTER || ops.iter().any(Op::may_take_long);
        let read = read.filter(|_| !is_long);
        let may_block = is_long || ops.iter().any(|op| self.modules.may_lack(op));
        offload_if(may_block, || {
            self.in_one_namespace(|engine| engine.execute_here(ops, read))
        })
    }

    /// Executes something in the managed network namespace.
    ///
    /// Another namespace may get the managed name at any time. The operations are sent only to the
    /// one from whose state they are planned, and they have succeeded only if it still has the name
    /// afterwards: no change in a deleted namespace is reported as a success.
    pub(super) fn in_one_namespace<T>(
        &mut self,
        execute: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let kernel = self.kernel.clone();
        let replaced = |executed| {
            let name = kernel.namespace().unwrap_or_default();
            unavailable::namespace_replaced(name, executed)
        };
        let here = self.socket.enter()?;
        if self.planned_in.is_some_and(|planned_in| planned_in != here) {
            return Err(replaced(false));
        }
        let outcome = execute(self);
        // What was kept, or is being read by another thread, may be from before the change.
        self.cache.clear();
        let outcome = outcome?;
        match self.socket.enter() {
            Ok(id) if id == here => Ok(outcome),
            _ => Err(replaced(true)),
        }
    }

    fn execute_here(
        &mut self,
        ops: &[Op],
        read: Option<ServiceRead>,
    ) -> Result<(Vec<Outcome>, Option<ServiceState>), Error> {
        self.holds.prepare(ops)?;
        self.stored.store(ops)?;
        let executed = self.send_here(ops, read);
        let outcomes = executed.iter().flat_map(|(outcomes, _)| outcomes).copied();
        let outcomes = outcomes.chain(std::iter::repeat(Outcome::NotSent));
        self.stored.settle(ops.iter().zip(outcomes), &self.watch);
        executed
    }

    fn send_here(
        &mut self,
        ops: &[Op],
        read: Option<ServiceRead>,
    ) -> Result<(Vec<Outcome>, Option<ServiceState>), Error> {
        let (overlap, watch) = (self.overlap.clone(), self.watch.clone());
        let _in_progress = (overlap.begin_ops(ops), watch.begin_ops(ops));
        let holds = self.holds.clone();
        let sent = holds.sent(ops, self.keeps_holds);
        let (outcomes, state) = match read {
            Some(read) => self.execute_netlink_and_read(&sent, read)?,
            None => (self.execute_without_read(&sent)?, None),
        };
        self.metrics.batch(ops.len());
        for (op, outcome) in ops.iter().zip(&outcomes) {
            self.note(op, *outcome);
        }
        // What was read is from after the operations.
        let state = state.map(|mut state| {
            if let Some(read) = read {
                holds.show(read.key, &mut state.servers);
                watch.show_kept(state.service.iter_mut().flatten());
            }
            state
        });
        let executed = ops.iter().zip(&outcomes);
        let executed = executed.filter(|(_, outcome)| **outcome == Outcome::Done);
        watch.executed(executed.map(|(op, _)| op), self.author.as_ref());
        Ok((outcomes, state))
    }

    /// Remembers what an operation shows of the kernel.
    pub(super) fn note(&mut self, op: &Op, outcome: Outcome) {
        self.modules.note(op, outcome);
        self.count(op, outcome);
        if outcome == Outcome::Done {
            self.note_executed(op);
        }
        match op {
            Op::DeleteService(key) => self.large.note(*key, false),
            Op::Clear => self.large.clear(),
            _ => {}
        }
    }

    fn execute_without_read(&mut self, ops: &[Op]) -> Result<Vec<Outcome>, Error> {
        let kind = |op: &Op| std::mem::discriminant(op);
        let has_own_way = |op: &Op| matches!(op, Op::SetSetting { .. } | Op::SetStored(..));
        let is_alike = |a: &Op, b: &Op| kind(a) == kind(b) || !(has_own_way(a) || has_own_way(b));
        let mut outcomes = Vec::with_capacity(ops.len());
        for run in ops.chunk_by(is_alike) {
            match run.first() {
                Some(Op::SetSetting { .. }) => {
                    outcomes.extend(run.iter().map(|op| write_setting(&*self.kernel, op)));
                }
                // They are stored already.
                Some(Op::SetStored(..)) => outcomes.extend(run.iter().map(|_| Outcome::Done)),
                _ => {
                    let start = Start::find(&*self.kernel, run);
                    let done = match self.execute_netlink(|socket| socket.execute(run)) {
                        Ok(done) => done,
                        Err(error) if outcomes.is_empty() => return Err(error),
                        // What was executed before has its outcome.
                        Err(_) => break,
                    };
                    if let Some((i, start)) = start
                        && done.get(i) == Some(&Outcome::Done)
                    {
                        self.socket.remember_master(start.master(&*self.kernel));
                    }
                    outcomes.extend(done);
                    if !outcomes.iter().all(|outcome| outcome.is_sure()) {
                        break;
                    }
                }
            }
        }
        outcomes.resize(ops.len(), Outcome::NotSent);
        Ok(outcomes)
    }

    /// Sends netlink operations like [`execute_netlink`](Self::execute_netlink), with a read.
    fn execute_netlink_and_read(
        &mut self,
        ops: &[Op],
        read: ServiceRead,
    ) -> Result<(Vec<Outcome>, Option<ServiceState>), Error> {
        let mut state = ServiceState::default();
        let outcomes = self.execute_netlink(|socket| {
            let (outcomes, read, broken) = socket.execute_and_read(ops, read);
            state = read;
            (outcomes, broken)
        })?;
        let is_sure = outcomes.iter().all(|outcome| *outcome == Outcome::Done)
            && state.is_complete
            && state.status == 0
            && matches!(state.is_missing(), Ok(false))
            && state.is_consistent()
            && state.is_certain();
        Ok((outcomes, is_sure.then_some(state)))
    }

    /// Sends netlink operations. Sends them again on a new socket if the family of the old one is
    /// gone, in which case none of them was executed.
    fn execute_netlink(
        &mut self,
        mut send: impl FnMut(&mut IpvsSocket) -> (Vec<Outcome>, Option<io::Error>),
    ) -> Result<Vec<Outcome>, Error> {
        let (mut outcomes, mut broken) = send(self.socket.socket()?);
        let all_rejected = outcomes
            .iter()
            .all(|outcome| *outcome == Outcome::Rejected(Errno::ENOENT));
        if all_rejected && !matches!(self.socket.socket()?.is_current(), Ok(true)) {
            tracing::warn!("the IPVS netlink family is gone or has a new id; reconnecting");
            self.socket.close();
            (outcomes, broken) = send(self.socket.socket()?);
        }
        if let Some(error) = broken {
            tracing::warn!(%error, "closing the netlink socket after a failed write");
            self.socket.close();
        }
        Ok(outcomes)
    }

    /// The result of an operation. Reads the current state if the reply is lost.
    pub(super) fn result(&mut self, op: &Op, outcome: Outcome) -> CommandResult {
        match outcome {
            Outcome::Done => CommandResult::Done,
            Outcome::Rejected(errno) => CommandResult::Refused(self.rejected(op, errno)),
            Outcome::Unknown => self.determine_outcome(op),
            Outcome::NotSent => {
                CommandResult::Refused(unavailable::lost_reply("the operation was not executed"))
            }
        }
    }

    /// The error for an operation that the kernel rejected.
    fn rejected(&mut self, op: &Op, errno: Errno) -> Error {
        if let Op::SetSetting { name, .. } = op {
            return unavailable::setting(name, errno);
        }
        if matches!(errno, Errno::EPERM | Errno::ENOPROTOOPT) {
            return unavailable::rejected(errno);
        }
        // ENOENT means that the scheduler or the persistence engine is missing.
        let has_scheduler = errno == Errno::ENOENT
            && op.needs().is_some_and(|(scheduler, engine)| {
                engine.is_some() && self.has_scheduler(scheduler)
            });
        codec::rejected(op, errno, has_scheduler)
    }

    /// Whether the kernel has a scheduler that it was just asked for, which made it load the module.
    fn has_scheduler(&mut self, scheduler: Name) -> bool {
        let modules = self.fetch(&SystemQuery).unwrap_or_default().modules;
        let is_loaded = |name: &str| modules.iter().any(|module| module == name);
        let known = |name: &str| SCHEDULERS.iter().any(|(known, _)| *known == name);
        // A scheduler that is built into the kernel is not listed as a module.
        scheduler.as_str() == "none"
            || is_loaded(&format!("ip_vs_{scheduler}"))
            || (!is_loaded("ip_vs") && known(scheduler.as_str()))
    }

    /// Determines the outcome of an operation whose reply is lost: by executing it again if that is
    /// harmless, otherwise by reading the state that it changes.
    fn determine_outcome(&mut self, op: &Op) -> CommandResult {
        const UNKNOWN: &str = "its outcome is unknown";
        if matches!(op, Op::ZeroAll | Op::ZeroService(_)) {
            let outcomes = self.execute(std::slice::from_ref(op));
            return match outcomes.as_deref().map(<[_]>::first) {
                Ok(Some(Outcome::Done)) => CommandResult::Done,
                Ok(Some(Outcome::Rejected(errno))) => {
                    CommandResult::Refused(self.rejected(op, *errno))
                }
                _ => CommandResult::Unknown(unavailable::lost_reply(UNKNOWN)),
            };
        }
        // Reading it back must not take it for a change of another program.
        let watch = self.watch.clone();
        let _in_progress = watch.begin_ops(std::slice::from_ref(op));
        match self.is_executed(op) {
            Ok(true) => {
                self.note_executed(op);
                let executed = std::iter::once(op);
                watch.executed(executed, self.author.as_ref());
                let settled = [(op, Outcome::Done)].into_iter();
                self.stored.settle(settled, &watch);
                CommandResult::Done
            }
            Ok(false) => {
                let settled = [(op, Outcome::NotSent)].into_iter();
                self.stored.settle(settled, &watch);
                CommandResult::Refused(unavailable::lost_reply(
                    "reading back shows that the operation was not executed",
                ))
            }
            Err(error) => CommandResult::Unknown(unavailable::lost_reply(&format!(
                "{UNKNOWN}, because reading back failed too: {error}"
            ))),
        }
    }

    /// Whether the current state shows the effect of an operation.
    fn is_executed(&mut self, op: &Op) -> Result<bool, Error> {
        Ok(match op {
            Op::CreateService(key, config, _) | Op::SetService(key, config) => self
                .fetch(&ServiceQuery(*key))?
                .is_some_and(|entry| entry.service.config == *config),
            Op::DeleteService(key) => self.fetch(&ServiceQuery(*key))?.is_none(),
            Op::CreateServer(key, server, _) | Op::SetServer(key, server, _) => {
                let found = self.found_server(*key, *server)?;
                found.is_some_and(|found| self.is_made(op, &found))
            }
            Op::DeleteServer(key, server) => self.found_server(*key, *server)?.is_none(),
            Op::Clear => self.fetch(&ServicesQuery)?.is_empty(),
            Op::SetTimeouts(timeouts) => self.fetch(&TimeoutsQuery)? == *timeouts,
            Op::StartSyncDaemon(config) => {
                let running = self.fetch(&SyncDaemonsQuery)?;
                running.iter().any(|daemon| config.runs_as(daemon))
            }
            Op::StopSyncDaemon(state) => {
                let running = self.fetch(&SyncDaemonsQuery)?;
                running.iter().all(|daemon| daemon.state != *state)
            }
            // Zeroing leaves no trace, and the outcome of a write to a file is never lost.
            Op::ZeroAll | Op::ZeroService(_) | Op::SetSetting { .. } | Op::SetStored(..) => false,
        })
    }

    /// A server; `None` if it or its service does not exist.
    fn found_server(
        &mut self,
        service: ServiceKey,
        server: ServerKey,
    ) -> Result<Option<Server>, Error> {
        let found = self.fetch(&ServerQuery(service, server))?;
        Ok(found.and_then(|found| found.server))
    }

    /// Whether the kernel has a server as it was sent with an operation.
    fn is_made(&self, op: &Op, found: &Server) -> bool {
        let kernel = ServerConfig {
            weight: found.effective_weight,
            ..found.config
        };
        match self.holds.sent_one(op, self.keeps_holds) {
            Op::CreateServer(.., sent) | Op::SetServer(.., sent) => kernel == sent,
            _ => false,
        }
    }
}

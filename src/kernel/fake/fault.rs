//! Misbehaviour on demand: what a kernel under load, of another version or in other hands may do
//! to its clients.

use std::{fmt, sync::Arc, time::Duration};

use super::{FakeKernel, wire::Errno};

/// Which requests a fault meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Every command of the IPVS family.
    Any,
    /// One command, by its number (see [`command`](super::command)).
    Command(u8),
    /// The lookup of the family by its name.
    Lookup,
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The command is not executed and fails with this positive errno.
    Errno(i32),
    /// The whole `send` fails with this positive errno, if its first message is met. Nothing of
    /// the datagram is executed.
    SendError(i32),
    /// The command is executed, its answers are dropped, and the next `receive` fails with
    /// ENOBUFS.
    Overrun,
    /// The command is executed and no answer ever comes. The real kernel does so when a sync
    /// daemon is stopped that has never run.
    LostAnswer,
    /// `send` blocks for so long before the command is executed.
    SlowCommand(Duration),
    /// The answers are there only after so long; a `receive` before blocks for up to its limit.
    SlowAnswer(Duration),
    /// Runs just before the command is executed: a foreign change between a check and an act.
    Before(Hook),
    /// Changes each datagram of the answer.
    Mangle(Mangler),
    /// A dump that ends, as if complete, after so many entries.
    DumpEnds(usize),
    /// A dump with each entry twice.
    DumpDoubles,
    /// Runs between a dump's first datagram and its second: a foreign change that the dump does
    /// not tell of. See [`FakeKernel::set_dump_size`] for dumps of more than one datagram.
    DumpInterrupted(Hook),
}

impl Fault {
    /// Answers that are these bytes instead.
    pub fn garbage(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::mangle(move |datagram| datagram.clone_from(&bytes))
    }

    /// Answers with these bytes behind them, in the same datagram.
    pub fn trailing(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::mangle(move |datagram| datagram.extend_from_slice(&bytes))
    }

    /// Answers changed by a function.
    pub fn mangle(change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        Self::Mangle(Mangler(Arc::new(change)))
    }

    /// A foreign change just before the command is executed.
    pub fn before(change: impl Fn(&FakeKernel) + Send + Sync + 'static) -> Self {
        Self::Before(Hook(Arc::new(change)))
    }

    /// A foreign change between a dump's first and second datagram.
    pub fn dump_interrupted(change: impl Fn(&FakeKernel) + Send + Sync + 'static) -> Self {
        Self::DumpInterrupted(Hook(Arc::new(change)))
    }

    fn is_of_dumps(&self) -> bool {
        matches!(
            self,
            Fault::DumpEnds(_) | Fault::DumpDoubles | Fault::DumpInterrupted(_)
        )
    }
}

/// Something done to the kernel, with no lock held.
#[derive(Clone)]
pub struct Hook(Arc<dyn Fn(&FakeKernel) + Send + Sync>);

impl Hook {
    pub(super) fn run(&self, kernel: &FakeKernel) {
        (self.0)(kernel);
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// A change of a datagram.
#[derive(Clone)]
pub struct Mangler(Arc<Change>);

type Change = dyn Fn(&mut Vec<u8>) + Send + Sync;

impl Mangler {
    pub(super) fn run(&self, datagram: &mut Vec<u8>) {
        (self.0)(datagram);
    }
}

impl fmt::Debug for Mangler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mangler")
    }
}

/// The faults of a [`FakeKernel`], to be set and cleared while it runs.
#[derive(Debug)]
pub struct Faults<'a> {
    kernel: &'a FakeKernel,
}

impl<'a> Faults<'a> {
    pub(super) fn new(kernel: &'a FakeKernel) -> Self {
        Self { kernel }
    }

    /// Does it to the next request that is met.
    pub fn once(&self, on: On, fault: Fault) {
        self.times(1, on, fault);
    }

    /// Does it to the next so many requests that are met.
    pub fn times(&self, times: u32, on: On, fault: Fault) {
        self.add(Rule {
            on,
            fault,
            left: Some(times),
        });
    }

    /// Does it to all requests that are met, until [`clear`](Self::clear).
    pub fn always(&self, on: On, fault: Fault) {
        self.add(Rule {
            on,
            fault,
            left: None,
        });
    }

    /// Forgets all faults. Neither loads the module nor gives permission back.
    pub fn clear(&self) {
        self.kernel.state().rules.clear();
    }

    /// How many faults have not yet met all their requests.
    pub fn pending(&self) -> usize {
        self.kernel.state().rules.len()
    }

    /// Unloads the module: the family's name and its old number are unknown (ENOENT), all state
    /// is lost, the files below /proc are gone.
    pub fn unload(&self) {
        self.kernel.state().unload();
    }

    /// Loads the module again, with an empty table and under a new number.
    pub fn load(&self) {
        self.kernel.state().load();
    }

    /// Takes CAP_NET_ADMIN from all callers, or gives it back. Without it every command fails with
    /// EPERM; the lookup of the family still works.
    pub fn set_permitted(&self, permitted: bool) {
        self.kernel.state().permitted = permitted;
    }

    fn add(&self, rule: Rule) {
        if rule.left != Some(0) {
            self.kernel.state().rules.push(rule);
        }
    }
}

/// A fault, what it meets, and how often still (None: for ever).
#[derive(Debug)]
pub(super) struct Rule {
    on: On,
    fault: Fault,
    left: Option<u32>,
}

/// What all faults together do to one request.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) errno: Option<Errno>,
    pub(super) slow_command: Option<Duration>,
    pub(super) before: Vec<Hook>,
    pub(super) answers: AnswerEffects,
    pub(super) dump: DumpEffects,
}

/// What becomes of the answers.
#[derive(Debug, Default, Clone)]
pub(super) struct AnswerEffects {
    pub(super) overrun: bool,
    pub(super) lost: bool,
    pub(super) delay: Option<Duration>,
    pub(super) manglers: Vec<Mangler>,
}

/// What becomes of a dump.
#[derive(Debug, Default)]
pub(super) struct DumpEffects {
    pub(super) ends: Option<usize>,
    pub(super) doubles: bool,
    pub(super) interrupted: Vec<Hook>,
}

/// Takes the failure of a whole send, if one is due for a datagram that begins with `request`.
pub(super) fn take_send_error(rules: &mut Vec<Rule>, request: On) -> Option<Errno> {
    let mut errno = None;
    take(rules, request, |fault| match fault {
        Fault::SendError(number) if errno.is_none() => {
            errno = Some(*number);
            true
        }
        _ => false,
    });
    errno
}

/// Takes all other effects that are due for a request.
pub(super) fn take_effects(rules: &mut Vec<Rule>, request: On, is_dump: bool) -> Effects {
    let mut effects = Effects::default();
    take(rules, request, |fault| {
        if fault.is_of_dumps() && !is_dump {
            return false;
        }
        match fault {
            Fault::SendError(_) => return false,
            Fault::Errno(errno) => effects.errno = Some(*errno),
            Fault::Overrun => effects.answers.overrun = true,
            Fault::LostAnswer => effects.answers.lost = true,
            Fault::SlowCommand(time) => effects.slow_command = Some(*time),
            Fault::SlowAnswer(time) => effects.answers.delay = Some(*time),
            Fault::Before(hook) => effects.before.push(hook.clone()),
            Fault::Mangle(mangler) => effects.answers.manglers.push(mangler.clone()),
            Fault::DumpEnds(entries) => effects.dump.ends = Some(*entries),
            Fault::DumpDoubles => effects.dump.doubles = true,
            Fault::DumpInterrupted(hook) => effects.dump.interrupted.push(hook.clone()),
        }
        true
    });
    effects
}

/// Shows each rule that meets the request to `use_it`, and counts those that it used.
fn take(rules: &mut Vec<Rule>, request: On, mut use_it: impl FnMut(&Fault) -> bool) {
    rules.retain_mut(|rule| {
        let met = rule.on == request || (rule.on == On::Any && request != On::Lookup);
        if met && use_it(&rule.fault) {
            rule.left = rule.left.map(|left| left - 1);
        }
        rule.left != Some(0)
    });
}

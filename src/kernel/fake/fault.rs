//! Fault injection: errors, delays, lost replies and foreign changes.

use std::{fmt, sync::Arc, time::Duration};

use super::{kernel::FakeKernel, wire::Errno};

/// The requests to which a fault applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// All commands of the IPVS family.
    Any,
    /// One command of the IPVS family, by its number (see [`command`](super::command)).
    Command(u8),
    /// The lookup of the family by its name.
    Lookup,
}

/// The effect on a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The command fails with this positive errno and is not executed.
    Errno(i32),
    /// `send` fails with this positive errno. No message of the datagram is executed.
    SendError(i32),
    /// The command is executed, its replies are dropped, and the next `receive` fails with ENOBUFS.
    Overrun,
    /// The command is executed, and no reply arrives. The real kernel does this when a sync daemon
    /// is stopped that never ran.
    LostReply,
    /// `send` blocks for this time before the command is executed.
    SlowCommand(Duration),
    /// The replies arrive after this time. `receive` waits for them up to its timeout.
    SlowReply(Duration),
    /// Runs before the command is executed: a foreign change between a check and a write.
    Before(Hook),
    /// Rewrites each datagram of the reply.
    Rewrite(Rewrite),
    /// The dump ends after this number of entries, as if complete.
    DumpEnds(usize),
    /// The dump contains each entry twice.
    DumpDoubles,
    /// Runs between the first and the second datagram of a dump: a foreign change that the dump
    /// does not report. [`FakeKernel::set_dump_size`] makes dumps of more than one datagram.
    DumpInterrupted(Hook),
}

impl Fault {
    /// Replaces the reply with these bytes.
    pub fn garbage(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::rewrite(move |datagram| datagram.clone_from(&bytes))
    }

    /// Appends these bytes to the datagram of the reply.
    pub fn trailing(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::rewrite(move |datagram| datagram.extend_from_slice(&bytes))
    }

    /// Rewrites each datagram of the reply.
    pub fn rewrite(rewrite: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Self {
        Self::Rewrite(Rewrite(Arc::new(rewrite)))
    }

    /// A foreign change before the command is executed.
    pub fn before(change: impl Fn(&FakeKernel) + Send + Sync + 'static) -> Self {
        Self::Before(Hook(Arc::new(change)))
    }

    /// A foreign change between the first and the second datagram of a dump.
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

/// A callback with access to the kernel. No lock is held while it runs.
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

/// A function that rewrites a datagram.
#[derive(Clone)]
pub struct Rewrite(Arc<RewriteFn>);

type RewriteFn = dyn Fn(&mut Vec<u8>) + Send + Sync;

impl Rewrite {
    pub(super) fn run(&self, datagram: &mut Vec<u8>) {
        (self.0)(datagram);
    }
}

impl fmt::Debug for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rewrite")
    }
}

/// The faults of a [`FakeKernel`]. Can be changed while the kernel is in use.
#[derive(Debug)]
pub struct Faults<'a> {
    kernel: &'a FakeKernel,
}

impl<'a> Faults<'a> {
    pub(super) fn new(kernel: &'a FakeKernel) -> Self {
        Self { kernel }
    }

    /// Applies a fault to the next matching request.
    pub fn once(&self, on: On, fault: Fault) {
        self.times(1, on, fault);
    }

    /// Applies a fault to the next `times` matching requests.
    pub fn times(&self, times: u32, on: On, fault: Fault) {
        self.add(Rule {
            on,
            fault,
            left: Some(times),
        });
    }

    /// Applies a fault to all matching requests until [`clear`](Self::clear).
    pub fn always(&self, on: On, fault: Fault) {
        self.add(Rule {
            on,
            fault,
            left: None,
        });
    }

    /// Removes all faults. Does not load the module or restore the permission.
    pub fn clear(&self) {
        self.kernel.state().rules.clear();
    }

    /// Number of faults that still apply to future requests.
    pub fn pending(&self) -> usize {
        self.kernel.state().rules.len()
    }

    /// Unloads the module: name and number of the family are unknown (ENOENT), all state is lost,
    /// and the files below /proc do not exist.
    pub fn unload(&self) {
        self.kernel.state().unload();
    }

    /// Loads the module again, with an empty table and a new family number.
    pub fn load(&self) {
        self.kernel.state().load();
    }

    /// Whether callers have CAP_NET_ADMIN. Without it, every command fails with EPERM; the lookup
    /// of the family still succeeds.
    pub fn set_permitted(&self, permitted: bool) {
        self.kernel.state().permitted = permitted;
    }

    fn add(&self, rule: Rule) {
        if rule.left != Some(0) {
            self.kernel.state().rules.push(rule);
        }
    }
}

/// A fault, the requests to which it applies, and how many (`None`: unlimited).
#[derive(Debug)]
pub(super) struct Rule {
    on: On,
    fault: Fault,
    left: Option<u32>,
}

/// The combined effects of all faults on a request.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) errno: Option<Errno>,
    pub(super) slow_command: Option<Duration>,
    pub(super) before: Vec<Hook>,
    pub(super) replies: ReplyEffects,
    pub(super) dump: DumpEffects,
}

/// The effects on the replies.
#[derive(Debug, Default, Clone)]
pub(super) struct ReplyEffects {
    pub(super) overrun: bool,
    pub(super) lost: bool,
    pub(super) delay: Option<Duration>,
    pub(super) rewrites: Vec<Rewrite>,
}

/// The effects on a dump.
#[derive(Debug, Default)]
pub(super) struct DumpEffects {
    pub(super) ends: Option<usize>,
    pub(super) doubles: bool,
    pub(super) interrupted: Vec<Hook>,
}

/// Takes the send error that applies to a datagram with this request.
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

/// Takes all other effects that apply to a request.
pub(super) fn take_effects(rules: &mut Vec<Rule>, request: On, is_dump: bool) -> Effects {
    let mut effects = Effects::default();
    take(rules, request, |fault| {
        if fault.is_of_dumps() && !is_dump {
            return false;
        }
        match fault {
            Fault::SendError(_) => return false,
            Fault::Errno(errno) => effects.errno = Some(*errno),
            Fault::Overrun => effects.replies.overrun = true,
            Fault::LostReply => effects.replies.lost = true,
            Fault::SlowCommand(time) => effects.slow_command = Some(*time),
            Fault::SlowReply(time) => effects.replies.delay = Some(*time),
            Fault::Before(hook) => effects.before.push(hook.clone()),
            Fault::Rewrite(rewrite) => effects.replies.rewrites.push(rewrite.clone()),
            Fault::DumpEnds(entries) => effects.dump.ends = Some(*entries),
            Fault::DumpDoubles => effects.dump.doubles = true,
            Fault::DumpInterrupted(hook) => effects.dump.interrupted.push(hook.clone()),
        }
        true
    });
    effects
}

/// Passes the fault of each matching rule to `apply`, and counts the rules for which it returns
/// true.
fn take(rules: &mut Vec<Rule>, request: On, mut apply: impl FnMut(&Fault) -> bool) {
    rules.retain_mut(|rule| {
        let matches = rule.on == request || (rule.on == On::Any && request != On::Lookup);
        if matches && apply(&rule.fault) {
            rule.left = rule.left.map(|left| left - 1);
        }
        rule.left != Some(0)
    });
}

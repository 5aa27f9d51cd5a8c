//! Which options a command or a tunnel type requires, accepts and excludes.

use super::{
    error::{ParseError, ParseResult},
    option::{Command, Opt},
};
use crate::model::TunnelType;

/// A set of options.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OptionSet(u64);

/// The options of a command or of a tunnel type. All others are illegal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compat {
    pub required: OptionSet,
    pub optional: OptionSet,
    /// At most one of these is accepted.
    pub exclusive: OptionSet,
    /// Accepted without effect.
    pub ignored: OptionSet,
}

/// The first violation in the order of [`Opt`].
enum Violation {
    Missing(Opt),
    Illegal(Opt),
    /// The option, and the earlier one that excludes it.
    Conflict(Opt, Opt),
}

use Opt::*;

/// The options that depend on the tunnel type.
const TUNNEL: OptionSet = OptionSet::new(&[TunPort, TunNoCsum, TunCsum, TunRemCsum]);

const NO_OPTIONS: Compat = Compat {
    required: OptionSet(0),
    optional: OptionSet(0),
    exclusive: OptionSet(0),
    ignored: OptionSet(0),
};

const SET_SERVICE: Compat = NO_OPTIONS
    .require(&[Service])
    .accept(&[Scheduler, Persistent, Netmask, Ops, Engine, SchedFlags]);

const DELETE_SERVICE: Compat = NO_OPTIONS.require(&[Service]);

const SET_SERVER: Compat = NO_OPTIONS.require(&[Service, Server]).accept(&[
    Forwarding,
    Weight,
    UpperThreshold,
    LowerThreshold,
    TunType,
    TunPort,
    TunNoCsum,
    TunCsum,
    TunRemCsum,
]);

const DELETE_SERVER: Compat = NO_OPTIONS.require(&[Service, Server]);

const LIST: Compat = NO_OPTIONS
    .accept(&[
        Numeric,
        Stats,
        Rate,
        Thresholds,
        PersistentConn,
        NoSort,
        Exact,
        TunInfo,
    ])
    .accept_one_of(&[Connection, Service, Timeout, Daemon])
    .ignore(&[SyncId]);

const SAVE: Compat = NO_OPTIONS.accept(&[Numeric]);

const ZERO: Compat = NO_OPTIONS.accept(&[Service]);

const START_DAEMON: Compat = NO_OPTIONS.accept(&[
    McastInterface,
    SyncId,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxlen,
]);

const STOP_DAEMON: Compat = NO_OPTIONS.ignore(&[SyncId]);

const GUE: Compat = NO_OPTIONS
    .require(&[TunPort])
    .accept_one_of(&[TunNoCsum, TunCsum, TunRemCsum]);

const GRE: Compat = NO_OPTIONS.accept_one_of(&[TunNoCsum, TunCsum]);

// === impl OptionSet ===

impl OptionSet {
    const fn new(opts: &[Opt]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < opts.len() {
            bits |= 1 << opts[index] as u8;
            index += 1;
        }
        Self(bits)
    }

    /// Adds an option. An option that is in the set already is an error.
    pub(super) fn insert(&mut self, opt: Opt) -> ParseResult<()> {
        if self.contains(opt) {
            return Err(ParseError::Repeated(opt.name()));
        }
        self.0 |= 1 << opt as u8;
        Ok(())
    }

    pub(super) fn contains(self, opt: Opt) -> bool {
        self.0 & (1 << opt as u8) != 0
    }

    pub(super) fn contains_any(self, opts: &[Opt]) -> bool {
        self.0 & Self::new(opts).0 != 0
    }

    /// The options in the order of [`Opt`].
    pub(super) fn iter(self) -> impl Iterator<Item = Opt> {
        Opt::ALL.into_iter().filter(move |opt| self.contains(*opt))
    }

    fn first(self) -> Option<Opt> {
        Opt::ALL.get(self.0.trailing_zeros() as usize).copied()
    }

    /// Checks the options of a command line against its command.
    pub(super) fn check(self, command: Command) -> ParseResult<()> {
        match Compat::of_command(command).violation(self) {
            None => {}
            Some(Violation::Missing(opt)) => return Err(ParseError::missing(opt, command)),
            Some(Violation::Illegal(opt)) => return Err(ParseError::illegal(opt, command)),
            Some(Violation::Conflict(opt, other)) => {
                return Err(ParseError::Conflict {
                    option: opt.name(),
                    other: other.name(),
                    command: command.name(),
                });
            }
        }
        if command == Command::List {
            let counters = self.contains_any(&[Stats, Rate, Thresholds]);
            let status = self.contains_any(&[Timeout, Daemon]);
            if counters && (status || self.contains(Connection))
                || status && self.contains(PersistentConn)
            {
                return Err(ParseError::ListConflict);
            }
        }
        Ok(())
    }

    /// Checks the tunnel options of a command line against the tunnel type.
    pub(super) fn check_tunnel(self, tunnel: TunnelType) -> ParseResult<()> {
        let given = Self(self.0 & TUNNEL.0);
        Err(match Compat::of_tunnel(tunnel).violation(given) {
            None => return Ok(()),
            Some(Violation::Missing(opt)) => ParseError::TunnelMissing {
                option: opt.name(),
                tunnel,
            },
            Some(Violation::Illegal(opt)) => ParseError::TunnelIllegal {
                option: opt.name(),
                tunnel,
            },
            Some(Violation::Conflict(opt, other)) => ParseError::TunnelConflict {
                option: opt.name(),
                other: other.name(),
                tunnel,
            },
        })
    }
}

// === impl Compat ===

impl Compat {
    const fn require(self, opts: &[Opt]) -> Self {
        Self {
            required: OptionSet::new(opts),
            ..self
        }
    }

    const fn accept(self, opts: &[Opt]) -> Self {
        Self {
            optional: OptionSet::new(opts),
            ..self
        }
    }

    const fn accept_one_of(self, opts: &[Opt]) -> Self {
        Self {
            exclusive: OptionSet::new(opts),
            ..self
        }
    }

    const fn ignore(self, opts: &[Opt]) -> Self {
        Self {
            ignored: OptionSet::new(opts),
            ..self
        }
    }

    fn violation(self, given: OptionSet) -> Option<Violation> {
        let Self {
            required: OptionSet(required),
            optional: OptionSet(optional),
            exclusive: OptionSet(exclusive),
            ignored: OptionSet(ignored),
        } = self;
        let OptionSet(given) = given;
        let missing = required & !given;
        let illegal = given & !(required | optional | exclusive | ignored);
        let chosen = given & exclusive;
        // All but the first of the exclusive options.
        let conflicting = chosen & chosen.wrapping_sub(1);
        let first = OptionSet(missing | illegal | conflicting).first()?;
        let is_in = |bits| OptionSet(bits).contains(first);
        Some(match OptionSet(chosen).first() {
            _ if is_in(missing) => Violation::Missing(first),
            Some(other) if is_in(conflicting) => Violation::Conflict(first, other),
            _ => Violation::Illegal(first),
        })
    }

    /// The options of a command.
    pub(super) const fn of_command(command: Command) -> Self {
        match command {
            Command::AddService | Command::EditService => SET_SERVICE,
            Command::DeleteService => DELETE_SERVICE,
            Command::Clear | Command::Restore | Command::Set => NO_OPTIONS,
            Command::AddServer | Command::EditServer => SET_SERVER,
            Command::DeleteServer => DELETE_SERVER,
            Command::List => LIST,
            Command::Save => SAVE,
            Command::Zero => ZERO,
            Command::StartDaemon => START_DAEMON,
            Command::StopDaemon => STOP_DAEMON,
        }
    }

    const fn of_tunnel(tunnel: TunnelType) -> Self {
        match tunnel {
            TunnelType::Gue => GUE,
            TunnelType::Gre => GRE,
            _ => NO_OPTIONS,
        }
    }
}

//! Which option goes with which command, and which with which tunnel.

use super::{
    error::{Checked, Usage},
    option::{Command, Opt},
};
use crate::model::TunnelType;

/// Options, such as those that were given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given(u64);

/// Which options go with something; all others are illegal.
#[derive(Clone, Copy, Debug)]
struct Rules {
    required: Given,
    optional: Given,
    /// Of these at most one.
    one_of: Given,
}

/// What is wrong with options, told of the first that is at fault.
enum Fault {
    Missing(Opt),
    Illegal(Opt),
    /// With the one before it.
    Conflict(Opt, Opt),
}

// === impl Given ===

impl Given {
    const fn of(opts: &[Opt]) -> Self {
        let mut bits = 0;
        let mut place = 0;
        while place < opts.len() {
            bits |= 1 << opts[place] as u8;
            place += 1;
        }
        Self(bits)
    }

    /// Notes an option, which must not have been given before.
    pub(super) fn add(&mut self, opt: Opt) -> Checked<()> {
        if self.has(opt) {
            return Err(Usage::Repeated(opt.name()));
        }
        self.0 |= 1 << opt as u8;
        Ok(())
    }

    pub(super) fn has(self, opt: Opt) -> bool {
        self.0 & (1 << opt as u8) != 0
    }

    pub(super) fn has_any(self, opts: &[Opt]) -> bool {
        opts.iter().any(|opt| self.has(*opt))
    }

    /// The first in the order of faults.
    fn first(self) -> Option<Opt> {
        Opt::ALL.get(self.0.trailing_zeros() as usize).copied()
    }

    /// Holds the options against the command.
    pub(super) fn check(self, command: Command) -> Checked<()> {
        match Rules::of_command(command).fault(self) {
            None => {}
            Some(Fault::Missing(opt)) => return Err(Usage::missing(opt, command)),
            Some(Fault::Illegal(opt)) => return Err(Usage::illegal(opt, command)),
            Some(Fault::Conflict(opt, other)) => {
                return Err(Usage::Conflict {
                    option: opt.name(),
                    other: other.name(),
                    command: command.name(),
                });
            }
        }
        if command == Command::List {
            let other = [Opt::Timeout, Opt::Daemon];
            let counters = [Opt::Stats, Opt::Rate, Opt::Thresholds];
            if (self.has_any(&other) || self.has(Opt::Connection)) && self.has_any(&counters)
                || self.has_any(&other) && self.has(Opt::PersistentConn)
            {
                return Err(Usage::ListConflict);
            }
        }
        Ok(())
    }

    /// Holds the tunnel options against the tunnel.
    pub(super) fn check_tunnel(self, tunnel: TunnelType) -> Checked<()> {
        let given = Self(self.0 & TUNNEL.0);
        Err(match Rules::of_tunnel(tunnel).fault(given) {
            None => return Ok(()),
            Some(Fault::Missing(opt)) => Usage::TunnelMissing {
                option: opt.name(),
                tunnel,
            },
            Some(Fault::Illegal(opt)) => Usage::TunnelIllegal {
                option: opt.name(),
                tunnel,
            },
            Some(Fault::Conflict(opt, other)) => Usage::TunnelConflict {
                option: opt.name(),
                other: other.name(),
                tunnel,
            },
        })
    }
}

// === impl Rules ===

use Opt::*;

/// What [`Rules::of_tunnel`] is about.
const TUNNEL: Given = Given::of(&[TunPort, TunNoCsum, TunCsum, TunRemCsum]);

impl Rules {
    const fn new(required: &[Opt], optional: &[Opt], one_of: &[Opt]) -> Self {
        Self {
            required: Given::of(required),
            optional: Given::of(optional),
            one_of: Given::of(one_of),
        }
    }

    fn fault(self, given: Given) -> Option<Fault> {
        let Self {
            required: Given(required),
            optional: Given(optional),
            one_of: Given(one_of),
        } = self;
        let Given(given) = given;
        let missing = required & !given;
        let illegal = given & !(required | optional | one_of);
        let chosen = given & one_of;
        // Without the first.
        let more = chosen & chosen.wrapping_sub(1);
        let first = Given(missing | illegal | more).first()?;
        let is_in = |opts| Given(opts).has(first);
        Some(match Given(chosen).first() {
            _ if is_in(missing) => Fault::Missing(first),
            Some(other) if is_in(more) => Fault::Conflict(first, other),
            _ => Fault::Illegal(first),
        })
    }

    const fn of_command(command: Command) -> Self {
        const NOTHING: Rules = Rules::new(&[], &[], &[]);
        const SET_SERVICE: Rules = Rules::new(
            &[Service],
            &[Scheduler, Persistent, Netmask, Ops, Engine, SchedFlags],
            &[],
        );
        const DELETE_SERVICE: Rules = Rules::new(&[Service], &[], &[]);
        const SET_SERVER: Rules = Rules::new(
            &[Service, Server],
            &[
                Forwarding,
                Weight,
                UpperThreshold,
                LowerThreshold,
                TunType,
                TunPort,
                TunNoCsum,
                TunCsum,
                TunRemCsum,
            ],
            &[],
        );
        const DELETE_SERVER: Rules = Rules::new(&[Service, Server], &[], &[]);
        const LIST: Rules = Rules::new(
            &[],
            &[
                Numeric,
                Stats,
                Rate,
                Thresholds,
                PersistentConn,
                NoSort,
                // Without effect, but taken.
                SyncId,
                Exact,
                TunInfo,
            ],
            &[Connection, Service, Timeout, Daemon],
        );
        const SAVE: Rules = Rules::new(&[], &[Numeric], &[]);
        const ZERO: Rules = Rules::new(&[], &[Service], &[]);
        const START_DAEMON: Rules = Rules::new(
            &[],
            &[
                McastInterface,
                SyncId,
                McastGroup,
                McastPort,
                McastTtl,
                SyncMaxlen,
            ],
            &[],
        );
        const STOP_DAEMON: Rules = Rules::new(&[], &[SyncId], &[]);
        match command {
            Command::AddService | Command::EditService => SET_SERVICE,
            Command::DeleteService => DELETE_SERVICE,
            Command::Clear | Command::Restore | Command::Set => NOTHING,
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
        const GUE: Rules = Rules::new(&[TunPort], &[], &[TunNoCsum, TunCsum, TunRemCsum]);
        const GRE: Rules = Rules::new(&[], &[], &[TunNoCsum, TunCsum]);
        const OTHER: Rules = Rules::new(&[], &[], &[]);
        match tunnel {
            TunnelType::Gue => GUE,
            TunnelType::Gre => GRE,
            _ => OTHER,
        }
    }
}

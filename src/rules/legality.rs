//! Which option goes with which command, and which with which tunnel.

use super::{
    option::{Command, Opt},
    usage::{Checked, Usage},
};
use crate::model::TunnelType;

/// Options that were given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given(u64);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Required,
    Optional,
    /// At most one of those with this mark.
    OneOf,
    Illegal,
}

// === impl Given ===

impl Given {
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

    /// Holds the options against the command.
    pub(super) fn check(self, command: Command) -> Checked<()> {
        let mut chosen: Option<Opt> = None;
        for opt in Opt::ALL {
            match (self.has(opt), rule(command, opt)) {
                (false, Rule::Required) => return Err(Usage::missing(opt, command)),
                (true, Rule::Illegal) => return Err(Usage::illegal(opt, command)),
                (true, Rule::OneOf) => {
                    if let Some(other) = chosen {
                        return Err(Usage::Conflict {
                            option: opt.name(),
                            other: other.name(),
                            command: command.name(),
                        });
                    }
                    chosen = Some(opt);
                }
                _ => {}
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
        let mut chosen: Option<Opt> = None;
        for opt in [Opt::TunPort, Opt::TunNoCsum, Opt::TunCsum, Opt::TunRemCsum] {
            let option = opt.name();
            match (self.has(opt), tunnel_rule(tunnel, opt)) {
                (false, Rule::Required) => return Err(Usage::TunnelMissing { option, tunnel }),
                (true, Rule::Illegal) => return Err(Usage::TunnelIllegal { option, tunnel }),
                (true, Rule::OneOf) => {
                    if let Some(other) = chosen {
                        return Err(Usage::TunnelConflict {
                            option,
                            other: other.name(),
                            tunnel,
                        });
                    }
                    chosen = Some(opt);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn rule(command: Command, opt: Opt) -> Rule {
    let one = |required: &[Opt], optional: &[Opt]| {
        if required.contains(&opt) {
            Rule::Required
        } else if optional.contains(&opt) {
            Rule::Optional
        } else {
            Rule::Illegal
        }
    };
    use Opt::*;
    match command {
        Command::AddService | Command::EditService => one(
            &[Service],
            &[Scheduler, Persistent, Netmask, Ops, Engine, SchedFlags],
        ),
        Command::DeleteService => one(&[Service], &[]),
        Command::Clear | Command::Restore | Command::Set => one(&[], &[]),
        Command::AddServer | Command::EditServer => one(
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
        ),
        Command::DeleteServer => one(&[Service, Server], &[]),
        Command::List if [Connection, Service, Timeout, Daemon].contains(&opt) => Rule::OneOf,
        Command::List => one(
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
        ),
        Command::Save => one(&[], &[Numeric]),
        Command::Zero => one(&[], &[Service]),
        Command::StartDaemon => one(
            &[],
            &[
                McastInterface,
                SyncId,
                McastGroup,
                McastPort,
                McastTtl,
                SyncMaxlen,
            ],
        ),
        Command::StopDaemon => one(&[], &[SyncId]),
    }
}

fn tunnel_rule(tunnel: TunnelType, opt: Opt) -> Rule {
    match (tunnel, opt) {
        (TunnelType::Gue, Opt::TunPort) => Rule::Required,
        (TunnelType::Gue, _) | (TunnelType::Gre, Opt::TunNoCsum | Opt::TunCsum) => Rule::OneOf,
        _ => Rule::Illegal,
    }
}

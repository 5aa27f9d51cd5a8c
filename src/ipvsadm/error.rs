//! What is wrong with a command line, in ipvsadm's own words and with its exit codes.

use super::option::{Command, Opt};
use crate::model::TunnelType;

/// A faulty command line. The text has no newline at its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Usage {
    /// No command, or none that comes first. The text names the program as it was called.
    #[error("Try `{program} -h' or '{program} --help' for more information.")]
    TryHelp {
        /// `argv[0]`.
        program: String,
    },
    /// A word that is no option of ipvsadm's, or has too many or too few values.
    #[error("{word}: {fault}")]
    Word {
        /// The word of the command line.
        word: String,
        /// What is wrong with it.
        fault: WordFault,
    },
    /// A second command.
    #[error("invalid option `{0}'")]
    SecondCommand(String),
    /// An option that was given before.
    #[error("multiple '{0}' options specified")]
    Repeated(&'static str),
    /// A word that belongs to no option.
    #[error("unexpected argument {0}")]
    Unexpected(String),
    /// An option that the command needs.
    #[error("You need to supply the '{option}' option for the '{command}' command")]
    Missing {
        /// The option.
        option: &'static str,
        /// The command.
        command: &'static str,
    },
    /// An option that the command does not take.
    #[error("Illegal '{option}' option with the '{command}' command")]
    Illegal {
        /// The option.
        option: &'static str,
        /// The command.
        command: &'static str,
    },
    /// Two options that exclude each other.
    #[error("The option '{option}' conflicts with the '{other}' option in the '{command}' command")]
    Conflict {
        /// The later one.
        option: &'static str,
        /// The earlier one.
        other: &'static str,
        /// The command.
        command: &'static str,
    },
    /// As [`Self::Missing`], of a tunnel.
    #[error("You need to supply the '{option}' option for the '{tunnel}' tunnel type")]
    TunnelMissing {
        /// The option.
        option: &'static str,
        /// The tunnel.
        tunnel: TunnelType,
    },
    /// As [`Self::Illegal`], of a tunnel.
    #[error("Illegal '{option}' option with the '{tunnel}' tunnel type")]
    TunnelIllegal {
        /// The option.
        option: &'static str,
        /// The tunnel.
        tunnel: TunnelType,
    },
    /// As [`Self::Conflict`], of a tunnel.
    #[error(
        "The option '{option}' conflicts with the '{other}' option in the '{tunnel}' tunnel type"
    )]
    TunnelConflict {
        /// The later one.
        option: &'static str,
        /// The earlier one.
        other: &'static str,
        /// The tunnel.
        tunnel: TunnelType,
    },
    /// Listing modes that do not go together.
    #[error("options conflicts in the list command")]
    ListConflict,
    /// `-6` without a firewall mark before it. The original ends it with an empty line.
    #[error("-6 used before -f\n")]
    FamilyBeforeMark,
    /// `-t`, `-u`, `--sctp-service`.
    #[error("illegal virtual server address[:port] specified")]
    ServiceAddress,
    /// `-r`.
    #[error("illegal real server address[:port] specified")]
    ServerAddress,
    /// `-f`.
    #[error("invalid fwmark value `{0}' specified")]
    Fwmark(String),
    /// `-p`, `--set`.
    #[error("invalid timeout value `{0}' specified")]
    Timeout(String),
    /// `--set` with fewer than three words.
    #[error("--set option requires 3 timeout values")]
    ThreeTimeouts,
    /// `-M` of IPv4.
    #[error("illegal virtual server persistent mask specified")]
    Netmask,
    /// `-M` of IPv6.
    #[error("illegal ipv6 netmask specified")]
    Prefix,
    /// A number that is none or out of range.
    #[error("illegal {0} specified")]
    Number(&'static str),
    /// `--mcast-group`.
    #[error("invalid {family} mcast-group `{group}'")]
    Group {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// What was given.
        group: String,
    },
    /// `--tun-type`.
    #[error("illegal tunnel type specified")]
    TunnelType,
    /// `--start-daemon`.
    #[error("illegal start-daemon parameter specified")]
    StartDaemon,
    /// `--stop-daemon`.
    #[error("illegal start_daemon specified")]
    StopDaemon,
    /// `-b` with a name that is no flag.
    #[error("invalid scheduler flag `{0}'")]
    SchedFlag(String),
    /// `-b` with a flag of another scheduler.
    #[error("incompatible scheduler flag `{0}'")]
    ForeignFlag(String),
    /// A service for any port that is not persistent.
    #[error("Zero port specified for non-persistent service")]
    ZeroPort,
    /// `-o` of a service that is not UDP.
    #[error("One-Packet Scheduling is only for UDP virtual services")]
    OnePacket,
    /// A server of the other family without a tunnel.
    #[error("Different address family is allowed only for tunneling servers")]
    Family,
    /// Tunnel options without a tunnel.
    #[error("Tunnel options conflict with forward method")]
    TunnelForwarding,
}

/// What is wrong with a word, in popt's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordFault {
    /// It is no option.
    #[error("unknown option")]
    Unknown,
    /// Its value is missing.
    #[error("missing argument")]
    NoValue,
    /// It takes no value.
    #[error("option does not take an argument")]
    NoValueTaken,
}

/// The result of looking at a command line.
pub type Checked<T> = Result<T, Usage>;

// === impl Usage ===

impl Usage {
    /// The exit code that goes with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::TryHelp { .. } | Self::Word { .. } => 255,
            _ => 2,
        }
    }

    /// Whether `-R` goes on after a line with this fault: the original's parser returns after a
    /// bad word, but ends the process after anything else.
    pub fn lets_restore_go_on(&self) -> bool {
        matches!(self, Self::Word { .. })
    }

    pub(super) fn missing(option: Opt, command: Command) -> Self {
        Self::Missing {
            option: option.name(),
            command: command.name(),
        }
    }

    pub(super) fn illegal(option: Opt, command: Command) -> Self {
        Self::Illegal {
            option: option.name(),
            command: command.name(),
        }
    }
}

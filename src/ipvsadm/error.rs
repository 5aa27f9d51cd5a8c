//! Errors of a command line, with the messages and exit codes of ipvsadm.

use super::option::{Command, Opt};
use crate::model::TunnelType;

/// An invalid command line. Displays as ipvsadm's message, without a trailing newline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The first option is not a command. The message names the program as it was called.
    #[error("Try `{program} -h' or '{program} --help' for more information.")]
    TryHelp {
        /// `argv[0]`.
        program: String,
    },
    /// An unknown option, or one with a missing or an unexpected value.
    #[error("{word}: {error}")]
    Option {
        /// The word of the command line.
        word: String,
        /// popt's error.
        error: OptionError,
    },
    /// A second command.
    #[error("invalid option `{0}'")]
    SecondCommand(String),
    /// An option that is given twice.
    #[error("multiple '{0}' options specified")]
    Repeated(&'static str),
    /// A word that is neither an option nor a value of one.
    #[error("unexpected argument {0}")]
    UnexpectedArgument(String),
    /// The command requires an option that is not given.
    #[error("You need to supply the '{option}' option for the '{command}' command")]
    Missing {
        /// The option.
        option: &'static str,
        /// The command.
        command: &'static str,
    },
    /// The command does not accept the option.
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
    /// The tunnel type requires an option that is not given.
    #[error("You need to supply the '{option}' option for the '{tunnel}' tunnel type")]
    TunnelMissing {
        /// The option.
        option: &'static str,
        /// The tunnel type.
        tunnel: TunnelType,
    },
    /// The tunnel type does not accept the option.
    #[error("Illegal '{option}' option with the '{tunnel}' tunnel type")]
    TunnelIllegal {
        /// The option.
        option: &'static str,
        /// The tunnel type.
        tunnel: TunnelType,
    },
    /// Two options of a tunnel that exclude each other.
    #[error(
        "The option '{option}' conflicts with the '{other}' option in the '{tunnel}' tunnel type"
    )]
    TunnelConflict {
        /// The later one.
        option: &'static str,
        /// The earlier one.
        other: &'static str,
        /// The tunnel type.
        tunnel: TunnelType,
    },
    /// Listing modes that exclude each other.
    #[error("options conflicts in the list command")]
    ListConflict,
    /// `-6` without a preceding `-f`. ipvsadm prints an empty line after the message.
    #[error("-6 used before -f\n")]
    FamilyBeforeMark,
    /// Invalid value of `-t`, `-u` or `--sctp-service`.
    #[error("illegal virtual server address[:port] specified")]
    ServiceAddress,
    /// Invalid value of `-r`.
    #[error("illegal real server address[:port] specified")]
    ServerAddress,
    /// Invalid value of `-f`.
    #[error("invalid fwmark value `{0}' specified")]
    Fwmark(String),
    /// Invalid timeout of `-p` or `--set`.
    #[error("invalid timeout value `{0}' specified")]
    Timeout(String),
    /// `--set` with fewer than three words.
    #[error("--set option requires 3 timeout values")]
    ThreeTimeouts,
    /// Invalid IPv4 mask of `-M`.
    #[error("illegal virtual server persistent mask specified")]
    Netmask,
    /// Invalid IPv6 prefix length of `-M`.
    #[error("illegal ipv6 netmask specified")]
    Prefix,
    /// A value that is not a number, or is out of range.
    #[error("illegal {0} specified")]
    Number(&'static str),
    /// Invalid value of `--mcast-group`.
    #[error("invalid {family} mcast-group `{group}'")]
    McastGroup {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The value.
        group: String,
    },
    /// Invalid value of `--tun-type`.
    #[error("illegal tunnel type specified")]
    TunnelType,
    /// Invalid value of `--start-daemon`.
    #[error("illegal start-daemon parameter specified")]
    StartDaemon,
    /// Invalid value of `--stop-daemon`.
    #[error("illegal start_daemon specified")]
    StopDaemon,
    /// Unknown flag in `-b`.
    #[error("invalid scheduler flag `{0}'")]
    SchedFlag(String),
    /// Flag in `-b` that belongs to another scheduler.
    #[error("incompatible scheduler flag `{0}'")]
    IncompatibleFlag(String),
    /// Port 0 for a service that is not persistent.
    #[error("Zero port specified for non-persistent service")]
    ZeroPort,
    /// `-o` for a service that is not UDP.
    #[error("One-Packet Scheduling is only for UDP virtual services")]
    OnePacket,
    /// A server of the other address family whose forwarding method is not tunneling.
    #[error("Different address family is allowed only for tunneling servers")]
    AddressFamily,
    /// Tunnel options with another forwarding method.
    #[error("Tunnel options conflict with forward method")]
    TunnelForwarding,
}

/// popt's error for an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// The option does not exist.
    #[error("unknown option")]
    Unknown,
    /// The option requires a value.
    #[error("missing argument")]
    MissingValue,
    /// The option takes no value.
    #[error("option does not take an argument")]
    UnexpectedValue,
}

/// Result of parsing a command line.
pub type ParseResult<T> = Result<T, ParseError>;

// === impl ParseError ===

impl ParseError {
    /// ipvsadm's exit code for this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::TryHelp { .. } | Self::Option { .. } => 255,
            _ => 2,
        }
    }

    /// Whether `ipvsadm -R` continues after a line with this error. Its parser returns on popt's
    /// errors and exits on all others.
    pub fn continues_restore(&self) -> bool {
        matches!(self, Self::Option { .. })
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

//! Grammar of the subcommands.

use std::path::PathBuf;

use clap::{
    Arg, ArgAction, ArgMatches, Command, FromArgMatches, Subcommand as _, ValueEnum, ValueHint,
    builder::{PossibleValuesParser, RangedU64ValueParser},
};
use jiff::Timestamp;

use super::{
    document::Input,
    error::CliError,
    health_args::{ForceArgs, ReportArgs},
    hold_args::{DrainArgs, Ended, RampArgs},
    options::{GLOBAL_OPTIONS, GlobalOption, Options},
    reference::summary,
    table_args::{
        ApplyArgs, BatchArgs, ConvertArgs, DiffArgs, ExportArgs, TablesArgs, TablesCommand,
    },
    times,
};
use crate::{
    ipvsadm::ExtraValue,
    model::{HoldId, ServiceKey, is_hidden},
};

/// A command line with a subcommand.
#[derive(Debug)]
pub(super) struct Args {
    pub options: Options,
    pub subcommand: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommand {
    /// Show all commands and options, with examples, or one of them
    Help {
        /// Subcommand, command or option, such as restore, -A or scheduler
        #[arg(allow_hyphen_values = true)]
        word: Option<String>,
    },
    /// Show the version of ipvsctl, and those of the director if it can be reached
    Version,
    /// Show daemon and kernel information
    Info,
    /// Check that the director runs; exit code 0: it does, 1: it does not. No credential is needed
    Probe {
        /// Check that the director can change its kernel, too
        #[arg(long)]
        ready: bool,
    },
    /// Show or change the kernel's IPVS settings
    Settings {
        /// Setting to show, or NAME=VALUE to set; a pair is written as 3,50 [default: show all]
        #[arg(value_name = "NAME[=VALUE]")]
        settings: Vec<String>,
    },
    /// List or count connections
    Connections(ConnectionArgs),
    /// Print changes of services and servers as they happen, until interrupted
    Watch(WatchArgs),
    /// Show services and servers with their rates in the terminal, and drain servers with keys
    Top(TopArgs),
    /// Dump the table as ipvsadm commands, preserving server order
    Save {
        /// Include timeouts, sync daemons and settings; as JSON, or YAML with --output yaml
        #[arg(long)]
        full: bool,
    },
    /// Make the table equal to the output of save, by difference; the whole input is checked first
    Restore(RestoreArgs),
    /// Make the services of an owner what a file declares; exit code 0: done, 1: failed
    Apply(ApplyArgs),
    /// Show what an apply would change, or the drift of a declared table; exit code 2: something
    Diff(DiffArgs),
    /// Execute the operations of a file together, and undo them if one fails
    Batch(BatchArgs),
    /// List the declared tables, or show or delete one
    Tables(TablesArgs),
    /// Print the running services with their servers as a file that apply accepts
    Export(ExportArgs),
    /// Print ipvsadm-save's output or a keepalived.conf as a file that apply accepts; sends nothing
    Convert(ConvertArgs),
    /// Print the JSON Schema of the file that apply accepts, for editors
    Schema,
    /// Give servers no new connections, and wait until they have none; exit code 4: deadline
    Drain(DrainArgs),
    /// End drains: the servers get their weights again
    Undrain {
        /// Address or id of a server, or id of a drain
        #[arg(value_name = "SERVER|ID")]
        drain: Ended,
    },
    /// List the drains with their connections; those that have ended are kept for a day
    Drains(KeptArgs),
    /// Change the weight of a server in steps, and wait until it is reached
    Ramp(RampArgs),
    /// End a ramp: the server gets its last weight at once
    Unramp {
        /// Id of the ramp
        id: HoldId,
    },
    /// List the ramps; those that have ended are kept for a day
    Ramps(KeptArgs),
    /// Show the health of the servers of services that have a health check
    Health(HealthArgs),
    /// Force a server that is checked up or down, or let its checks decide
    Force(ForceArgs),
    /// Report the health of a server of a service whose health check has the type external
    ReportHealth(ReportArgs),
    /// List configured directors and their status
    Directors,
    /// Show as whom the director recognises this user: name, kind of credential, role and scope
    Whoami,
    /// Ask the director whether this user may do something; exit code 0 for yes, 1 for no
    CanI {
        /// Operation, such as update_weight, create_service or read_audit
        verb: String,
        /// Id of a service, such as tcp-192.0.2.1-80 [default: all]
        service: Option<String>,
    },
    /// List the audit records of the director, the newest first, for administrators
    Audit(AuditArgs),
    /// Make bearer tokens for the policy of a director; sends nothing
    #[command(subcommand, disable_help_subcommand = true)]
    Token(TokenCommand),
    /// Print a shell completion script
    Completion {
        /// Shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct AuditArgs {
    /// Only records from this time: RFC 3339, or a time ago such as 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = times::past)]
    pub since: Option<Timestamp>,
    /// Only records before this time: RFC 3339, or a time ago such as 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = times::past)]
    pub until: Option<Timestamp>,
    /// Only records of the principal with this name
    #[arg(long, value_name = "NAME")]
    pub principal: Option<String>,
    /// Only records of the service with this id
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<String>,
    /// Limit results to the newest
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub limit: usize,
}

#[derive(clap::Subcommand, Clone, Debug)]
pub(super) enum TokenCommand {
    /// Print a new token, and to standard error its entry for the policy of the director
    Create {
        /// Name of the principal in the policy and in the audit, 1 to 253 bytes
        #[arg(long, value_parser = name)]
        name: String,
        /// What the principal may do
        #[arg(long)]
        role: Role,
        /// When the token ceases to be valid: RFC 3339, or from now such as 90d [default: never]
        #[arg(long, value_name = "TIME", value_parser = times::future)]
        expires: Option<Timestamp>,
    },
    /// Print the SHA-256 of the token on standard input, as the policy of the director has it
    Hash,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Role {
    Viewer,
    Operator,
    Editor,
    Admin,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ConnectionArgs {
    /// Filter by protocol: tcp, udp, sctp, icmp, icmpv6, ip
    #[arg(long)]
    pub protocol: Option<String>,
    /// Filter by client: ADDRESS or ADDRESS:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<String>,
    /// Filter by virtual address, with or without port
    #[arg(long, value_name = "ADDRESS")]
    pub r#virtual: Option<String>,
    /// Only the persistence templates of this firewall mark
    #[arg(long, value_name = "MARK")]
    pub fwmark: Option<u32>,
    /// Filter by real server, with or without port
    #[arg(long, value_name = "ADDRESS")]
    pub destination: Option<String>,
    /// Filter by state, such as ESTABLISHED
    #[arg(long)]
    pub state: Option<String>,
    /// Only persistence templates (true) or no templates (false)
    #[arg(long)]
    pub templates: Option<bool>,
    /// Limit results, 1 to 10000000 [default: all]
    #[arg(long, value_name = "NUMBER", conflicts_with = "count_by")]
    pub limit: Option<u64>,
    /// Count connections grouped by FIELD
    #[arg(long, value_name = "FIELD")]
    pub count_by: Option<CountBy>,
}

#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct TopArgs {
    /// Seconds from one update to the next, 2 to 60
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(2..=60))]
    pub interval: u32,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct WatchArgs {
    /// Print the table first
    #[arg(long, conflicts_with = "from_revision")]
    pub initial: bool,
    /// Begin after the revision of a list or of an event [default: now]
    #[arg(long, value_name = "REVISION")]
    pub from_revision: Option<String>,
    /// service, server, drain, ramp, table, health, separated by commas [default: service,server]
    #[arg(long, value_name = "KINDS")]
    pub resources: Option<String>,
    /// Only services with this protocol: tcp, udp or sctp
    #[arg(long)]
    pub protocol: Option<String>,
    /// Only services with this virtual address
    #[arg(long)]
    pub address: Option<String>,
    /// Only services with this port
    #[arg(long)]
    pub port: Option<u16>,
    /// Only services with this firewall mark
    #[arg(long, value_name = "MARK")]
    pub fwmark: Option<u32>,
    /// Only services with this scheduler
    #[arg(long)]
    pub scheduler: Option<String>,
    #[command(flatten)]
    pub kept: KeptArgs,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct HealthArgs {
    /// Id of a service, such as tcp-192.0.2.1-80 [default: all that are checked]
    #[arg(conflicts_with_all = ["owner", "label"])]
    pub service: Option<ServiceKey>,
    #[command(flatten)]
    pub kept: KeptArgs,
}

/// Selects services by what the daemon keeps about them.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct KeptArgs {
    /// Only of services that the table of this owner declares; _unmanaged: those of no table
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// Only of services with these labels, such as team=web,env!=dev,tier,!old; can be repeated, all must hold
    #[arg(long, value_name = "TERMS")]
    pub label: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum CountBy {
    Protocol,
    Client,
    Virtual,
    Destination,
    State,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct RestoreArgs {
    /// Input file [default: standard input]
    pub file: Option<PathBuf>,
    /// Format of the input [default: by its first line]
    #[arg(long, value_name = "FORMAT")]
    pub input: Option<Input>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Clear the table and create everything, in the saved order of servers
    #[arg(long, conflicts_with = "no_clear")]
    pub clear: bool,
    /// Execute the commands on the existing table
    #[arg(long)]
    pub no_clear: bool,
    /// Stop at the first command that the kernel rejects
    #[arg(long)]
    pub stop: bool,
}

/// Maximum length of the name of a principal in bytes, that of a DNS name.
const MAX_NAME: usize = 253;

/// Whether the command line has a subcommand: its first word, apart from global options, is one.
pub(super) fn is_subcommand(words: &[String]) -> bool {
    subcommand(words).is_some()
}

/// Whether a failure of a command line has the exit code 1: 2 means that something would change or, for the
/// supervisor of a container (Docker), nothing.
pub(super) fn fails_with_one(words: &[String]) -> bool {
    matches!(
        subcommand(words),
        Some("apply" | "batch" | "diff" | "probe")
    )
}

/// The subcommand of a command line: its first word, apart from global options.
fn subcommand(words: &[String]) -> Option<&str> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(long) = word.strip_prefix("--") else {
            return Some(word.as_str()).filter(|word| Subcommand::has_subcommand(word));
        };
        let (name, has_value) = match long.split_once('=') {
            Some((name, _)) => (name, true),
            None => (long, false),
        };
        let option = GLOBAL_OPTIONS
            .iter()
            .find(|option| option.syntax.long == name);
        match option {
            None => return None,
            Some(option) if option.syntax.value == ExtraValue::Required && !has_value => {
                words.next();
            }
            Some(_) => {}
        }
    }
    None
}

/// The grammar of the subcommands and global options.
pub(super) fn grammar() -> Command {
    let command = Command::new("ipvsctl")
        .about("Administer IPVS on remote directors with ipvsadm's commands and more")
        .after_help("For ipvsadm's commands (-A, -L, ...), see `ipvsctl help`.")
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(GLOBAL_OPTIONS.iter().map(GlobalOption::arg));
    Subcommand::augment_subcommands(command)
}

// === impl Args ===

impl Args {
    /// Parses the words that follow the program's name.
    pub(super) fn parse(words: &[String]) -> Result<Self, CliError> {
        let program = ["ipvsctl".to_owned()];
        let matches = grammar().try_get_matches_from(program.iter().chain(words))?;
        let mut options = Options::default();
        for option in &GLOBAL_OPTIONS {
            if let Some(value) = option.value(&matches) {
                option.set(&mut options, value)?;
            }
        }
        Ok(Self {
            options,
            subcommand: Subcommand::from_arg_matches(&matches)?,
        })
    }
}

// === impl Subcommand ===

impl Subcommand {
    /// Whether it reads from directors and prints what it has read.
    pub(super) fn is_read(&self) -> bool {
        match self {
            Self::Info
            | Self::Probe { .. }
            | Self::Settings { .. }
            | Self::Connections(_)
            | Self::Save { .. }
            | Self::Export(_)
            | Self::Drains(_)
            | Self::Ramps(_)
            | Self::Health(_)
            | Self::Whoami
            | Self::CanI { .. }
            | Self::Audit(_) => true,
            Self::Tables(args) => args.command.as_ref().is_none_or(TablesCommand::is_read),
            _ => false,
        }
    }
}

// === impl GlobalOption ===

impl GlobalOption {
    fn arg(&self) -> Arg {
        let long = self.syntax.long;
        let arg = Arg::new(long)
            .long(long)
            .help(summary(self.help))
            .long_help(self.help)
            .help_heading("Global options")
            .global(true);
        if self.syntax.value == ExtraValue::None {
            return arg.action(ArgAction::SetTrue);
        }
        let arg = arg.value_name(self.placeholder).action(ArgAction::Set);
        let arg = match self.placeholder {
            "FILE" => arg.value_hint(ValueHint::FilePath),
            _ => arg,
        };
        let arg = match self.syntax.value {
            ExtraValue::Optional => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value(self.default_value),
            _ => arg,
        };
        match self.values {
            [] => arg,
            values => arg.value_parser(PossibleValuesParser::new(values)),
        }
    }

    /// The value on the command line; empty for an option without value.
    fn value(&self, matches: &ArgMatches) -> Option<String> {
        let long = self.syntax.long;
        match self.syntax.value {
            ExtraValue::None => matches.get_flag(long).then(String::new),
            _ => matches.get_one::<String>(long).cloned(),
        }
    }
}

/// The name of a principal, as the policy accepts it.
fn name(text: &str) -> Result<String, String> {
    let is_name = (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(is_hidden);
    match is_name {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "expected 1 to {MAX_NAME} bytes, without characters that are not shown"
        )),
    }
}

// === impl Role ===

impl Role {
    /// The name in the policy.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

// === impl CountBy ===

impl CountBy {
    /// The name in the API.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Client => "client",
            Self::Virtual => "virtual",
            Self::Destination => "destination",
            Self::State => "state",
        }
    }
}

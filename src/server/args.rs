//! The command line of `ipvsd`.

use std::{env, path::PathBuf};

use clap::{Args, Parser, ValueEnum};

use super::{address::ListenAddress, reference::signals, tls::CertOptions};
use crate::version::LONG;

/// The environment variable of the option `--config`.
pub(super) const CONFIG_VARIABLE: &str = "IPVSD_CONFIG";

/// Serve Linux IPVS, the kernel's layer-4 load balancer, over HTTP and gRPC.
///
/// Settings are taken from the command line, IPVSD_* environment variables, the configuration file
/// and the defaults, in this order of precedence. Every key of the file has a variable:
/// limits.max_body_bytes is IPVSD_LIMITS_MAX_BODY_BYTES.
#[derive(Clone, Debug, Parser)]
#[command(name = "ipvsd", version = LONG.as_str(), args_conflicts_with_subcommands = true, after_help = signals())]
pub struct Arguments {
    /// Options of the daemon.
    #[command(flatten)]
    pub options: ServeOptions,
    /// An action other than serving.
    #[command(subcommand)]
    pub subcommand: Option<Subcommand>,
}

/// Options of the daemon.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeOptions {
    /// Configuration file (TOML), of at most 1 MiB. Without this option, no file is read. [env:
    /// IPVSD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Listen address: 127.0.0.1:4787, `[::1]:4787`, tls:0.0.0.0:4788 or unix:/path; may be
    /// repeated. Port 0 selects a free port. [env: IPVSD_LISTEN, separated by commas] [default:
    /// unix:/run/ipvsd/ipvsd.sock and 127.0.0.1:4787; with --dev 127.0.0.1:4787]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// Network namespace to manage (ip netns list). [env: IPVSD_NETNS] [default: the daemon's own]
    #[arg(long, value_name = "NAME")]
    pub netns: Option<String>,
    /// Kernel to manage; fake is an in-memory simulator that needs no privileges. [env:
    /// IPVSD_KERNEL] [default: netlink]
    #[arg(long, value_name = "KERNEL", value_parser = ["netlink", "fake"])]
    pub kernel: Option<String>,
    /// Directory of the stored state, or memory. [env: IPVSD_STATE_DIR] [default: /var/lib/ipvsd; with --dev
    /// or --kernel fake memory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// Policy file (TOML): which credentials are valid, and what they permit. [env: IPVSD_POLICY]
    /// [default: root, the daemon's user and the group ipvsd may do everything, on unix sockets]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// For development: permit everything WITHOUT a credential, on this machine only. [env: IPVSD_DEV]
    #[arg(long)]
    pub dev: bool,
    /// Allow TCP listeners without encryption on other addresses than loopback; without a policy,
    /// anyone who can connect has full control. [env: IPVSD_INSECURE]
    #[arg(long)]
    pub insecure: bool,
    /// Log format. [env: IPVSD_LOG_FORMAT] [default: journal if standard error is the journal, else text]
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json", "journal"])]
    pub log_format: Option<String>,
    /// Check the configuration, print it with all defaults, and exit.
    #[arg(long)]
    pub check_config: bool,
    /// The addresses of sockets that the service manager has opened.
    #[arg(skip)]
    pub sockets: Vec<ListenAddress>,
}

/// An action other than serving.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Subcommand {
    /// Print the OpenAPI document of the HTTP API.
    Openapi {
        /// Format of the document.
        #[arg(long, value_enum, default_value = "json")]
        format: OpenapiFormat,
    },
    /// Make a certificate and its key for a lab.
    Cert(CertOptions),
    /// Check the stored state, print it as text, or make it from that text.
    State(StateOptions),
    /// Print a manual page.
    Man {
        /// The page.
        #[arg(value_enum, default_value = "ipvsd")]
        page: ManualPage,
    },
    /// Print the script by which a shell completes command lines of ipvsd.
    Completion {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// A manual page that `ipvsd man` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ManualPage {
    /// The daemon, ipvsd(8).
    Ipvsd,
    /// Its configuration file, ipvsd.toml(5).
    #[value(name = "ipvsd.toml")]
    Configuration,
    /// Its policy file, ipvsd-policy.toml(5).
    #[value(name = "ipvsd-policy.toml")]
    Policy,
}

/// A shell that completes command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// Options of `ipvsd state`.
#[derive(Args, Clone, Debug)]
pub struct StateOptions {
    /// Directory of the stored state. [default: state_dir of the configuration, /var/lib/ipvsd]
    #[arg(
        id = "directory",
        long = "state-dir",
        value_name = "DIR",
        global = true
    )]
    pub directory: Option<PathBuf>,
    /// Configuration file, for its state_dir. [env: IPVSD_CONFIG]
    #[arg(
        id = "state_config",
        long = "config",
        value_name = "FILE",
        global = true,
        conflicts_with = "directory"
    )]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub action: StateAction,
}

/// What to do with the stored state. The daemon must not run.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum StateAction {
    /// Verify the whole file, and print its format, its size and its collections. The file is not changed.
    Check,
    /// Print all records as text: a JSON object a line. The file is not changed.
    Export,
    /// Make the stored state of a directory that has none from the text of an export.
    Import {
        /// The text; - for standard input.
        #[arg(default_value = "-")]
        file: PathBuf,
    },
}

/// Format of the OpenAPI document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OpenapiFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl ServeOptions {
    /// The configuration file. An empty variable counts as unset, like those of the keys.
    pub fn config_file(&self) -> Option<PathBuf> {
        let variable = || env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty());
        self.config
            .clone()
            .or_else(|| variable().map(PathBuf::from))
    }

    /// Key, flag and value of every setting given on the command line.
    pub fn settings(&self) -> Vec<(&'static str, &'static str, String)> {
        let listen = (!self.listen.is_empty()).then(|| self.listen.join(","));
        let flag = |is_set: bool| is_set.then(|| "true".to_owned());
        let policy = self.policy.as_deref();
        let policy = policy.map(|path| path.to_string_lossy().into_owned());
        [
            ("listen", "--listen", listen),
            ("netns", "--netns", self.netns.clone()),
            ("kernel", "--kernel", self.kernel.clone()),
            ("state_dir", "--state-dir", self.state_dir.clone()),
            ("policy", "--policy", policy),
            ("dev", "--dev", flag(self.dev)),
            ("insecure", "--insecure", flag(self.insecure)),
            ("log.format", "--log-format", self.log_format.clone()),
        ]
        .into_iter()
        .filter_map(|(key, flag, value)| Some((key, flag, value?)))
        .collect()
    }
}

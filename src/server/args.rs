//! The command line of `ipvsd`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Serves Linux IPVS, the kernel's layer-4 load balancer, over HTTP and gRPC.
///
/// Settings come from the command line, IPVSD_* environment variables, the configuration file and
/// the defaults, in that order. Every key of the file has its variable: limits.max_body_bytes is
/// IPVSD_LIMITS_MAX_BODY_BYTES.
#[derive(Clone, Debug, Parser)]
#[command(name = "ipvsd", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// How to serve.
    #[command(flatten)]
    pub options: Options,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// How to serve.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Configuration file (TOML). Without it, no file is read.
    #[arg(long, value_name = "FILE", env = "IPVSD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where to listen: 127.0.0.1:4787, `[::1]:4787` or unix:/path; may be repeated. Port 0 takes a
    /// free one. [env: IPVSD_LISTEN, separated by commas] [default: 127.0.0.1:4787]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// Network namespace to manage (ip netns list). [env: IPVSD_NETNS] [default: the daemon's own]
    #[arg(long, value_name = "NAME")]
    pub netns: Option<String>,
    /// Kernel to talk to; fake is an imitation in memory that needs no root. [env: IPVSD_KERNEL]
    /// [default: netlink]
    #[arg(long, value_name = "KERNEL", value_parser = ["netlink", "fake"])]
    pub kernel: Option<String>,
    /// Allow listeners beyond loopback, though anyone who reaches them is obeyed. [env:
    /// IPVSD_INSECURE]
    #[arg(long)]
    pub insecure: bool,
    /// Shape of the log on standard error. [env: IPVSD_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"])]
    pub log_format: Option<String>,
    /// Check the configuration, print it complete with defaults, and exit.
    #[arg(long)]
    pub check_config: bool,
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Print the OpenAPI document of the HTTP interface.
    Openapi {
        /// Language of the document.
        #[arg(long, value_enum, default_value = "json")]
        format: OpenapiFormat,
    },
}

/// Language of the OpenAPI document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OpenapiFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Options {
    /// Key, flag and value of every setting on the command line.
    pub fn settings(&self) -> Vec<(&'static str, &'static str, String)> {
        let listen = (!self.listen.is_empty()).then(|| self.listen.join(","));
        let insecure = self.insecure.then(|| "true".to_owned());
        [
            ("listen", "--listen", listen),
            ("netns", "--netns", self.netns.clone()),
            ("kernel", "--kernel", self.kernel.clone()),
            ("insecure", "--insecure", insecure),
            ("log.format", "--log-format", self.log_format.clone()),
        ]
        .into_iter()
        .filter_map(|(key, flag, value)| Some((key, flag, value?)))
        .collect()
    }
}

//! Arguments of the subcommands of declared tables and of batches.

use std::path::PathBuf;

use clap::{
    ValueEnum, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
};

use crate::{
    client::EntityTag,
    model::{Adopt, Deletions, OnFailure, Owner, Reconcile, Removal},
};

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ApplyArgs {
    /// YAML or JSON, - for standard input, or a directory with *.json, *.yaml and *.yml
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub file: PathBuf,
    /// Owner of the services [default: owner in the file]
    #[arg(long, value_name = "NAME")]
    pub owner: Option<Owner>,
    /// Show what would change, and change nothing; exit code 2 if something would
    #[arg(long)]
    pub dry_run: bool,
    /// When an operation fails: undo the others, execute no further ones, or execute the others
    #[arg(long, value_name = "WHAT", default_value = "rollback", value_parser = words(&OnFailure::WORDS))]
    pub on_failure: OnFailure,
    /// Refuse to execute other operations than those of this plan, such as p-0123456789abcdef
    #[arg(long, value_name = "PLAN")]
    pub expect_plan: Option<String>,
    #[command(flatten)]
    pub limits: Limits,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct BatchArgs {
    /// YAML or JSON, - for standard input
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Show what would change, and change nothing; exit code 2 if something would
    #[arg(long)]
    pub dry_run: bool,
    /// When an operation fails: undo the others, execute no further ones, or execute the others [default:
    /// on_failure in the file, otherwise rollback]
    #[arg(long, value_name = "WHAT", value_parser = words(&OnFailure::WORDS))]
    pub on_failure: Option<OnFailure>,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct DiffArgs {
    /// As of apply [default: the declared table]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub file: Option<PathBuf>,
    /// Owner of the services [default: owner in the file]
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    pub owner: Option<Owner>,
    #[command(flatten)]
    pub limits: Limits,
}

/// What an apply may do.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Limits {
    /// Limit of deleted services, and of deleted servers: a number, or a part of those there are
    #[arg(long, value_name = "N|N%", default_value = "30%", requires = "file")]
    pub max_deletes: Deletions,
    /// Services to take over: none, those of no table, or those of other owners too
    #[arg(long, value_name = "WHICH", default_value = "none", value_parser = words(&Adopt::WORDS))]
    #[arg(requires = "file")]
    pub adopt: Adopt,
    /// Keep the weights of servers that exist
    #[arg(long, requires = "file")]
    pub keep_weights: bool,
}

#[derive(clap::Args, Clone, Debug)]
#[command(disable_help_subcommand = true)]
pub(super) struct TablesArgs {
    #[command(subcommand)]
    pub command: Option<TablesCommand>,
}

#[derive(clap::Subcommand, Clone, Debug)]
pub(super) enum TablesCommand {
    /// Print a declared table with its state, as a file that apply accepts
    Show {
        /// Owner of the table; _unmanaged for the services that no table declares
        #[arg(value_parser = Owner::of_read)]
        owner: Owner,
    },
    /// Print all operations of the last apply of a table, or of the one in progress
    Operations {
        /// Owner of the table
        owner: Owner,
    },
    /// Change how a declared table is kept
    Set(SetTableArgs),
    /// Delete a declared table, and its services in the kernel
    Delete(DeleteTableArgs),
}

impl TablesCommand {
    /// Whether it reads, and changes nothing.
    pub(super) fn is_read(&self) -> bool {
        matches!(self, Self::Show { .. } | Self::Operations { .. })
    }
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct SetTableArgs {
    /// Owner of the table
    pub owner: Owner,
    /// If the kernel has something else than is declared: do nothing, log it, or repair it
    #[arg(long, value_name = "WHAT", value_parser = words(&Reconcile::WORDS))]
    pub reconcile: Option<Reconcile>,
    /// Whether servers that exist keep their weight
    #[arg(long, value_name = "BOOL")]
    pub keep_weights: Option<bool>,
    /// What becomes of servers that are not declared any more: deleted at once, or when they have no connections
    #[arg(long, value_name = "HOW", value_parser = words(&Removal::WORDS))]
    pub removal: Option<Removal>,
    /// Until when servers that drain have to be deleted
    #[arg(long, value_name = "SECONDS")]
    pub drain_deadline: Option<u32>,
    /// etag of the table, as tables show prints it
    #[arg(long, value_name = "ETAG")]
    pub if_match: Option<EntityTag>,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct DeleteTableArgs {
    /// Owner of the table
    pub owner: Owner,
    /// Number of services that the table declares
    #[arg(long, value_name = "NUMBER", conflicts_with = "if_match")]
    #[arg(required_unless_present = "if_match")]
    pub confirm: Option<u64>,
    /// What becomes of the servers: deleted at once, or when they have no connections [default: removal in the
    /// table]
    #[arg(long, value_name = "HOW", value_parser = words(&Removal::WORDS))]
    pub removal: Option<Removal>,
    /// etag of the table, as tables show prints it
    #[arg(long, value_name = "ETAG")]
    pub if_match: Option<EntityTag>,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ExportArgs {
    /// Only the services that the table of this owner declares; _unmanaged: those of no table [default: all
    /// services]
    #[arg(long, value_name = "NAME", value_parser = Owner::of_read)]
    pub owner: Option<Owner>,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ConvertArgs {
    /// Output of ipvsadm-save, or a keepalived.conf; - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Format of the file [default: by its first line]
    #[arg(long, value_name = "FORMAT")]
    pub from: Option<Format>,
    /// Owner of the services, to be in the table [default: none]
    #[arg(long, value_name = "NAME")]
    pub owner: Option<Owner>,
    /// keepalived's --config-id: which lines with @ID are converted [default: they are left out]
    #[arg(long, value_name = "ID")]
    pub config_id: Option<String>,
    /// If something is not converted, print no table; exit code 1
    #[arg(long)]
    pub strict: bool,
}

/// Format of a file that is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Ipvsadm,
    Keepalived,
}

/// Parses a word of a list. clap refuses others.
pub(super) fn words<T: Copy + Default + Send + Sync + 'static>(
    words: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    let names = words.iter().map(|(word, _)| *word);
    PossibleValuesParser::new(names).map(|text| {
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).unwrap_or_default()
    })
}

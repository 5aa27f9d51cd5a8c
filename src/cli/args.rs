//! The half in words: what ipvsadm does not have.

use std::io::{self, Read, Write};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use super::{
    CliError, connections, directors, help,
    list::Reading,
    man,
    names::System,
    options::{Color, OWN, Options, timeout},
    restore::{self, Manner},
    run::{Out, read},
    settings,
    target::Target,
};
use crate::client::ConnectionQuery;

/// ipvsadm's command lines for directors anywhere, and what ipvsadm lacks in words.
#[derive(Debug, Parser)]
#[command(
    name = "ipvsctl",
    disable_help_subcommand = true,
    after_help = "ipvsadm's own commands (-A, -L, ...) are told by ipvsctl help."
)]
pub(super) struct Words {
    #[command(flatten)]
    own: Own,
    #[command(subcommand)]
    word: Word,
}

/// ipvsctl's own options.
#[derive(Args, Debug)]
struct Own {
    /// The director: http://HOST[:PORT], https://HOST[:PORT] or unix:///PATH
    #[arg(long, global = true, value_name = "URL")]
    endpoint: Option<String>,
    /// The director by its name in the configuration
    #[arg(long, global = true, value_name = "NAME")]
    director: Option<String>,
    /// Every director of the configuration at once; only reads
    #[arg(long, global = true)]
    all: bool,
    /// Seconds that a request may take [default: 30]
    #[arg(long, global = true, value_name = "SECONDS")]
    timeout: Option<String>,
    /// The form of the answer
    #[arg(long, global = true, value_name = "FORMAT", default_value = "table",
          value_parser = ["table", "json", "yaml"])]
    output: String,
    /// When messages are coloured
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: When,
    /// Go on with the next line after a faulty one (-R)
    #[arg(long, global = true)]
    keep_going: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Explains ipvsadm's commands and these words, with examples
    Help,
    /// Tells what director and kernel are
    Info,
    /// Shows or changes the kernel's IPVS settings
    Settings {
        /// A name to show, or NAME=VALUE to set; pairs as 3,50 [default: show all]
        #[arg(value_name = "NAME[=VALUE]")]
        settings: Vec<String>,
    },
    /// Lists or counts connections
    Connections(ConnectionArgs),
    /// Prints the table as command lines that restore gives back, order of servers included
    Save,
    /// Replaces the table by what save printed; the whole text is checked first
    Restore(RestoreArgs),
    /// Lists the directors of the configuration and how they are
    Directors,
    /// Prints a completion script
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Prints the manual page
    #[command(hide = true)]
    Man,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Args, Debug)]
struct ConnectionArgs {
    /// Only this protocol: tcp, udp, sctp, icmp, icmpv6, ip
    #[arg(long)]
    protocol: Option<String>,
    /// Only this client, ADDRESS or ADDRESS:PORT
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    /// Only this virtual address, with or without a port
    #[arg(long, value_name = "ADDRESS")]
    r#virtual: Option<String>,
    /// Only this real server, with or without a port
    #[arg(long, value_name = "ADDRESS")]
    destination: Option<String>,
    /// Only this state, such as ESTABLISHED
    #[arg(long)]
    state: Option<String>,
    /// Only persistence templates (true), or only connections (false)
    #[arg(long)]
    templates: Option<bool>,
    /// At most so many, 1 to 10000000 [default: all]
    #[arg(long, value_name = "NUMBER", conflicts_with = "count_by")]
    limit: Option<u64>,
    /// Only counts them, by this
    #[arg(long, value_name = "WHAT")]
    count_by: Option<CountBy>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CountBy {
    Protocol,
    Client,
    Virtual,
    Destination,
    State,
}

#[derive(Args, Debug)]
struct RestoreArgs {
    /// The file [default: standard input]
    file: Option<std::path::PathBuf>,
    /// Only check the text; changes nothing
    #[arg(long)]
    check: bool,
    /// Keep what is in the table
    #[arg(long)]
    no_clear: bool,
    /// Stop at the first command that the kernel refuses, rather than go on
    #[arg(long)]
    stop: bool,
}

/// The words that begin this half.
const WORDS: [&str; 9] = [
    "help",
    "info",
    "settings",
    "connections",
    "save",
    "restore",
    "directors",
    "completion",
    "man",
];

/// Whether a command line is in words: its first word that is no option of ipvsctl's own is one.
pub(super) fn is_meant(words: &[String]) -> bool {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(long) = word.strip_prefix("--") else {
            return WORDS.contains(&word.as_str());
        };
        let (name, inline) = match long.split_once('=') {
            Some((name, _)) => (name, true),
            None => (long, false),
        };
        match OWN.iter().find(|own| own.name == name) {
            None => return false,
            Some(own) if own.takes_value && !inline => drop(words.next()),
            Some(_) => {}
        }
    }
    false
}

/// The grammar, for completion and the manual page.
pub(super) fn grammar() -> clap::Command {
    Words::command()
}

/// Carries out a command line in words.
pub(super) fn run(words: &[String], out: &mut Out, color: &mut Color) -> Result<u8, CliError> {
    let name = ["ipvsctl".to_owned()];
    let words = match Words::try_parse_from(name.iter().chain(words)) {
        Ok(words) => words,
        Err(error) => {
            // Help goes to standard output, faults to standard error.
            let text = error.render();
            match error.use_stderr() {
                true => {
                    let _ = write!(io::stderr(), "{text}");
                    return Ok(2);
                }
                false => write!(out, "{text}")?,
            }
            return Ok(0);
        }
    };
    let Words { own, word } = words;
    let options = own.options()?;
    *color = options.color;
    match word {
        Word::Help => help::write_long(out)?,
        Word::Info => return read(&options, out, &Reading::Info),
        Word::Settings { settings } => return change_or_show(settings, &options, out),
        Word::Connections(wanted) => {
            return read(&options, out, &Reading::Connections(wanted.wanted()));
        }
        Word::Save => return read(&options, out, &Reading::Rules),
        Word::Restore(arguments) => return arguments.run(&options),
        Word::Directors => return directors::show(&options, out),
        Word::Completion { shell } => {
            let mut grammar = help::whole_grammar();
            let shell = match shell {
                Shell::Bash => clap_complete::Shell::Bash,
                Shell::Zsh => clap_complete::Shell::Zsh,
                Shell::Fish => clap_complete::Shell::Fish,
            };
            // In memory first: the generator panics where writing fails.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut grammar, "ipvsctl", &mut script);
            out.write_all(&script)?;
        }
        Word::Man => man::write(out)?,
    }
    Ok(0)
}

fn change_or_show(settings: Vec<String>, options: &Options, out: &mut Out) -> Result<u8, CliError> {
    let wishes: Vec<_> = settings
        .iter()
        .filter_map(|text| text.split_once('='))
        .collect();
    if wishes.is_empty() {
        return read(options, out, &Reading::Settings(settings));
    }
    if options.all {
        return Err(CliError::AllOnlyReads);
    }
    // All or nothing: a name to show among them is a slip.
    if let Some(name) = settings.iter().find(|text| !text.contains('=')) {
        return Err(CliError::Setting(name.clone()));
    }
    let target = Target::of(options)?;
    settings::set(&target.client, &wishes)?;
    Ok(0)
}

// === impl Own ===

impl Own {
    fn options(self) -> Result<Options, CliError> {
        let Self {
            endpoint,
            director,
            all,
            timeout: seconds,
            output,
            color,
            keep_going,
        } = self;
        Ok(Options {
            endpoint,
            director,
            all,
            timeout: seconds.map(timeout).transpose()?,
            format: output.parse()?,
            color: match color {
                When::Auto => Color::Auto,
                When::Always => Color::Always,
                When::Never => Color::Never,
            },
            keep_going,
        })
    }
}

// === impl ConnectionArgs ===

impl ConnectionArgs {
    fn wanted(self) -> connections::Wanted {
        let Self {
            protocol,
            client,
            r#virtual,
            destination,
            state,
            templates,
            limit,
            count_by,
        } = self;
        let filters = [
            ("protocol", protocol),
            ("client", client),
            ("virtual", r#virtual),
            ("destination", destination),
            ("state", state),
            (
                "templates",
                templates.map(|templates| templates.to_string()),
            ),
        ];
        let filters = filters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        connections::Wanted {
            query: ConnectionQuery { filters, limit },
            count_by: count_by.map(|by| match by {
                CountBy::Protocol => "protocol",
                CountBy::Client => "client",
                CountBy::Virtual => "virtual",
                CountBy::Destination => "destination",
                CountBy::State => "state",
            }),
        }
    }
}

// === impl RestoreArgs ===

impl RestoreArgs {
    fn run(self, options: &Options) -> Result<u8, CliError> {
        let Self {
            file,
            check,
            no_clear,
            stop,
        } = self;
        if options.all {
            return Err(CliError::AllOnlyReads);
        }
        let text = match file {
            Some(path) => {
                std::fs::read_to_string(&path).map_err(|source| CliError::File { path, source })?
            }
            None => {
                let mut text = String::new();
                io::stdin()
                    .read_to_string(&mut text)
                    .map_err(CliError::Input)?;
                text
            }
        };
        let manner = Manner {
            program: "ipvsctl",
            options,
            comments: true,
            clear: !no_clear,
        };
        restore::whole(&text, &manner, stop, check, &System::default())
    }
}

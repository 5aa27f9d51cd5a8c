//! Completion of command lines by the shell: the script that `ipvsctl completion` prints runs ipvsctl
//! for each completion, so that values come from the configuration and from the director.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    io::{self, Write},
    time::Duration,
};

use clap::{Arg, ArgAction};
use clap_complete::{
    engine::{ArgValueCandidates, CompletionCandidate},
    env::{Bash, EnvCompleter, Fish, Zsh},
};

use super::{
    args::{self, Shell},
    config::Config,
    environment::Environment,
    options::{GLOBAL_OPTIONS, Options},
    reference::summary,
    target::Target,
};
use crate::{
    client::Include,
    ipvsadm::{Argument, ExtraValue, OPTIONS, OptionSpec, service_option},
    model::{SCHEDULERS, SETTINGS, ServiceEntry},
};

/// Environment variable with the name of the shell. The script sets it.
const VARIABLE: &str = "_IPVSCTL_COMPLETE";
/// The end of the script for zsh, which loads the file of the script as a function when it completes for the first time.
const ZSH_LOADED: &str = r#"
if [ "$funcstack[1]" = "_ipvsctl" ]; then
    _clap_dynamic_completer_ipvsctl "$@"
fi
"#;
/// Time limit of a request to the director: the user waits, and can type the value as well.
const TIMEOUT: Duration = Duration::from_secs(1);

type Candidates = Vec<CompletionCandidate>;

/// Writes the script that makes the shell complete command lines of ipvsctl.
pub(super) fn write(out: &mut dyn Write, shell: Shell) -> io::Result<()> {
    completer(shell).write_registration(VARIABLE, "ipvsctl", "ipvsctl", "ipvsctl", out)?;
    match shell {
        Shell::Zsh => out.write_all(ZSH_LOADED.as_bytes()),
        Shell::Bash | Shell::Fish => Ok(()),
    }
}

/// The shell for which a command line is to be completed, if it has started ipvsctl for that.
pub(super) fn requested() -> Option<Shell> {
    let name = env::var(VARIABLE).ok()?;
    [Shell::Bash, Shell::Zsh, Shell::Fish]
        .into_iter()
        .find(|shell| completer(*shell).is(&name))
}

/// Writes the completions of the command line after `--`, in the form that the shell expects.
pub(super) fn complete(out: &mut dyn Write, shell: Shell, words: &[String]) -> io::Result<()> {
    let words = words.iter().skip_while(|word| *word != "--").skip(1);
    let words: Vec<_> = words.map(OsString::from).collect();
    let mut grammar = grammar(&words);
    completer(shell).write_complete(&mut grammar, words, None, out)
}

fn completer(shell: Shell) -> &'static dyn EnvCompleter {
    match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    }
}

/// The grammar of the subcommands with ipvsadm's options added, and with the values of arguments. The
/// words are those of the command line, which may name the director.
pub(super) fn grammar(words: &[OsString]) -> clap::Command {
    let is_global = |name| {
        GLOBAL_OPTIONS
            .iter()
            .any(|option| option.syntax.long == name)
    };
    let options = OPTIONS
        .iter()
        // clap adds --help itself.
        .filter(|spec| !is_global(spec.long) && spec.long != "help");
    args::grammar()
        .args(options.map(|spec| arg(spec, words)))
        .mut_arg("director", |arg| {
            arg.add(ArgValueCandidates::new(directors))
        })
        .mut_subcommand("can-i", |can_i| with(can_i, "service", service_ids, words))
        .mut_subcommand("audit", |audit| with(audit, "service", service_ids, words))
        .mut_subcommand("apply", |apply| with(apply, "owner", owners, words))
        .mut_subcommand("diff", |diff| with(diff, "owner", owners, words))
        .mut_subcommand("export", |export| with(export, "owner", owners, words))
        .mut_subcommand("watch", |watch| with(watch, "owner", owners, words))
        .mut_subcommand("drains", |drains| with(drains, "owner", owners, words))
        .mut_subcommand("ramps", |ramps| with(ramps, "owner", owners, words))
        .mut_subcommand("health", |health| {
            let health = with(health, "service", service_ids, words);
            with(health, "owner", owners, words)
        })
        .mut_subcommand("report-health", |report| with_server(report, words))
        .mut_subcommand("force", |force| with_server(force, words))
        .mut_subcommand("convert", |convert| with(convert, "owner", owners, words))
        .mut_subcommand("tables", |tables| {
            tables
                .mut_subcommand("show", |show| with(show, "owner", owners, words))
                .mut_subcommand("operations", |operations| {
                    with(operations, "owner", owners, words)
                })
                .mut_subcommand("set", |set| with(set, "owner", owners, words))
                .mut_subcommand("delete", |delete| with(delete, "owner", owners, words))
        })
        .mut_subcommand("drain", |drain| {
            let drain = with(drain, "server", server_ids, words);
            with(drain, "services", service_ids, words)
        })
        .mut_subcommand("undrain", |undrain| with(undrain, "drain", drains, words))
        .mut_subcommand("ramp", |ramp| with_server(ramp, words))
        .mut_subcommand("unramp", |unramp| with(unramp, "id", ramps, words))
        .mut_subcommand("settings", |settings| {
            settings.mut_arg("settings", |arg| {
                arg.add(ArgValueCandidates::new(setting_names))
            })
        })
}

/// A subcommand with the arguments of a server of a service.
fn with_server(subcommand: clap::Command, words: &[OsString]) -> clap::Command {
    let subcommand = with(subcommand, "service", service_ids, words);
    with(subcommand, "server", server_ids, words)
}

/// A subcommand with an argument whose values the director has.
fn with(
    subcommand: clap::Command,
    name: &'static str,
    candidates: fn(&[OsString]) -> Candidates,
    words: &[OsString],
) -> clap::Command {
    let words = words.to_vec();
    subcommand.mut_arg(name, |arg| {
        arg.add(ArgValueCandidates::new(move || candidates(&words)))
    })
}

fn arg(spec: &OptionSpec, words: &[OsString]) -> Arg {
    let arg = Arg::new(spec.long).long(spec.long).help(summary(spec.help));
    let mut letters = spec.short.chars();
    let arg = match letters.next() {
        Some(letter) => arg.short(letter),
        None => arg,
    };
    let arg = letters.fold(arg, Arg::visible_short_alias);
    let arg = match spec.argument {
        Argument::None | Argument::Operands(_) => return arg.action(ArgAction::SetTrue),
        Argument::Required(placeholder) | Argument::Optional(placeholder) => {
            arg.value_name(placeholder).action(ArgAction::Set)
        }
    };
    let words = words.to_vec();
    let option = match spec.long {
        "tcp-service" => "-t",
        "udp-service" => "-u",
        "sctp-service" => "--sctp-service",
        "fwmark-service" => "-f",
        "real-server" => return arg.add(ArgValueCandidates::new(move || servers(&words))),
        long => match values(long) {
            [] => return arg,
            values => {
                let candidates = || {
                    values
                        .iter()
                        .copied()
                        .map(CompletionCandidate::new)
                        .collect()
                };
                return arg.add(ArgValueCandidates::new(candidates));
            }
        },
    };
    arg.add(ArgValueCandidates::new(move || services(&words, option)))
}

/// The values of one of ipvsadm's options that are known here.
fn values(long: &str) -> &'static [&'static str] {
    const NAMES: [&str; SCHEDULERS.len()] = {
        let mut names = [""; SCHEDULERS.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = SCHEDULERS[index].0;
            index += 1;
        }
        names
    };
    match long {
        "scheduler" => &NAMES,
        "pe" => &["sip"],
        "tun-type" => &["ipip", "gue", "gre"],
        "start-daemon" | "stop-daemon" => &["master", "backup"],
        _ => &[],
    }
}

fn directors() -> Candidates {
    let config = Environment::load().and_then(|environment| Config::load(&environment));
    let config = config.unwrap_or_default();
    let directors = config.directors.iter();
    directors
        .map(|(name, director)| {
            let help = director.endpoint.to_string();
            CompletionCandidate::new(name).help(Some(help.into()))
        })
        .collect()
}

fn setting_names() -> Candidates {
    let candidates = SETTINGS
        .iter()
        .map(|spec| CompletionCandidate::new(spec.name).help(Some(summary(spec.doc).into())));
    candidates.collect()
}

/// The ids of the services of the director.
fn service_ids(words: &[OsString]) -> Candidates {
    let entries = table(words).into_iter();
    entries
        .map(|entry| CompletionCandidate::new(entry.service.key.to_string()))
        .collect()
}

/// The services of the director that one of ipvsadm's options can name.
fn services(words: &[OsString], option: &str) -> Candidates {
    let entries = table(words);
    let named = entries
        .iter()
        .map(|entry| service_option(entry.service.key));
    let values = named.filter_map(|named| {
        let value = named.strip_prefix(option)?.strip_prefix(' ')?;
        Some(CompletionCandidate::new(value))
    });
    values.collect()
}

/// The servers of the services that the command line names, or of all.
fn servers(words: &[OsString]) -> Candidates {
    let entries = table(words);
    let is_named = |entry: &&ServiceEntry| {
        let option = service_option(entry.service.key);
        words.windows(2).any(|pair| match pair {
            [name, value] => *option == *format!("{} {}", name.display(), value.display()),
            _ => false,
        })
    };
    let named: Vec<_> = entries.iter().filter(is_named).collect();
    let entries = match named.is_empty() {
        true => entries.iter().collect(),
        false => named,
    };
    let servers = entries.into_iter().flat_map(|entry| &entry.servers);
    servers
        .map(|server| {
            let (address, port) = (server.key.address, server.key.port);
            let text = match address.is_ipv6() {
                true => format!("[{address}]:{port}"),
                false => format!("{address}:{port}"),
            };
            CompletionCandidate::new(text)
        })
        .collect()
}

/// The owners of the declared tables of the director.
fn owners(words: &[OsString]) -> Candidates {
    let tables = target(words).and_then(|target| target.client.tables().ok());
    let (tables, _) = tables.unwrap_or_default();
    { tables }
        .into_iter()
        .map(|table| CompletionCandidate::new(table.owner))
        .collect()
}

/// The ids of the servers of the director.
fn server_ids(words: &[OsString]) -> Candidates {
    let entries = table(words);
    let servers = entries.iter().flat_map(|entry| &entry.servers);
    let keys: BTreeSet<_> = servers.map(|server| server.key).collect();
    keys.into_iter()
        .map(|key| CompletionCandidate::new(key.to_string()))
        .collect()
}

/// The servers that drains of the director hold.
fn drains(words: &[OsString]) -> Candidates {
    let drains = target(words).and_then(|target| target.client.drains().ok());
    let (drains, _) = drains.unwrap_or_default();
    let active = drains.iter().filter(|drain| drain.is_active());
    active
        .map(|drain| CompletionCandidate::new(drain.server.to_string()))
        .collect()
}

/// The ids of the ramps of the director that hold a server.
fn ramps(words: &[OsString]) -> Candidates {
    let ramps = target(words).and_then(|target| target.client.ramps().ok());
    let (ramps, _) = ramps.unwrap_or_default();
    let active = ramps.iter().filter(|ramp| ramp.is_active());
    active
        .map(|ramp| {
            let help = format!("{} {}", ramp.service, ramp.server);
            CompletionCandidate::new(ramp.id.to_string()).help(Some(help.into()))
        })
        .collect()
}

/// The table of the director; empty if it cannot be read at once.
fn table(words: &[OsString]) -> Vec<ServiceEntry> {
    let table = target(words).and_then(|target| {
        let client = &target.client;
        client.services(Include::default(), false).ok()
    });
    table.unwrap_or_default()
}

/// The director that the command line or the environment names.
fn target(words: &[OsString]) -> Option<Target> {
    let mut options = Options {
        timeout: Some(TIMEOUT),
        ..Options::default()
    };
    let mut words = words.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        let Some(long) = word.strip_prefix("--") else {
            continue;
        };
        let (name, mut value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let found = GLOBAL_OPTIONS
            .iter()
            .find(|option| option.syntax.long == name);
        // --timeout may be ipvsadm's.
        let Some(option) = found.filter(|option| !option.syntax.only_before_command) else {
            continue;
        };
        if option.syntax.value == ExtraValue::Required && value.is_none() {
            value = words.next().map(Into::into);
        }
        // What is wrong with a value is reported when the command is run.
        let _ = option.set(&mut options, value.unwrap_or_default());
    }
    Target::select(&options).ok()
}

//! From words to what they ask for, in the original's order of checks, so that of several faults
//! the same one is told.

use super::{
    error::{Checked, Usage},
    lexer::{Lexer, OwnOption, Token},
    list::{ListFormat, ListMode},
    names::Resolver,
    option::{Command, Opt, Word},
    value::{Values, timeout},
};
use crate::model::{Family, Forwarding, Op, ServerConfig, ServerKey, ServiceKey, Timeouts};

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// A change. In [`Op::SetTimeouts`] 0 keeps what there is, as it does for the kernel.
    Change(Op),
    /// A listing.
    List(List),
    /// `-S`.
    Save {
        /// `-n`.
        numeric: bool,
    },
    /// `-R`.
    Restore,
    /// `-h`.
    Help,
    /// `-v`.
    Version,
}

/// What is to be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// The whole table.
    Table(ListFormat),
    /// One service.
    Service(ServiceKey, ListFormat),
    /// `-c`.
    Connections {
        /// `-n`.
        numeric: bool,
        /// `--persistent-conn`.
        engine_data: bool,
    },
    /// `--timeout`.
    Timeouts,
    /// `--daemon`.
    SyncDaemons,
}

/// A command line with the caller's own options in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What it asks for.
    pub command: CommandLine,
    /// The caller's own options by their place in its list, with their values.
    pub own: Vec<(usize, Option<String>)>,
}

/// Understands the words of a command line, without the program's name.
pub fn parse(program: &str, words: &[&str], resolver: &dyn Resolver) -> Checked<CommandLine> {
    parse_with(program, words, &[], resolver).map(|parsed| parsed.command)
}

/// The same with options of the caller's own, which may stand anywhere.
pub fn parse_with(
    program: &str,
    words: &[&str],
    own: &[OwnOption],
    resolver: &dyn Resolver,
) -> Checked<Parsed> {
    let try_help = || Usage::TryHelp {
        program: program.to_owned(),
    };
    let mut lexer = Lexer::new(words, own);
    let mut parsed = Parsed {
        command: CommandLine::Help,
        own: Vec::new(),
    };
    let command = loop {
        match lexer.next() {
            Err(_) => return Err(try_help()),
            Ok(None)
                if words.is_empty() || !parsed.own.is_empty() && lexer.leftovers.is_empty() =>
            {
                // No argument at all is a listing.
                break Command::List;
            }
            Ok(None) => return Err(try_help()),
            Ok(Some(Token::Own(place, value))) => {
                parsed.own.push((place, value.map(str::to_owned)));
            }
            Ok(Some(Token::Option(spec, value))) => match spec.word {
                Word::Help => return Ok(parsed),
                Word::Version => {
                    parsed.command = CommandLine::Version;
                    return Ok(parsed);
                }
                Word::Command(command) => {
                    lexer.command_seen = true;
                    let mut values = Values::new(resolver);
                    values.state(command, value.unwrap_or_default())?;
                    parsed.command = after_command(command, values, &mut lexer, &mut parsed.own)?;
                    return Ok(parsed);
                }
                Word::Opt(..) | Word::Ipv6 | Word::Sort => return Err(try_help()),
            },
        }
    };
    parsed.command = after_command(command, Values::new(resolver), &mut lexer, &mut parsed.own)?;
    Ok(parsed)
}

fn after_command(
    command: Command,
    mut values: Values<'_>,
    lexer: &mut Lexer<'_>,
    own: &mut Vec<(usize, Option<String>)>,
) -> Checked<CommandLine> {
    while let Some(token) = lexer.next()? {
        let (spec, value) = match token {
            Token::Option(spec, value) => (spec, value),
            Token::Own(place, value) => {
                own.push((place, value.map(str::to_owned)));
                continue;
            }
        };
        match spec.word {
            Word::Sort => values.unsorted = false,
            Word::Ipv6 => values.ipv6()?,
            Word::Opt(opt, which) => values.take(opt, which, value)?,
            Word::Command(_) | Word::Help | Word::Version => {
                return Err(Usage::SecondCommand(lexer.last_word().to_owned()));
            }
        }
    }
    let mut words = lexer.leftovers.iter();
    let mut timeouts = None;
    if command == Command::Set {
        let mut word = || words.next().copied().ok_or(Usage::ThreeTimeouts);
        let (tcp, tcp_fin, udp) = (word()?, word()?, word()?);
        timeouts = Some(Timeouts {
            tcp_seconds: timeout(tcp, 0)?,
            tcp_fin_seconds: timeout(tcp_fin, 0)?,
            udp_seconds: timeout(udp, 0)?,
        });
    }
    if let Some(word) = words.next() {
        return Err(Usage::Unexpected((*word).to_owned()));
    }
    values.scheduler_flags()?;
    values.given.check(command)?;
    build(command, &mut values, timeouts)
}

fn build(
    command: Command,
    values: &mut Values<'_>,
    timeouts: Option<Timeouts>,
) -> Checked<CommandLine> {
    Ok(CommandLine::Change(match command {
        Command::List => return Ok(CommandLine::List(list(values))),
        Command::Save => {
            let numeric = values.given.has(Opt::Numeric);
            return Ok(CommandLine::Save { numeric });
        }
        Command::Restore => return Ok(CommandLine::Restore),
        Command::AddService => {
            values.check_service()?;
            Op::CreateService(values.key(), values.service_config())
        }
        Command::EditService => {
            values.check_service()?;
            Op::SetService(values.key(), values.service_config())
        }
        Command::DeleteService => Op::DeleteService(values.key()),
        Command::Clear => Op::Clear,
        Command::Zero if values.names_a_service() => Op::ZeroService(values.key()),
        Command::Zero => Op::ZeroAll,
        Command::AddServer => {
            let (server, config) = server(values)?;
            Op::CreateServer(values.key(), server, config)
        }
        Command::EditServer => {
            let (server, config) = server(values)?;
            Op::SetServer(values.key(), server, config)
        }
        Command::DeleteServer => Op::DeleteServer(values.key(), values.server),
        Command::Set => Op::SetTimeouts(timeouts.ok_or(Usage::ThreeTimeouts)?),
        Command::StartDaemon => Op::StartSyncDaemon(values.daemon()),
        Command::StopDaemon => Op::StopSyncDaemon(values.daemon().state),
    }))
}

fn list(values: &Values<'_>) -> List {
    let given = values.given;
    let numeric = given.has(Opt::Numeric);
    let mode = if given.has(Opt::Stats) {
        ListMode::Stats
    } else if given.has(Opt::Rate) {
        ListMode::Rate
    } else if given.has(Opt::Thresholds) {
        ListMode::Thresholds
    } else if given.has(Opt::PersistentConn) {
        ListMode::PersistentConn
    } else if given.has(Opt::TunInfo) {
        ListMode::TunInfo
    } else {
        ListMode::Plain
    };
    let format = ListFormat {
        mode,
        exact: given.has(Opt::Exact),
        numeric,
        unsorted: values.unsorted,
    };
    if given.has(Opt::Connection) {
        List::Connections {
            numeric,
            engine_data: given.has(Opt::PersistentConn),
        }
    } else if given.has(Opt::Service) {
        List::Service(values.key(), format)
    } else if given.has(Opt::Timeout) {
        List::Timeouts
    } else if given.has(Opt::Daemon) {
        List::SyncDaemons
    } else {
        List::Table(format)
    }
}

fn server(values: &Values<'_>) -> Checked<(ServerKey, ServerConfig)> {
    let config = values.server_config();
    let key = values.key();
    let mut server = values.server;
    // Neither method can change a port, so the original puts the service's in its place.
    if let Some(port) = key.port()
        && matches!(config.forwarding, Forwarding::Tunnel | Forwarding::Direct)
    {
        server.port = port;
    }
    if server.address.is_ipv4() != matches!(key.family(), Family::Ipv4)
        && config.forwarding != Forwarding::Tunnel
    {
        return Err(Usage::Family);
    }
    let tunnel_options = [
        Opt::TunType,
        Opt::TunPort,
        Opt::TunNoCsum,
        Opt::TunCsum,
        Opt::TunRemCsum,
    ];
    if config.forwarding == Forwarding::Tunnel {
        values.given.check_tunnel(config.tunnel.kind)?;
    } else if values.given.has_any(&tunnel_options) {
        return Err(Usage::TunnelForwarding);
    }
    Ok((server, config))
}

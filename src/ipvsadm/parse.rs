//! Parses a command line. The checks run in ipvsadm's order, so that the same one of several errors
//! is reported.

use super::{
    error::{ParseError, ParseResult},
    lexer::{ExtraOption, Lexer, Token},
    list::{ListFormat, ListMode},
    names::Resolver,
    option::{Command, Meaning, Opt},
    value::{Values, timeout},
};
use crate::model::{
    Family, Forwarding, Op, ServerConfig, ServerKey, ServiceKey, StoredFields, Timeouts,
};

/// A parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// A write. In [`Op::SetTimeouts`], 0 keeps the current value.
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

/// What `-L` lists.
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

/// A command line with the caller's extra options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The command line.
    pub command: CommandLine,
    /// Extra options: index into the caller's list, and value.
    pub extra: Vec<(usize, Option<String>)>,
}

/// Parses the words of a command line. `program` is `argv[0]`, `words` the rest.
pub fn parse(program: &str, words: &[&str], resolver: &dyn Resolver) -> ParseResult<CommandLine> {
    parse_with(program, words, &[], resolver).map(|parsed| parsed.command)
}

/// Like [`parse`], with additional options that may appear anywhere.
pub fn parse_with(
    program: &str,
    words: &[&str],
    extra: &[ExtraOption],
    resolver: &dyn Resolver,
) -> ParseResult<Parsed> {
    let try_help = || ParseError::TryHelp {
        program: program.to_owned(),
    };
    let mut lexer = Lexer::new(words, extra);
    let mut parsed = Parsed {
        command: CommandLine::Help,
        extra: Vec::new(),
    };
    let command = loop {
        match lexer.next() {
            Err(_) => return Err(try_help()),
            Ok(None)
                if words.is_empty() || !parsed.extra.is_empty() && lexer.operands.is_empty() =>
            {
                // Without arguments, ipvsadm lists the table.
                break Command::List;
            }
            Ok(None) => return Err(try_help()),
            Ok(Some(Token::Extra(index, value))) => {
                parsed.extra.push((index, value.map(str::to_owned)));
            }
            Ok(Some(Token::Option(spec, value))) => match spec.meaning {
                Meaning::Help => return Ok(parsed),
                Meaning::Version => {
                    parsed.command = CommandLine::Version;
                    return Ok(parsed);
                }
                Meaning::Command(command) => {
                    lexer.command_seen = true;
                    let mut values = Values::new(resolver);
                    values.set_daemon_state(command, value.unwrap_or_default())?;
                    parsed.command = parse_options(command, values, &mut lexer, &mut parsed.extra)?;
                    return Ok(parsed);
                }
                Meaning::Opt(..) | Meaning::Ipv6 | Meaning::Sort => return Err(try_help()),
            },
        }
    };
    parsed.command = parse_options(
        command,
        Values::new(resolver),
        &mut lexer,
        &mut parsed.extra,
    )?;
    Ok(parsed)
}

fn parse_options(
    command: Command,
    mut values: Values<'_>,
    lexer: &mut Lexer<'_>,
    extra: &mut Vec<(usize, Option<String>)>,
) -> ParseResult<CommandLine> {
    while let Some(token) = lexer.next()? {
        let (spec, value) = match token {
            Token::Option(spec, value) => (spec, value),
            Token::Extra(index, value) => {
                extra.push((index, value.map(str::to_owned)));
                continue;
            }
        };
        match spec.meaning {
            Meaning::Sort => values.unsorted = false,
            Meaning::Ipv6 => values.set_mark_ipv6()?,
            Meaning::Opt(opt, variant) => values.set(opt, variant, value)?,
            Meaning::Command(_) | Meaning::Help | Meaning::Version => {
                return Err(ParseError::SecondCommand(lexer.last_word().to_owned()));
            }
        }
    }
    let mut words = lexer.operands.iter();
    let mut timeouts = None;
    if command == Command::Set {
        let mut word = || words.next().copied().ok_or(ParseError::ThreeTimeouts);
        let (tcp, tcp_fin, udp) = (word()?, word()?, word()?);
        timeouts = Some(Timeouts {
            tcp_seconds: timeout(tcp, 0)?,
            tcp_fin_seconds: timeout(tcp_fin, 0)?,
            udp_seconds: timeout(udp, 0)?,
        });
    }
    if let Some(word) = words.next() {
        return Err(ParseError::UnexpectedArgument((*word).to_owned()));
    }
    values.parse_scheduler_flags()?;
    values.options.check(command)?;
    build(command, &mut values, timeouts)
}

fn build(
    command: Command,
    values: &mut Values<'_>,
    timeouts: Option<Timeouts>,
) -> ParseResult<CommandLine> {
    Ok(CommandLine::Change(match command {
        Command::List => return Ok(CommandLine::List(list(values))),
        Command::Save => {
            let numeric = values.options.contains(Opt::Numeric);
            return Ok(CommandLine::Save { numeric });
        }
        Command::Restore => return Ok(CommandLine::Restore),
        Command::AddService => {
            values.check_service()?;
            Op::CreateService(
                values.key(),
                values.service_config(),
                StoredFields::default(),
            )
        }
        Command::EditService => {
            values.check_service()?;
            Op::SetService(values.key(), values.service_config())
        }
        Command::DeleteService => Op::DeleteService(values.key()),
        Command::Clear => Op::Clear,
        Command::Zero if values.has_service() => Op::ZeroService(values.key()),
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
        Command::Set => Op::SetTimeouts(timeouts.ok_or(ParseError::ThreeTimeouts)?),
        Command::StartDaemon => Op::StartSyncDaemon(values.daemon()),
        Command::StopDaemon => Op::StopSyncDaemon(values.daemon().state),
    }))
}

fn list(values: &Values<'_>) -> List {
    let options = values.options;
    let numeric = options.contains(Opt::Numeric);
    let mode = if options.contains(Opt::Stats) {
        ListMode::Stats
    } else if options.contains(Opt::Rate) {
        ListMode::Rate
    } else if options.contains(Opt::Thresholds) {
        ListMode::Thresholds
    } else if options.contains(Opt::PersistentConn) {
        ListMode::PersistentConn
    } else if options.contains(Opt::TunInfo) {
        ListMode::TunInfo
    } else {
        ListMode::Plain
    };
    let format = ListFormat {
        mode,
        exact: options.contains(Opt::Exact),
        numeric,
        unsorted: values.unsorted,
    };
    if options.contains(Opt::Connection) {
        List::Connections {
            numeric,
            engine_data: options.contains(Opt::PersistentConn),
        }
    } else if options.contains(Opt::Service) {
        List::Service(values.key(), format)
    } else if options.contains(Opt::Timeout) {
        List::Timeouts
    } else if options.contains(Opt::Daemon) {
        List::SyncDaemons
    } else {
        List::Table(format)
    }
}

fn server(values: &Values<'_>) -> ParseResult<(ServerKey, ServerConfig)> {
    let config = values.server_config();
    let key = values.key();
    let mut server = values.server;
    // Neither method can rewrite the port, so ipvsadm uses the service's.
    if let Some(port) = key.port()
        && matches!(config.forwarding, Forwarding::Tunnel | Forwarding::Direct)
    {
        server.port = port;
    }
    if server.address.is_ipv4() != matches!(key.family(), Family::Ipv4)
        && config.forwarding != Forwarding::Tunnel
    {
        return Err(ParseError::AddressFamily);
    }
    let tunnel_options = [
        Opt::TunType,
        Opt::TunPort,
        Opt::TunNoCsum,
        Opt::TunCsum,
        Opt::TunRemCsum,
    ];
    if config.forwarding == Forwarding::Tunnel {
        values.options.check_tunnel(config.tunnel.kind)?;
    } else if values.options.contains_any(&tunnel_options) {
        return Err(ParseError::TunnelForwarding);
    }
    Ok((server, config))
}

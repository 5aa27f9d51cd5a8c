//! Commands that write: one command, `-R`.

use std::io::Write;

use super::{
    commands::{Commands, parse_line},
    error::CliError,
    help, input,
    options::{Format, Options},
    read::{self, ReadCommand},
    session::{Session, SessionOptions},
    target::Target,
};
use crate::{
    client::{Client, RestoreMode},
    ipvsadm::{CommandLine, Lines, ParseError, Resolver},
    model::Op,
};

/// Options of [`run_lines`].
#[derive(Clone, Copy, Debug)]
pub(super) struct RestoreOptions<'a> {
    /// The program's name in messages.
    pub program: &'a str,
    pub options: &'a Options,
    /// Skip lines that begin with `#`.
    pub skip_comments: bool,
    /// Clear the table first.
    pub clear: bool,
}

/// How `-R` continues after a line.
enum Next {
    Continue,
    Exit(u8),
}

// === impl RestoreOptions ===

impl RestoreOptions<'_> {
    fn session(&self) -> SessionOptions {
        SessionOptions {
            mode: match self.clear {
                true => RestoreMode::Clear,
                false => RestoreMode::Execute,
            },
            show_lines: self.options.keep_going,
            ..SessionOptions::default()
        }
    }
}

/// Executes one command; returns the exit code.
pub(super) fn execute(target: &Target, op: &Op) -> Result<u8, CliError> {
    let mut session = Session::new(target, "", SessionOptions::default());
    session.send_commands(&Commands::of_command_line(op)?, false)?;
    Ok(session.exit_code)
}

/// Executes the commands on standard input as `ipvsadm -R` does; returns the exit code.
pub(super) fn run_lines(
    restore: &RestoreOptions<'_>,
    resolver: &dyn Resolver,
    out: &mut dyn Write,
) -> Result<u8, CliError> {
    let text = input::read(None)?;
    let target = Target::select(restore.options)?;
    let keep_going = restore.options.keep_going;
    let mut session = Session::new(&target, &text, restore.session());
    let lines = match restore.skip_comments {
        true => Lines::without_comments(&text),
        false => Lines::new(&text),
    };
    for line in lines {
        let number = line.number;
        let (parsed, is_numeric) = parse_line(restore.program, &line, resolver);
        let next = match parsed {
            Ok(CommandLine::Change(op)) => {
                session.push(&line, &op, is_numeric)?;
                Next::Continue
            }
            Ok(CommandLine::List(list)) => list_line(
                &mut session,
                &target.client,
                ReadCommand::List(list),
                keep_going,
                out,
            )?,
            Ok(CommandLine::Save { numeric }) => {
                let save = ReadCommand::Save { numeric };
                list_line(&mut session, &target.client, save, keep_going, out)?
            }
            Ok(CommandLine::Help) => {
                session.send(false)?;
                help::write_short(out, restore.program)?;
                Next::Exit(0)
            }
            Ok(CommandLine::Version) => {
                session.send(false)?;
                writeln!(out, "{}", help::VERSION)?;
                Next::Exit(0)
            }
            // ipvsadm rejects -R among the lines like a line without a command.
            Ok(CommandLine::Restore) => {
                let program = restore.program.to_owned();
                let error = ParseError::TryHelp { program };
                invalid_line(&mut session, number, error, keep_going)?
            }
            Err(error) => invalid_line(&mut session, number, error, keep_going)?,
        };
        if let Next::Exit(code) = next {
            return Ok(code);
        }
    }
    session.send(false)?;
    Ok(match keep_going {
        true => u8::from(session.failures > 0),
        false => session.exit_code,
    })
}

/// Executes a read among the lines, after the commands before it.
fn list_line(
    session: &mut Session<'_>,
    client: &Client,
    command: ReadCommand,
    keep_going: bool,
    out: &mut dyn Write,
) -> Result<Next, CliError> {
    session.send(false)?;
    let code = read::execute(client, &command, Format::Table, out)?;
    out.flush()?;
    if code != 0 && !keep_going {
        return Ok(Next::Exit(code));
    }
    session.exit_code = code;
    session.failures += usize::from(code != 0);
    Ok(Next::Continue)
}

fn invalid_line(
    session: &mut Session<'_>,
    number: usize,
    error: ParseError,
    keep_going: bool,
) -> Result<Next, CliError> {
    let continues = keep_going || error.continues_restore();
    let code = error.exit_code();
    session.push_invalid(number, error);
    if continues {
        return Ok(Next::Continue);
    }
    session.send(false)?;
    Ok(Next::Exit(code))
}

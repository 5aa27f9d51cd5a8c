//! Entry point: dispatches a command line and returns the exit code.

use std::{ffi::OsString, io::Write};

use super::{
    access::AuditReport,
    args::{self, Args, Subcommand},
    completion, convert, directors,
    error::CliError,
    fanout::read,
    health, help, holds, man,
    names::SystemResolver,
    options::{Color, GLOBAL_OPTIONS, Options},
    output::{Stdout, report_error},
    read::ReadCommand,
    replace,
    restore::{self, RestoreOptions},
    scripts::Script,
    settings,
    table_args::{TablesArgs, TablesCommand},
    table_file::SCHEMA,
    tables,
    target::Target,
    token, top, version, watch,
};
use crate::ipvsadm::{CommandLine, Parsed, parse_with};

/// Executes a command line, the program's name first; returns the exit code. `stdout_is_closed`: the
/// process was started without standard output.
pub fn run(arguments: impl IntoIterator<Item = OsString>, stdout_is_closed: bool) -> u8 {
    let mut arguments = arguments.into_iter();
    let lossy = |word: OsString| word.to_string_lossy().into_owned();
    let program = arguments.next().map_or_else(|| "ipvsctl".to_owned(), lossy);
    let words: Vec<String> = arguments.map(lossy).collect();
    let mut out = Stdout::new(stdout_is_closed);
    let mut color = Color::default();
    let result = dispatch(&program, &words, &mut out, &mut color);
    let flushed = out.flush();
    match result.and_then(|code| Ok(flushed.map(|()| code)?)) {
        Ok(code) => code,
        Err(error) => {
            report_error(&program, &error, color);
            match error.exit_code() {
                2 if args::fails_with_one(&words) => 1,
                code => code,
            }
        }
    }
}

/// Sets `color` as soon as it is known, for the report of an error.
fn dispatch(
    program: &str,
    words: &[String],
    out: &mut Stdout,
    color: &mut Color,
) -> Result<u8, CliError> {
    if let Some(script) = Script::named(program) {
        return script.run(words, out);
    }
    if let Some(shell) = completion::requested() {
        completion::complete(out, shell, words)?;
        return Ok(0);
    }
    if args::is_subcommand(words) {
        return run_subcommand(program, words, out, color);
    }
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let extra = GLOBAL_OPTIONS.map(|option| option.syntax);
    let Parsed { command, extra } =
        parse_with(program, &words, &extra, &SystemResolver::default())?;
    let options = Options::from_parsed(extra)?;
    *color = options.color;
    run_command(program, command, &options, out)
}

/// Runs a command line of ipvsadm.
fn run_command(
    program: &str,
    command: CommandLine,
    options: &Options,
    out: &mut Stdout,
) -> Result<u8, CliError> {
    if !matches!(command, CommandLine::List(_) | CommandLine::Save { .. }) {
        options.reject_watch()?;
    }
    match command {
        CommandLine::Help => help::write_short(out, program)?,
        CommandLine::Version => version::write(out, program)?,
        CommandLine::List(list) => return read(program, options, out, &ReadCommand::List(list)),
        CommandLine::Save { numeric } => {
            return read(program, options, out, &ReadCommand::Save { numeric });
        }
        CommandLine::Change(op) => {
            options.reject_all()?;
            return restore::execute(&Target::select(options)?, &op);
        }
        CommandLine::Restore => {
            options.reject_all()?;
            let restore = RestoreOptions {
                program,
                options,
                skip_comments: false,
                clear: false,
            };
            return restore::run_lines(&restore, &SystemResolver::default(), out);
        }
    }
    Ok(0)
}

fn run_subcommand(
    program: &str,
    words: &[String],
    out: &mut Stdout,
    color: &mut Color,
) -> Result<u8, CliError> {
    let Args {
        options,
        subcommand,
    } = match Args::parse(words) {
        Err(CliError::Args(help)) if !help.use_stderr() => {
            write!(out, "{}", help.render())?;
            return Ok(0);
        }
        args => args?,
    };
    *color = options.color;
    if !subcommand.is_read() {
        options.reject_watch()?;
    }
    execute(program, subcommand, &options, out)
}

fn execute(
    program: &str,
    subcommand: Subcommand,
    options: &Options,
    out: &mut Stdout,
) -> Result<u8, CliError> {
    let report = |out: &mut Stdout, command| read(program, options, out, &command);
    match subcommand {
        Subcommand::Help { word: None } => help::write_long(out)?,
        Subcommand::Help { word: Some(word) } => help::write_topic(out, &word)?,
        Subcommand::Version => version::show(options, out)?,
        Subcommand::Info => return report(out, ReadCommand::Info),
        Subcommand::Probe { ready } => {
            let code = report(out, ReadCommand::Probe { ready })?;
            // Supervisors know no other for a failure.
            return Ok(code.min(1));
        }
        Subcommand::Settings { settings } => return run_settings(program, settings, options, out),
        Subcommand::Connections(args) => return report(out, ReadCommand::Connections(args.into())),
        Subcommand::Watch(args) => return watch::run(args, options, out),
        Subcommand::Top(args) => return top::run(&args, options),
        Subcommand::Save { full: false } => return report(out, ReadCommand::SaveRestorable),
        Subcommand::Save { full: true } => return report(out, ReadCommand::SaveFull),
        Subcommand::Restore(args) => {
            options.reject_all()?;
            return replace::restore(args, options, &SystemResolver::default(), out);
        }
        Subcommand::Apply(args) => return tables::apply(args, options, out),
        Subcommand::Batch(args) => return tables::batch(args, options, out),
        Subcommand::Diff(args) => return tables::diff(args, options, out),
        Subcommand::Tables(args) => return run_tables(program, args, options, out),
        Subcommand::Export(args) => return report(out, ReadCommand::Export(args.owner)),
        Subcommand::Convert(args) => convert::run(args, options, out)?,
        Subcommand::Schema => write!(out, "{SCHEMA}")?,
        Subcommand::Drain(args) => return holds::drain(args, options, out),
        Subcommand::Undrain { drain } => return holds::undrain(drain, options, out),
        Subcommand::Drains(kept) => return report(out, ReadCommand::Drains(kept)),
        Subcommand::Ramp(args) => return holds::ramp(args, options, out),
        Subcommand::Unramp { id } => return holds::unramp(id, options, out),
        Subcommand::Ramps(kept) => return report(out, ReadCommand::Ramps(kept)),
        Subcommand::Health(args) => return report(out, ReadCommand::Health(args)),
        Subcommand::Force(args) => return health::force(args, options, out),
        Subcommand::ReportHealth(args) => return health::report(args, options, out),
        Subcommand::Directors => return directors::show(options, out),
        Subcommand::Whoami => return report(out, ReadCommand::Whoami),
        Subcommand::CanI { verb, service } => {
            return report(out, ReadCommand::CanI { verb, service });
        }
        Subcommand::Audit(args) => {
            let audit = AuditReport::new(args, options.all);
            return report(out, ReadCommand::Audit(audit));
        }
        Subcommand::Token(command) => token::run(command, out)?,
        Subcommand::Completion { shell } => completion::write(out, shell)?,
        Subcommand::Man => man::write(out)?,
    }
    Ok(0)
}

fn run_settings(
    program: &str,
    words: Vec<String>,
    options: &Options,
    out: &mut Stdout,
) -> Result<u8, CliError> {
    let assignments = settings::assignments(&words)?;
    if assignments.is_empty() {
        return read(program, options, out, &ReadCommand::Settings(words));
    }
    options.reject_all()?;
    options.reject_watch()?;
    settings::set(&Target::select(options)?, &assignments)?;
    Ok(0)
}

fn run_tables(
    program: &str,
    args: TablesArgs,
    options: &Options,
    out: &mut Stdout,
) -> Result<u8, CliError> {
    match args.command {
        None => read(program, options, out, &ReadCommand::Tables),
        Some(TablesCommand::Show { owner }) => {
            read(program, options, out, &ReadCommand::DeclaredTable(owner))
        }
        Some(TablesCommand::Operations { owner }) => {
            read(program, options, out, &ReadCommand::Operations(owner))
        }
        Some(TablesCommand::Set(args)) => tables::set(args, options, out),
        Some(TablesCommand::Delete(args)) => tables::delete(args, options, out),
    }
}

//! From arguments to an exit code.

use std::{
    ffi::OsString,
    io::{self, BufWriter, Write},
    thread,
};

use super::{
    CliError, args, help, list,
    names::System,
    options::{OWN, Options},
    output::{self, Quiet},
    restore::{self, Manner},
    scripts,
    target::Target,
};
use crate::{
    client::ClientError,
    ipvsadm::{CommandLine, Parsed, parse_with},
};

/// What the original says to `-v`. Its language is spoken here, so its version is the answer.
pub(super) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)";

/// Standard output as commands use it.
pub(super) type Out = Quiet<BufWriter<io::Stdout>>;

/// Carries out a command line, program name first; returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let mut arguments = arguments.into_iter();
    let lossy = |word: OsString| word.to_string_lossy().into_owned();
    let program = arguments.next().map_or_else(|| "ipvsctl".to_owned(), lossy);
    let words: Vec<String> = arguments.map(lossy).collect();
    let mut out = Quiet::new(BufWriter::new(io::stdout()));
    let mut color = Default::default();
    let ended = dispatch(&program, &words, &mut out, &mut color);
    let flushed = out.flush();
    match ended.and_then(|code| Ok(flushed.map(|()| code)?)) {
        Ok(code) => code,
        Err(error) => {
            complain(&program, &error, color);
            error.exit_code()
        }
    }
}

fn dispatch(
    program: &str,
    words: &[String],
    out: &mut Out,
    color: &mut super::options::Color,
) -> Result<u8, CliError> {
    if let Some(script) = scripts::Script::of(program) {
        out.deaf = true;
        return script.run(program, words, out);
    }
    if args::is_meant(words) {
        return args::run(words, out, color);
    }
    let resolver = System::default();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let Parsed { command, own } = parse_with(program, &words, &OWN, &resolver)?;
    let options = Options::of(own)?;
    *color = options.color;
    out.deaf = true;
    match command {
        CommandLine::Help => help::write_short(out, program)?,
        CommandLine::Version => writeln!(out, "{VERSION}")?,
        CommandLine::List(what) => {
            return read(&options, out, &list::Reading::List(what));
        }
        CommandLine::Save { numeric } => {
            return read(&options, out, &list::Reading::Save { numeric });
        }
        CommandLine::Change(op) => {
            if options.all {
                return Err(CliError::AllOnlyReads);
            }
            let target = Target::of(&options)?;
            return restore::one(&target.client, op);
        }
        CommandLine::Restore => {
            if options.all {
                return Err(CliError::AllOnlyReads);
            }
            let text = io::read_to_string(io::stdin()).map_err(CliError::Input)?;
            let manner = Manner {
                program,
                options: &options,
                comments: false,
                clear: false,
            };
            return restore::run(&text, &manner, &resolver, out);
        }
    }
    Ok(0)
}

/// Reads from one director, or from all at once with their names before the answers.
pub(super) fn read(
    options: &Options,
    out: &mut Out,
    reading: &list::Reading,
) -> Result<u8, CliError> {
    if !options.all {
        let target = Target::of(options)?;
        return list::read(&target.client, reading, options.format, out);
    }
    let targets = Target::all(options)?;
    let answers = at_once(&targets, |target| {
        let mut answer = Vec::new();
        let ended = list::read(&target.client, reading, options.format, &mut answer);
        (answer, ended)
    });
    let mut labelled = output::Labelled::new(options.format);
    let mut worst = 0;
    for (target, (answer, ended)) in targets.iter().zip(answers) {
        let name = target.name.as_deref().unwrap_or_default();
        match ended {
            Ok(code) => {
                worst = worst.max(code);
                labelled.answer(out, name, &answer)?;
            }
            Err(error) => {
                worst = worst.max(error.exit_code());
                out.flush()?;
                complain(name, &error, options.color);
            }
        }
    }
    labelled.end(out)?;
    Ok(worst)
}

/// What becomes of each, all worked on at the same time.
pub(super) fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let work = &work;
        let begun = items.iter().map(|item| scope.spawn(move || work(item)));
        let begun: Vec<_> = begun.collect();
        let ended = begun.into_iter().map(|thread| thread.join());
        // A panic goes on where it is not swallowed.
        ended
            .map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// Says why a command failed, in one line where it is no fault of the command line.
pub(super) fn complain(program: &str, error: &CliError, color: super::options::Color) {
    let mut text = match error {
        // As the original, without its own name before it.
        CliError::Usage(usage) => usage.to_string(),
        error => format!("{}: {error}", output::alarming(program, color)),
    };
    if let CliError::Client(ClientError::Refused(problem)) = error
        && let Some(hint) = &problem.hint
    {
        text += &format!(" ({hint})");
    }
    // Where standard error is closed, the code has to say it all.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes a line to standard error, if somebody listens.
pub(super) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

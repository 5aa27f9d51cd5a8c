//! Executes a read on one director, or on all configured directors in parallel.

use std::{io::Write, panic, thread};

use super::{
    buffer::Buffer,
    error::CliError,
    options::{Format, Options},
    output::{Stdout, report_error},
    read::{ReadCommand, execute},
    repeat::Repeat,
    target::Target,
};

/// Executes a read on the selected directors; returns the highest exit code. With `--watch`, it is
/// repeated.
pub(super) fn read(
    program: &str,
    options: &Options,
    out: &mut Stdout,
    command: &ReadCommand,
) -> Result<u8, CliError> {
    let targets = Target::of(options)?;
    let Some(interval) = options.watch else {
        return read_once(&targets, command, options, out);
    };
    let repeat = Repeat {
        program,
        interval,
        format: options.format,
        color: options.color,
    };
    repeat.run(out, |buffer| read_once(&targets, command, options, buffer))
}

/// Applies `f` to all items in parallel, one thread per item. Panics are propagated.
pub(super) fn parallel_map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let f = &f;
        let threads = items.iter().map(|item| scope.spawn(move || f(item)));
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| panic::resume_unwind(panic))
            })
            .collect()
    })
}

/// Executes a read once; returns the highest exit code.
fn read_once(
    targets: &[Target],
    command: &ReadCommand,
    options: &Options,
    out: &mut dyn Write,
) -> Result<u8, CliError> {
    match targets {
        [target] if !options.all => execute(&target.client, command, options.format, out),
        targets => read_all(targets, command, options, out),
    }
}

fn read_all(
    targets: &[Target],
    command: &ReadCommand,
    options: &Options,
    out: &mut dyn Write,
) -> Result<u8, CliError> {
    let results = parallel_map(targets, |target| {
        let mut text = Buffer::default();
        let code = execute(&target.client, command, options.format, &mut text);
        (text.into_bytes(), code)
    });
    let mut labelled = LabelledOutput::new(options.format);
    let mut highest = 0;
    for (target, (text, code)) in targets.iter().zip(results) {
        let name = target.name.as_deref().unwrap_or_default();
        match code {
            Ok(code) => {
                highest = highest.max(code);
                labelled.write(out, name, &text)?;
            }
            Err(error) => {
                highest = highest.max(error.exit_code());
                out.flush()?;
                report_error(name, &error, options.color);
            }
        }
    }
    labelled.finish(out)?;
    Ok(highest)
}

/// Writes the results of several directors, each with the director's name.
#[derive(Debug)]
struct LabelledOutput {
    format: Format,
    is_first: bool,
}

// === impl LabelledOutput ===

impl LabelledOutput {
    fn new(format: Format) -> Self {
        Self {
            format,
            is_first: true,
        }
    }

    fn write(&mut self, out: &mut dyn Write, name: &str, text: &[u8]) -> Result<(), CliError> {
        let is_first = std::mem::take(&mut self.is_first);
        match self.format {
            Format::Table => {
                let separator = if is_first { "" } else { "\n" };
                writeln!(out, "{separator}==> {name} <==")?;
                out.write_all(text)?;
            }
            Format::Json => {
                let separator = if is_first { "{" } else { "," };
                write!(out, "{separator}{}:", serde_json::to_string(name)?)?;
                out.write_all(text.trim_ascii_end())?;
            }
            Format::Yaml => {
                writeln!(out, "{}:", serde_json::to_string(name)?)?;
                for line in text.split_inclusive(|b| *b == b'\n') {
                    out.write_all(b"  ")?;
                    out.write_all(line)?;
                }
            }
        }
        Ok(())
    }

    fn finish(self, out: &mut dyn Write) -> Result<(), CliError> {
        if self.format == Format::Json {
            let start = if self.is_first { "{" } else { "" };
            writeln!(out, "{start}}}")?;
        }
        Ok(())
    }
}

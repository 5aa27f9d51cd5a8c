//! Command lines that change something: one, or a text of them.

use std::io::{self, IsTerminal, Write};

use super::{
    CliError, help,
    list::{self, Reading},
    options::Options,
    output::Format,
    run::{VERSION, tell},
    target::Target,
};
use crate::{
    client::{Client, RestoreEvent, RestoreRequest},
    ipvsadm::{CommandLine, Line, Lines, Resolver, Usage, parse, refusal_text, write_op},
    model::Op,
};

/// How a text is carried out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    /// `argv[0]`.
    pub program: &'a str,
    pub options: &'a Options,
    /// Whether lines that begin with `#` are left out.
    pub comments: bool,
    /// Whether the table is cleared first.
    pub clear: bool,
}

/// A line on its way.
#[derive(Debug)]
enum Item {
    /// A change.
    Op(usize, Op),
    /// A fault that does not end the restore.
    Fault(usize, Usage),
}

/// What a text of commands has come to.
struct Restore<'a> {
    client: &'a Client,
    /// Changes and faults since the last reading command.
    waiting: Vec<Item>,
    /// Whether the table is yet to be cleared.
    clear: bool,
    /// Whether the lines of failures are named: for a person, or who asked for it.
    names_lines: bool,
    /// Exit code of the last line.
    last: u8,
    failures: usize,
}

/// Commands from which on progress is shown on a terminal.
const LONG: usize = 2000;
/// The exit code of what the kernel refused.
const REFUSED: u8 = 255;

/// Carries out one change; returns the exit code.
pub(super) fn one(client: &Client, op: Op) -> Result<u8, CliError> {
    let mut restore = Restore::new(client, false);
    restore.waiting.push(Item::Op(1, op));
    restore.send()?;
    Ok(restore.last)
}

/// Carries out a text as `ipvsadm -R` does; returns the exit code.
pub(super) fn run(
    text: &str,
    manner: &Manner<'_>,
    resolver: &dyn Resolver,
    out: &mut dyn Write,
) -> Result<u8, CliError> {
    let target = Target::of(manner.options)?;
    let keep_going = manner.options.keep_going;
    let mut restore = Restore::new(&target.client, keep_going || io::stderr().is_terminal());
    restore.clear = manner.clear;
    let lines = match manner.comments {
        true => Lines::without_comments(text),
        false => Lines::new(text),
    };
    for Line { number, words } in lines {
        let reading = match parse(manner.program, &words, resolver) {
            Ok(CommandLine::Change(op)) => {
                restore.waiting.push(Item::Op(number, op));
                continue;
            }
            Ok(CommandLine::List(list)) => Reading::List(list),
            Ok(CommandLine::Save { numeric }) => Reading::Save { numeric },
            Ok(end @ (CommandLine::Help | CommandLine::Version)) => {
                restore.send()?;
                match end {
                    CommandLine::Version => writeln!(out, "{VERSION}")?,
                    _ => help::write_short(out, manner.program)?,
                }
                return Ok(0);
            }
            faulty => {
                let usage = faulty.err().unwrap_or_else(|| Usage::TryHelp {
                    program: manner.program.to_owned(),
                });
                let goes_on = keep_going || usage.lets_restore_go_on();
                let code = usage.exit_code();
                restore.waiting.push(Item::Fault(number, usage));
                if goes_on {
                    continue;
                }
                restore.send()?;
                return Ok(code);
            }
        };
        restore.send()?;
        let code = list::read(restore.client, &reading, Format::Table, out)?;
        out.flush()?;
        if code != 0 && !keep_going {
            return Ok(code);
        }
        restore.last = code;
        restore.failures += usize::from(code != 0);
    }
    restore.send()?;
    Ok(match keep_going {
        true => u8::from(restore.failures > 0),
        false => restore.last,
    })
}

/// Carries out a text that is right as a whole, or nothing of it; returns the exit code.
pub(super) fn whole(
    text: &str,
    manner: &Manner<'_>,
    stop: bool,
    check_only: bool,
    resolver: &dyn Resolver,
) -> Result<u8, CliError> {
    let mut items = Vec::new();
    let mut faults = 0;
    for Line { number, words } in Lines::without_comments(text) {
        let fault = match parse(manner.program, &words, resolver) {
            Ok(CommandLine::Change(op)) => {
                items.push(Item::Op(number, op));
                continue;
            }
            Ok(_) => "only commands that change something can be restored".to_owned(),
            Err(Usage::TryHelp { .. }) => "begins with no command".to_owned(),
            Err(usage) => usage.to_string().trim_end().to_owned(),
        };
        faults += 1;
        tell(&format!("line {number}: {fault}: {}", words.join(" ")));
    }
    if faults > 0 {
        return Err(CliError::FaultyLines(faults));
    }
    if check_only {
        return Ok(0);
    }
    let target = Target::of(manner.options)?;
    let mut restore = Restore::new(&target.client, true);
    restore.clear = manner.clear;
    restore.waiting = items;
    restore.send_with(stop)?;
    Ok(u8::from(restore.failures > 0))
}

// === impl Restore ===

impl<'a> Restore<'a> {
    fn new(client: &'a Client, names_lines: bool) -> Self {
        Self {
            client,
            waiting: Vec::new(),
            clear: false,
            names_lines,
            last: 0,
            failures: 0,
        }
    }

    fn send(&mut self) -> Result<(), CliError> {
        self.send_with(false)
    }

    /// Sends what waits, in one request, and tells what fails, in the order of the lines.
    fn send_with(&mut self, stop: bool) -> Result<(), CliError> {
        let items = std::mem::take(&mut self.waiting);
        let mut text = Vec::new();
        let mut places = Vec::new();
        for (place, item) in items.iter().enumerate() {
            if let Item::Op(_, op) = item {
                write_op(&mut text, op)?;
                places.push(place);
            }
        }
        let clear = std::mem::take(&mut self.clear);
        let mut told = 0;
        let mut last_refused = None;
        if clear || !places.is_empty() {
            let request = RestoreRequest {
                text,
                clear,
                stop,
                check_only: false,
            };
            let events = self.client.restore(request)?;
            let mut progress = Progress::new(places.len());
            for event in events {
                match event? {
                    RestoreEvent::Progress { done, total } => progress.show(done, total),
                    RestoreEvent::Refused(refused) => {
                        progress.clear();
                        let place = refused.line.checked_sub(1);
                        let place = place.and_then(|line| places.get(line).copied());
                        let op = match place.and_then(|place| items.get(place)) {
                            Some(Item::Op(_, op)) => op,
                            _ => &Op::Clear,
                        };
                        let place = place.unwrap_or(told);
                        self.tell_faults(&items, &mut told, place);
                        let why = match refused.errno() {
                            Some(errno) => refusal_text(Some(op), errno).into_owned(),
                            None => refused.detail,
                        };
                        self.tell_of(items.get(place), &why);
                        told = told.max(place + 1);
                        last_refused = Some(place);
                    }
                    RestoreEvent::End(_) => {}
                    RestoreEvent::Failed { detail, .. } => {
                        progress.clear();
                        return Err(CliError::BrokenOff(detail));
                    }
                }
            }
            progress.clear();
        }
        self.tell_faults(&items, &mut told, items.len());
        match items.last() {
            Some(Item::Fault(_, usage)) => self.last = usage.exit_code(),
            Some(Item::Op(..)) if last_refused == Some(items.len() - 1) => self.last = REFUSED,
            Some(Item::Op(..)) => self.last = 0,
            None => {}
        }
        Ok(())
    }

    /// Tells the faults from `told` up to `end`.
    fn tell_faults(&mut self, items: &[Item], told: &mut usize, end: usize) {
        for item in items.iter().take(end).skip(*told) {
            if let Item::Fault(_, usage) = item {
                self.tell_of(Some(item), &usage.to_string());
            }
        }
        *told = end.max(*told);
    }

    fn tell_of(&mut self, item: Option<&Item>, why: &str) {
        self.failures += 1;
        match item {
            Some(Item::Op(line, op)) if self.names_lines => {
                let mut command = Vec::new();
                // Writing into memory does not fail.
                let _ = write_op(&mut command, op);
                let command = String::from_utf8_lossy(&command);
                tell(&format!("line {line}: {why}: {}", command.trim_end()));
            }
            Some(Item::Fault(line, _)) if self.names_lines => {
                tell(&format!("line {line}: {}", why.trim_end()));
            }
            _ => tell(why),
        }
    }
}

/// A line on the terminal that is written over and over.
struct Progress {
    shown: bool,
    wanted: bool,
}

impl Progress {
    fn new(commands: usize) -> Self {
        Self {
            shown: false,
            wanted: commands >= LONG && io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, done: usize, total: usize) {
        if self.wanted {
            self.shown = true;
            let percent = done * 100 / total.max(1);
            let _ = write!(io::stderr(), "\r{done} of {total} commands, {percent} %");
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

//! The commands of a request, as a text: lines of the input as they are, if the daemon reads them as
//! this program does.

use std::{cell::Cell, io, net::Ipv4Addr, ops::Range};

use crate::{
    ipvsadm::{CommandLine, Line, Lines, Numeric, ParseError, Resolver, parse, write_op},
    model::{Op, Protocol},
};

/// Commands for one request.
#[derive(Clone, Debug)]
pub(super) struct Commands<'a> {
    input: &'a str,
    text: Text,
    numbers: Numbers,
    /// Lines of the text.
    lines: usize,
    count: usize,
}

/// The text. A line of it that has no command is empty.
#[derive(Clone, Debug)]
enum Text {
    /// A part of the input: a copy of a large one would take longer than its execution.
    Input(Range<usize>),
    Written(Vec<u8>),
}

/// The numbers in the input of the lines of the text.
#[derive(Clone, Debug)]
enum Numbers {
    /// The commands are not from lines.
    None,
    /// This many lines of the input precede the text.
    After(usize),
    Each(Vec<usize>),
}

/// A resolver that notes whether it is asked. A line without names means the same to the daemon.
struct Watched<'a> {
    resolver: &'a dyn Resolver,
    is_asked: Cell<bool>,
}

/// Parses a line. The second value says whether it is numeric: it has no names to resolve.
pub(super) fn parse_line(
    program: &str,
    line: &Line<'_>,
    resolver: &dyn Resolver,
) -> (Result<CommandLine, ParseError>, bool) {
    let watched = Watched {
        resolver,
        is_asked: Cell::new(false),
    };
    let parsed = parse(program, &line.words, &watched);
    (parsed, !watched.is_asked.get())
}

// === impl Commands ===

impl<'a> Commands<'a> {
    /// No commands yet, of the lines of an input.
    pub(super) fn of_lines(input: &'a str) -> Self {
        Self {
            input,
            text: Text::Input(0..0),
            numbers: Numbers::After(0),
            lines: 0,
            count: 0,
        }
    }

    /// Commands that no line of an input has.
    pub(super) fn of_ops<'b>(ops: impl IntoIterator<Item = &'b Op>) -> io::Result<Self> {
        let mut commands = Self {
            text: Text::Written(Vec::new()),
            numbers: Numbers::None,
            ..Self::of_lines("")
        };
        for op in ops {
            commands.write(op)?;
        }
        Ok(commands)
    }

    /// The only command of a command line.
    pub(super) fn of_command_line(op: &Op) -> io::Result<Self> {
        Ok(Self {
            numbers: Numbers::After(0),
            ..Self::of_ops([op])?
        })
    }

    /// Adds a line of the input and the command that it has.
    pub(super) fn push(&mut self, line: &Line<'_>, op: &Op, is_numeric: bool) -> io::Result<()> {
        let Line { number, range, .. } = line;
        if self.count == 0 {
            self.numbers = Numbers::After(number - 1);
            self.text = Text::Input(range.start..range.start);
        }
        let before = self.number(0);
        match &mut self.text {
            Text::Input(text) if is_numeric && has_no_words(self.input, text.end..range.start) => {
                text.end = range.end;
                self.lines = number - before;
                self.count += 1;
                return Ok(());
            }
            Text::Input(text) => {
                let mut copy = self.input.as_bytes()[text.clone()].to_vec();
                if !copy.is_empty() && !copy.ends_with(b"\n") {
                    copy.push(b'\n');
                }
                self.text = Text::Written(copy);
            }
            Text::Written(_) => {}
        }
        if let Text::Written(text) = &mut self.text {
            text.resize(text.len() + (number - 1 - before - self.lines), b'\n');
            self.lines = number - 1 - before;
        }
        self.write(op)
    }

    fn write(&mut self, op: &Op) -> io::Result<()> {
        if let Text::Written(text) = &mut self.text {
            write_op(text, op)?;
        }
        self.lines += 1;
        self.count += 1;
        Ok(())
    }

    /// The number of commands.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The text for the request, one command per line.
    pub(super) fn text(&self) -> &[u8] {
        match &self.text {
            Text::Input(text) => &self.input.as_bytes()[text.clone()],
            Text::Written(text) => text,
        }
    }

    /// The number in the input of a line of the text; 0 if the input has no lines.
    pub(super) fn number(&self, line: usize) -> usize {
        match &self.numbers {
            Numbers::None => 0,
            Numbers::After(before) => before + line,
            Numbers::Each(numbers) => {
                let number = line.checked_sub(1).and_then(|index| numbers.get(index));
                number.copied().unwrap_or_default()
            }
        }
    }

    /// The same commands as the shortest text: each as `ipvsctl -S` writes it, without empty lines.
    pub(super) fn shortened(&self) -> io::Result<Self> {
        let mut shortened = Self::of_ops([])?;
        let mut numbers = Vec::with_capacity(self.count);
        for line in self.lines() {
            if let Some(op) = op(&line) {
                shortened.write(&op)?;
                numbers.push(self.number(line.number));
            }
        }
        if !matches!(self.numbers, Numbers::None) {
            shortened.numbers = Numbers::Each(numbers);
        }
        Ok(shortened)
    }

    /// The line of the last command in the text; 0 without commands.
    pub(super) fn last_line(&self) -> usize {
        self.lines
    }

    /// The lines of the text.
    pub(super) fn lines(&self) -> Lines<'_> {
        // Both kinds of text are UTF-8.
        Lines::new(std::str::from_utf8(self.text()).unwrap_or_default())
    }

    /// The command, if there is only one.
    pub(super) fn single(&self) -> Option<Op> {
        let line = self.lines().next().filter(|_| self.count == 1)?;
        op(&line)
    }
}

/// The command of a line of the text.
pub(super) fn op(line: &Line<'_>) -> Option<Op> {
    match parse("ipvsadm", &line.words, &Numeric) {
        Ok(CommandLine::Change(op)) => Some(op),
        _ => None,
    }
}

/// Whether a part of the input consists of blanks and newlines.
fn has_no_words(input: &str, part: Range<usize>) -> bool {
    input.as_bytes()[part]
        .iter()
        .all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

// === impl Watched ===

impl Resolver for Watched<'_> {
    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        self.is_asked.set(true);
        self.resolver.host(name)
    }

    fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.is_asked.set(true);
        self.resolver.port(name, protocol)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    struct Names;

    impl Resolver for Names {
        fn host(&self, name: &str) -> Option<Ipv4Addr> {
            (name == "web").then_some(Ipv4Addr::new(192, 0, 2, 7))
        }

        fn port(&self, name: &str, _: Protocol) -> Option<u16> {
            (name == "http").then_some(80)
        }
    }

    /// The commands of a text whose invalid lines are skipped.
    fn commands(input: &str) -> Commands<'_> {
        let mut commands = Commands::of_lines(input);
        for line in Lines::without_comments(input) {
            if let (Ok(CommandLine::Change(op)), is_numeric) = parse_line("ipvsctl", &line, &Names)
            {
                commands.push(&line, &op, is_numeric).unwrap();
            }
        }
        commands
    }

    #[test]
    fn numeric_lines_are_sent_as_they_are() {
        for input in [
            "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 10.0.0.1  -m  \n",
            "-A -t 192.0.2.1:80\n \n\n--add-server -t 192.0.2.1:80 -r 10.0.0.1",
            "-C",
        ] {
            let commands = commands(input);
            assert!(matches!(commands.text, Text::Input(_)), "{input:?}");
            assert_eq!(commands.text(), input.as_bytes());
        }
    }

    #[test]
    fn blank_lines_before_the_first_command_are_not_sent() {
        let commands = commands("\n# x\n-Z\n");
        assert_eq!(commands.text(), b"-Z\n");
        assert_eq!(commands.number(1), 3);
    }

    #[test]
    fn names_comments_and_invalid_lines_keep_the_numbers_of_the_other_lines() {
        let input = "-A -t 192.0.2.1:80 -s rr\n# x\n-Z\nnonsense\n-D -t web:http\n\n-C";
        let commands = commands(input);
        assert_eq!(
            String::from_utf8_lossy(commands.text()),
            "-A -t 192.0.2.1:80 -s rr\n\n-Z\n\n-D -t 192.0.2.7:80\n\n-C\n"
        );
        assert_eq!(commands.len(), 4);
        assert_eq!(commands.last_line(), 7);
        for line in commands.lines() {
            assert_eq!(commands.number(line.number), line.number);
        }
    }

    #[test]
    fn the_shortest_text_has_no_empty_lines_and_keeps_the_numbers() {
        for input in [
            "\n\n--add-service  --tcp-service 192.0.2.1:80\n\n \n-Z   \n",
            "\n\n--add-service --tcp-service 192.0.2.1:80\n\n# x\n--zero\n",
            "\n\n-A -t web:http\n\nnonsense\n-Z\n",
        ] {
            let shortened = commands(input).shortened().unwrap();
            let text = String::from_utf8_lossy(shortened.text()).into_owned();
            let address = if input.contains("web") {
                "192.0.2.7"
            } else {
                "192.0.2.1"
            };
            assert_eq!(text, format!("-A -t {address}:80 -s wlc\n-Z\n"));
            assert_eq!((shortened.number(1), shortened.number(2)), (3, 6));
            assert_eq!((shortened.len(), shortened.last_line()), (2, 2));
        }
        let ops = Commands::of_ops([&Op::Clear]).unwrap().shortened().unwrap();
        assert_eq!((ops.text(), ops.number(1)), (&b"-C\n"[..], 0));
    }

    #[test]
    fn a_command_is_written_if_it_has_a_name() {
        let only = commands("\n-D -t web:80\n");
        assert_eq!(only.text(), b"-D -t 192.0.2.7:80\n");
        assert_eq!(only.number(1), 2);
        assert!(matches!(only.single(), Some(Op::DeleteService(_))));
    }
}

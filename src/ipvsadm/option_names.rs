//! Lookup of options by name, and the names of options in messages.

use super::{
    option::{Command, Meaning, Opt},
    option_table::{Argument, OPTIONS, OptionSpec},
};

/// Index into [`OPTIONS`] of each short option.
static SHORT: [Option<u8>; 128] = {
    let mut table = [None; 128];
    let mut index = 0;
    while index < OPTIONS.len() {
        let letters = OPTIONS[index].short.as_bytes();
        let mut letter = 0;
        while letter < letters.len() {
            table[letters[letter] as usize] = Some(index as u8);
            letter += 1;
        }
        index += 1;
    }
    table
};

// === impl OptionSpec ===

impl OptionSpec {
    pub(super) fn find_long(name: &str) -> Option<&'static Self> {
        OPTIONS.iter().find(|spec| spec.long == name)
    }

    pub(super) fn find_short(letter: u8) -> Option<&'static Self> {
        let index = SHORT.get(usize::from(letter)).copied().flatten()?;
        OPTIONS.get(usize::from(index))
    }

    /// The option words that set `opt`.
    pub(super) fn of(opt: Opt) -> impl Iterator<Item = &'static Self> {
        OPTIONS
            .iter()
            .filter(move |spec| matches!(spec.meaning, Meaning::Opt(other, _) if other == opt))
    }

    /// Whether the option is a command (or `--help`, `--version`) rather than a modifier of one.
    pub fn is_command(&self) -> bool {
        matches!(
            self.meaning,
            Meaning::Command(_) | Meaning::Help | Meaning::Version
        )
    }

    /// The option and its argument in the shortest spelling: `-t ADDRESS`, `--pe ENGINE`.
    pub fn usage(&self) -> String {
        let name = match self.short.chars().next() {
            Some(letter) => format!("-{letter}"),
            None => format!("--{}", self.long),
        };
        self.with_argument(name)
    }

    /// The option in all spellings, and its argument: `-L, -l, --list`.
    pub fn all_spellings(&self) -> String {
        let mut names = String::new();
        for letter in self.short.chars() {
            names += &format!("-{letter}, ");
        }
        self.with_argument(format!("{names}--{}", self.long))
    }

    fn with_argument(&self, name: String) -> String {
        match self.argument {
            Argument::None => name,
            Argument::Required(placeholder) | Argument::Operands(placeholder) => {
                format!("{name} {placeholder}")
            }
            Argument::Optional(placeholder) => format!("{name} [{placeholder}]"),
        }
    }
}

// === impl Command ===

impl Command {
    /// The command's name in messages.
    pub(super) fn name(self) -> &'static str {
        let mut names = OPTIONS
            .iter()
            .filter(|spec| spec.meaning == Meaning::Command(self));
        match self {
            Self::Clear => "flush",
            _ => names.next().map_or("", |spec| spec.long),
        }
    }
}

// === impl Opt ===

impl Opt {
    /// The option's name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Service => "service-address",
            Self::Forwarding => "forwarding-method",
            _ => OptionSpec::of(self).next().map_or("", |spec| spec.long),
        }
    }
}

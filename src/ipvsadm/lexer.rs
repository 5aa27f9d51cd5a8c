//! Splits words into options as popt(3) does: clusters of short options, `-t=VALUE`, values that
//! begin with `-`.

use super::{
    error::{OptionError, ParseError, ParseResult},
    option_table::{Argument, OptionSpec},
};

/// A long option that a caller of the parser adds to ipvsadm's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtraOption {
    /// Name, without the dashes.
    pub long: &'static str,
    /// Whether the option has a value.
    pub value: ExtraValue,
    /// Whether the option is recognized only before the command, where ipvsadm has no options.
    pub only_before_command: bool,
}

/// Whether an [`ExtraOption`] has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtraValue {
    /// None.
    None,
    /// In the same word after `=`, or in the next word.
    Required,
    /// Only in the same word after `=`, and not necessarily.
    Optional,
}

/// An option with its value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'a> {
    /// An option of ipvsadm.
    Option(&'static OptionSpec, Option<&'a str>),
    /// An extra option, by its index.
    Extra(usize, Option<&'a str>),
}

/// Iterates over the words that follow the program's name.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    words: &'a [&'a str],
    extra: &'a [ExtraOption],
    next: usize,
    /// The rest of a cluster of short options.
    cluster: Option<&'a str>,
    /// Words that are neither options nor values.
    pub operands: Vec<&'a str>,
    /// Whether `--` has been read.
    only_operands: bool,
    pub command_seen: bool,
}

/// The text behind its first bytes, which are ASCII.
fn from(text: &str, bytes: usize) -> &str {
    text.get(bytes..).unwrap_or_default()
}

// === impl Lexer ===

impl<'a> Lexer<'a> {
    pub(super) fn new(words: &'a [&'a str], extra: &'a [ExtraOption]) -> Self {
        Self {
            words,
            extra,
            next: 0,
            cluster: None,
            operands: Vec::new(),
            only_operands: false,
            command_seen: false,
        }
    }

    /// The last word that was read. Messages name this word.
    pub(super) fn last_word(&self) -> &'a str {
        self.next
            .checked_sub(1)
            .and_then(|last| self.words.get(last))
            .copied()
            .unwrap_or_default()
    }

    fn error(&self, error: OptionError) -> ParseError {
        ParseError::Option {
            word: self.last_word().to_owned(),
            error,
        }
    }

    fn next_word(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    /// The next option.
    pub(super) fn next(&mut self) -> ParseResult<Option<Token<'a>>> {
        if let Some(cluster) = self.cluster.take() {
            return self.short(cluster).map(Some);
        }
        while let Some(word) = self.next_word() {
            match word.as_bytes() {
                [b'-', _, ..] if self.only_operands => self.operands.push(word),
                b"--" => self.only_operands = true,
                [b'-', b'-', ..] => return self.long(from(word, 2)).map(Some),
                [b'-', _, ..] => return self.short(from(word, 1)).map(Some),
                _ => self.operands.push(word),
            }
        }
        Ok(None)
    }

    fn long(&mut self, text: &'a str) -> ParseResult<Token<'a>> {
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let command_seen = self.command_seen;
        let extra = self
            .extra
            .iter()
            .position(|extra| extra.long == name && !(extra.only_before_command && command_seen));
        if let Some(index) = extra {
            let value = match self.extra[index].value {
                ExtraValue::None => self.value(Argument::None, inline)?,
                ExtraValue::Required => self.value(Argument::Required(""), inline)?,
                ExtraValue::Optional => inline,
            };
            return Ok(Token::Extra(index, value));
        }
        let spec = OptionSpec::find_long(name).ok_or_else(|| self.error(OptionError::Unknown))?;
        Ok(Token::Option(spec, self.value(spec.argument, inline)?))
    }

    /// The first of a cluster of short options.
    fn short(&mut self, cluster: &'a str) -> ParseResult<Token<'a>> {
        let letter = cluster.bytes().next();
        let spec = letter
            .and_then(OptionSpec::find_short)
            .ok_or_else(|| self.error(OptionError::Unknown))?;
        let rest = from(cluster, 1);
        let inline = match rest.as_bytes() {
            [] => None,
            [b'=', ..] => Some(from(rest, 1)),
            _ => Some(rest),
        };
        match spec.argument {
            Argument::None if rest.as_bytes().first() == Some(&b'=') => {
                Err(self.error(OptionError::UnexpectedValue))
            }
            Argument::None => {
                self.cluster = inline;
                Ok(Token::Option(spec, None))
            }
            argument => Ok(Token::Option(spec, self.value(argument, inline)?)),
        }
    }

    fn value(
        &mut self,
        argument: Argument,
        inline: Option<&'a str>,
    ) -> ParseResult<Option<&'a str>> {
        match (argument, inline) {
            (Argument::None | Argument::Operands(_), None) => Ok(None),
            (Argument::None | Argument::Operands(_), Some(_)) => {
                Err(self.error(OptionError::UnexpectedValue))
            }
            (_, Some(value)) => Ok(Some(value)),
            (Argument::Required(_), None) => match self.next_word() {
                Some(word) => Ok(Some(word)),
                None => Err(self.error(OptionError::MissingValue)),
            },
            (Argument::Optional(_), None) => match self.words.get(self.next) {
                Some(word) if word.as_bytes().first() != Some(&b'-') => Ok(self.next_word()),
                _ => Ok(None),
            },
        }
    }
}

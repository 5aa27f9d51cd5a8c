//! Words to options, as popt does it: clusters, `-t=VALUE`, values that begin with `-`.

use super::{
    error::{Usage, WordFault},
    option::{Spec, Takes},
};

/// An option of the caller's own, beside ipvsadm's: long, and recognised only where ipvsadm has
/// none of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnOption {
    /// Its name without the dashes.
    pub name: &'static str,
    /// Whether it takes a value.
    pub takes_value: bool,
    /// Whether it is recognised only before the command, where ipvsadm has no option at all.
    pub only_before_command: bool,
}

/// What the lexer found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'a> {
    /// One of ipvsadm's options.
    Option(&'static Spec, Option<&'a str>),
    /// The caller's own option, by its place in the list.
    Own(usize, Option<&'a str>),
}

/// Walks over the words after the program's name.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    words: &'a [&'a str],
    own: &'a [OwnOption],
    next: usize,
    /// What is left of a cluster of short options.
    cluster: Option<&'a str>,
    /// Words that belong to no option.
    pub leftovers: Vec<&'a str>,
    only_leftovers: bool,
    pub command_seen: bool,
}

// === impl Lexer ===

impl<'a> Lexer<'a> {
    pub(super) fn new(words: &'a [&'a str], own: &'a [OwnOption]) -> Self {
        Self {
            words,
            own,
            next: 0,
            cluster: None,
            leftovers: Vec::new(),
            only_leftovers: false,
            command_seen: false,
        }
    }

    /// The word that was taken last: the one that messages name.
    pub(super) fn last_word(&self) -> &'a str {
        self.next
            .checked_sub(1)
            .and_then(|last| self.words.get(last))
            .copied()
            .unwrap_or_default()
    }

    fn fault(&self, fault: WordFault) -> Usage {
        Usage::Word {
            word: self.last_word().to_owned(),
            fault,
        }
    }

    fn take_word(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    /// The next option.
    pub(super) fn next(&mut self) -> Result<Option<Token<'a>>, Usage> {
        if let Some(cluster) = self.cluster.take() {
            return self.short(cluster).map(Some);
        }
        while let Some(word) = self.take_word() {
            let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
                self.leftovers.push(word);
                continue;
            };
            if self.only_leftovers {
                self.leftovers.push(word);
                continue;
            }
            if rest == "-" {
                self.only_leftovers = true;
                continue;
            }
            return match rest.strip_prefix('-') {
                Some(long) => self.long(long).map(Some),
                None => self.short(rest).map(Some),
            };
        }
        Ok(None)
    }

    fn long(&mut self, text: &'a str) -> Result<Token<'a>, Usage> {
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let command_seen = self.command_seen;
        let own = self
            .own
            .iter()
            .position(|own| own.name == name && !(own.only_before_command && command_seen));
        if let Some(place) = own {
            let takes = match self.own[place].takes_value {
                true => Takes::Value,
                false => Takes::Nothing,
            };
            return Ok(Token::Own(place, self.value(takes, inline)?));
        }
        let spec = Spec::find_long(name).ok_or_else(|| self.fault(WordFault::Unknown))?;
        Ok(Token::Option(spec, self.value(spec.takes, inline)?))
    }

    /// The first of a cluster of short options.
    fn short(&mut self, cluster: &'a str) -> Result<Token<'a>, Usage> {
        let letter = cluster.bytes().next();
        let spec = letter
            .and_then(Spec::find_short)
            .ok_or_else(|| self.fault(WordFault::Unknown))?;
        // All letters are ASCII.
        let rest = cluster.get(1..).unwrap_or_default();
        let stripped = rest.strip_prefix('=').unwrap_or(rest);
        let inline = (!rest.is_empty()).then_some(stripped);
        match spec.takes {
            Takes::Nothing if rest.starts_with('=') => Err(self.fault(WordFault::NoValueTaken)),
            Takes::Nothing => {
                self.cluster = inline;
                Ok(Token::Option(spec, None))
            }
            takes => Ok(Token::Option(spec, self.value(takes, inline)?)),
        }
    }

    fn value(&mut self, takes: Takes, inline: Option<&'a str>) -> Result<Option<&'a str>, Usage> {
        match (takes, inline) {
            (Takes::Nothing, None) => Ok(None),
            (Takes::Nothing, Some(_)) => Err(self.fault(WordFault::NoValueTaken)),
            (_, Some(value)) => Ok(Some(value)),
            (Takes::Value, None) => match self.take_word() {
                Some(word) => Ok(Some(word)),
                None => Err(self.fault(WordFault::NoValue)),
            },
            (Takes::Optional, None) => match self.words.get(self.next) {
                Some(word) if !word.starts_with('-') => Ok(self.take_word()),
                _ => Ok(None),
            },
        }
    }
}

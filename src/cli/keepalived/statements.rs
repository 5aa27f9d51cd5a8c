//! The grammar of keepalived.conf: a statement is a line of words, and may have a block of statements in
//! braces.

use std::iter::Peekable;

use super::lines::Line;
use crate::cli::{
    conversion::{Conversion, Place},
    error::CliError,
};

/// A word of a statement, without its quotation marks.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub text: String,
    pub place: Place,
}

/// A keyword with arguments, and the block of the statement.
#[derive(Debug)]
pub(super) struct Statement {
    keyword: Word,
    pub arguments: Vec<Word>,
    pub block: Vec<Statement>,
}

/// Why a text is no configuration.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub place: Place,
    pub message: &'static str,
}

#[derive(Debug)]
enum Token {
    Word(Word),
    Open(Place),
    Close(Place),
    End,
}

/// Blocks in each other. keepalived has four.
const MAX_DEPTH: usize = 16;

/// Parses the lines of a configuration.
pub(super) fn parse(lines: &[Line]) -> Result<Vec<Statement>, SyntaxError> {
    let mut tokens = Vec::new();
    for line in lines {
        split(line, &mut tokens)?;
        tokens.push(Token::End);
    }
    block(&mut tokens.into_iter().peekable(), None, 0)
}

/// Parses the statements of a block, which begins at `open`, or of the whole text.
fn block(
    tokens: &mut Peekable<impl Iterator<Item = Token>>,
    open: Option<Place>,
    depth: usize,
) -> Result<Vec<Statement>, SyntaxError> {
    let mut statements = Vec::new();
    loop {
        match (tokens.next(), open) {
            (Some(Token::End), _) => {}
            (Some(Token::Word(keyword)), _) => {
                statements.push(statement(keyword, tokens, depth)?);
            }
            (Some(Token::Open(place)), _) => {
                return Err(SyntaxError::new(place, "{ without a keyword before it"));
            }
            (Some(Token::Close(_)), Some(_)) | (None, None) => return Ok(statements),
            (Some(Token::Close(place)), None) => {
                return Err(SyntaxError::new(place, "} without a { before it"));
            }
            (None, Some(place)) => return Err(SyntaxError::new(place, "{ without a } behind it")),
        }
    }
}

fn statement(
    keyword: Word,
    tokens: &mut Peekable<impl Iterator<Item = Token>>,
    depth: usize,
) -> Result<Statement, SyntaxError> {
    let mut arguments = Vec::new();
    while let Some(Token::Word(_)) = tokens.peek() {
        if let Some(Token::Word(word)) = tokens.next() {
            arguments.push(word);
        }
    }
    // A brace may be in the next line.
    while tokens
        .next_if(|token| matches!(token, Token::End))
        .is_some()
    {}
    let open = match tokens.next_if(|token| matches!(token, Token::Open(_))) {
        Some(Token::Open(place)) => Some(place),
        _ => None,
    };
    let block = match open {
        Some(place) if depth == MAX_DEPTH => {
            return Err(SyntaxError::new(place, "too many blocks in each other"));
        }
        Some(_) => block(tokens, open, depth + 1)?,
        None => Vec::new(),
    };
    Ok(Statement {
        keyword,
        arguments,
        block,
    })
}

/// Splits a line into tokens. Quotation marks join words and are dropped, and so are backslashes.
fn split(line: &Line, tokens: &mut Vec<Token>) -> Result<(), SyntaxError> {
    let mut characters = line.text.chars().enumerate().peekable();
    let place = |index: usize| Place {
        column: index + 1,
        ..line.place
    };
    while let Some(&(start, c)) = characters.peek() {
        match c {
            '{' | '}' => {
                characters.next();
                tokens.push(match c {
                    '{' => Token::Open(place(start)),
                    _ => Token::Close(place(start)),
                });
            }
            c if c.is_whitespace() => drop(characters.next()),
            _ => {
                let text = word(&mut characters);
                let text = text.map_err(|index| {
                    SyntaxError::new(place(index), "a quotation mark without a second one")
                })?;
                let place = place(start);
                tokens.push(Token::Word(Word { text, place }));
            }
        }
    }
    Ok(())
}

/// The next word; the place of a quotation mark without a second one as an error.
fn word(characters: &mut Peekable<impl Iterator<Item = (usize, char)>>) -> Result<String, usize> {
    let mut text = String::new();
    let mut quote = None;
    // `${NAME}` that is no parameter.
    let mut is_reference = false;
    while let Some(&(index, c)) = characters.peek() {
        let is_quoted = quote.is_some();
        match c {
            '"' | '\'' if quote.is_none_or(|(_, mark)| mark == c) => {
                quote = match is_quoted {
                    true => None,
                    false => Some((index, c)),
                };
            }
            '\\' => {
                characters.next();
                text.extend(characters.peek().map(|(_, c)| *c));
            }
            '{' if text.ends_with('$') => {
                is_reference = true;
                text.push(c);
            }
            '}' if is_reference => {
                is_reference = false;
                text.push(c);
            }
            c if !is_quoted && (c.is_whitespace() || matches!(c, '{' | '}')) => break,
            c => text.push(c),
        }
        characters.next();
    }
    match quote {
        Some((index, _)) => Err(index),
        None => Ok(text),
    }
}

// === impl SyntaxError ===

impl SyntaxError {
    fn new(place: Place, message: &'static str) -> Self {
        Self { place, message }
    }
}

// === impl Statement ===

impl Statement {
    pub(super) fn keyword(&self) -> &str {
        &self.keyword.text
    }

    /// Where the statement begins.
    pub(super) fn place(&self) -> Place {
        self.keyword.place
    }

    /// The keyword as a word.
    pub(super) fn first(&self) -> &Word {
        &self.keyword
    }

    /// An argument, which must be there. `what` is its name.
    pub(super) fn argument(
        &self,
        index: usize,
        what: &str,
        conversion: &Conversion,
    ) -> Result<&Word, CliError> {
        self.arguments.get(index).ok_or_else(|| {
            let message = format!("{}: {what} expected", self.keyword());
            conversion.error(self.place(), message)
        })
    }

    /// Notes that the statement is not converted, nor its block.
    pub(super) fn leave_out(&self, conversion: &mut Conversion) {
        conversion.note(self.place(), &format!("{}: left out", self.keyword()));
    }
}

//! The text that `-R` reads: a command line a line, words between blanks, no quotes, no comments.

use std::{iter::Peekable, str::Chars};

/// The longest word in bytes; the original divides a longer one.
pub const WORD_MAX: usize = 4096;

/// One line that says something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// Its words, without those that are `ipvsadm`.
    pub words: Vec<String>,
}

/// The lines of a text, without the empty ones.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    chars: Peekable<Chars<'a>>,
    number: usize,
    comments: bool,
}

// === impl Lines ===

impl<'a> Lines<'a> {
    /// Reads `text` as `ipvsadm -R` does.
    pub fn new(text: &'a str) -> Self {
        Self {
            chars: text.chars().peekable(),
            number: 0,
            comments: false,
        }
    }

    /// The same without the lines that begin with `#`, as `ipvsadm-restore` does.
    pub fn without_comments(text: &'a str) -> Self {
        Self {
            comments: true,
            ..Self::new(text)
        }
    }

    /// The words of the next line; `None` at the end of the text.
    fn line(&mut self) -> Option<Vec<String>> {
        if self.comments && self.chars.peek() == Some(&'#') {
            self.chars.by_ref().find(|c| *c == '\n')?;
            return Some(Vec::new());
        }
        let mut words = Vec::new();
        let mut word = String::new();
        let mut blanks = 0;
        loop {
            let next = self.chars.next();
            let ends_word = matches!(next, None | Some(' ' | '\t' | '\r' | '\n'));
            if ends_word || word.len() + next.map_or(0, char::len_utf8) > WORD_MAX {
                let word = std::mem::take(&mut word);
                if !word.is_empty() && word != "ipvsadm" {
                    words.push(word);
                }
            }
            match next {
                Some('\n') => return Some(words),
                Some(' ' | '\t' | '\r') => blanks += 1,
                Some(other) => {
                    blanks = 0;
                    word.push(other);
                }
                // The original loses a last line that ends in two blanks and no newline.
                None if blanks < 2 && !words.is_empty() => return Some(words),
                None => return None,
            }
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        loop {
            self.number += 1;
            let number = self.number;
            let words = self.line()?;
            if !words.is_empty() {
                return Some(Line { number, words });
            }
        }
    }
}

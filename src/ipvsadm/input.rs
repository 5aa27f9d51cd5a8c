//! Splits the input of `-R` into command lines: one per line, words separated by blanks, without
//! quoting or comments.

use std::ops::Range;

/// Maximum length of a word in bytes. ipvsadm splits a longer one.
const WORD_MAX: usize = 4096;

/// Maximum number of words of a line. Further ones are ignored: a line with as many is no valid
/// command, and each word takes eight times the memory of its text.
const MAX_WORDS: usize = 1024;

/// A line that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Line number, from 1.
    pub number: usize,
    /// Place in the text in bytes, with the newline.
    pub range: Range<usize>,
    /// Words, except those that equal `ipvsadm`; at most [`MAX_WORDS`].
    pub words: Vec<&'a str>,
}

/// Iterator over the lines of a text that are not empty.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a str,
    /// Length of the text.
    length: usize,
    number: usize,
    skip_comments: bool,
}

/// Initial capacity for the words of a line.
const WORDS: usize = 8;

// === impl Lines ===

impl<'a> Lines<'a> {
    /// Splits `text` as `ipvsadm -R` does.
    pub fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            length: text.len(),
            number: 0,
            skip_comments: false,
        }
    }

    /// Like [`Self::new`], but skips lines that begin with `#`, as `ipvsadm-restore` does.
    pub fn without_comments(text: &'a str) -> Self {
        Self {
            skip_comments: true,
            ..Self::new(text)
        }
    }

    /// The next line; `None` at the end of the text.
    fn line(&mut self) -> Option<&'a str> {
        if let Some((line, rest)) = self.rest.split_once('\n') {
            self.rest = rest;
            return Some(line);
        }
        let last = std::mem::take(&mut self.rest);
        let blanks = last.bytes().rev().take_while(|b| is_blank(*b)).count();
        // ipvsadm drops a last line that ends in two blanks without a newline.
        (!last.is_empty() && blanks < 2).then_some(last)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        loop {
            let start = self.length - self.rest.len();
            let line = self.line()?;
            self.number += 1;
            if self.skip_comments && line.starts_with('#') {
                continue;
            }
            let words = words(line);
            if !words.is_empty() {
                return Some(Line {
                    number: self.number,
                    range: start..self.length - self.rest.len(),
                    words,
                });
            }
        }
    }
}

fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::with_capacity(WORDS);
    let mut start = 0;
    for (end, byte) in line.bytes().enumerate() {
        if is_blank(byte) {
            push_word(&mut words, &line[start..end]);
            start = end + 1;
        }
    }
    push_word(&mut words, &line[start..]);
    words
}

/// Adds what is between two blanks.
fn push_word<'a>(words: &mut Vec<&'a str>, mut word: &'a str) {
    while !word.is_empty() && words.len() < MAX_WORDS {
        let (piece, rest) = match word.len() <= WORD_MAX {
            true => (word, ""),
            false => word.split_at(word.floor_char_boundary(WORD_MAX)),
        };
        if piece != "ipvsadm" {
            words.push(piece);
        }
        word = rest;
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

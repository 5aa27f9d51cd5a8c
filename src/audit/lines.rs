//! Reading of lines, the last one first, in bounded memory.

use std::{fs::File, io, os::unix::fs::FileExt};

/// The lines of a file before a position, the last one first.
pub(super) struct BackwardLines {
    file: File,
    /// Place of the buffer in the file.
    position: u64,
    /// What has been read and not returned.
    buffer: Vec<u8>,
    /// The end of the buffer is within a line that is too long.
    in_long_line: bool,
}

/// A line without its end.
pub(super) struct TextLine {
    /// Place in the file.
    pub(super) start: u64,
    pub(super) text: Vec<u8>,
}

/// Longest line that is returned. Those of the audit trail are much shorter.
pub(super) const MAX_LINE: usize = 64 << 10;
/// Bytes that are read at once.
const BLOCK: usize = 64 << 10;

// === impl BackwardLines ===

impl BackwardLines {
    /// The lines before `end`, which is the end of a line or of the file.
    pub(super) fn new(file: File, end: u64) -> Self {
        Self {
            file,
            position: end,
            buffer: Vec::new(),
            in_long_line: false,
        }
    }

    /// How far the file has been read.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next line; `None` after the first line of the file. Lines that are too long are left out.
    pub(super) fn next(&mut self) -> io::Result<Option<TextLine>> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
            }
            if self.position == 0 {
                return Ok(None);
            }
            if self.buffer.len() > MAX_LINE {
                self.in_long_line = true;
                self.buffer.clear();
            }
            self.read_block()?;
        }
    }

    /// Takes the last line of the buffer, if all of it is there.
    fn take_line(&mut self) -> Option<TextLine> {
        loop {
            let body = match self.buffer.last() {
                None => return None,
                Some(b'\n') if !self.in_long_line => self.buffer.len() - 1,
                Some(_) => self.buffer.len(),
            };
            let body = self.buffer.get(..body).unwrap_or_default();
            let newline = body.iter().rposition(|byte| *byte == b'\n');
            let start = match newline {
                Some(at) => at + 1,
                None if self.position == 0 => 0,
                None => return None,
            };
            let text = body.get(start..).unwrap_or_default().to_vec();
            self.buffer.truncate(start);
            let was_long = std::mem::take(&mut self.in_long_line) || text.len() > MAX_LINE;
            if !was_long {
                let start = self.position + start as u64;
                return Some(TextLine { start, text });
            }
        }
    }

    /// Reads the block before the buffer.
    fn read_block(&mut self) -> io::Result<()> {
        let size = self.position.min(BLOCK as u64);
        let start = self.position - size;
        let mut block = vec![0; usize::try_from(size).unwrap_or(BLOCK)];
        self.file.read_exact_at(&mut block, start)?;
        block.extend_from_slice(&self.buffer);
        self.buffer = block;
        self.position = start;
        Ok(())
    }
}

/// The first line of a file; `None` if it is too long or the file is empty.
pub(super) fn first_line(file: &File) -> io::Result<Option<Vec<u8>>> {
    let mut text = vec![0; MAX_LINE];
    let mut length = 0;
    while let Some(rest) = text.get_mut(length..).filter(|rest| !rest.is_empty()) {
        let read = file.read_at(rest, length as u64)?;
        let found = rest.get(..read).unwrap_or_default();
        if let Some(at) = found.iter().position(|byte| *byte == b'\n') {
            text.truncate(length + at);
            return Ok(Some(text));
        }
        if read == 0 {
            break;
        }
        length += read;
    }
    Ok(None)
}

//! A connection with a buffer for reading.

use std::{
    io::{self, BufRead, Read},
    ops::Range,
};

use super::connect::{Limit, Stream};

/// A stream with a buffer, which grows while reads fill it.
pub(super) struct Buffered {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    /// The bytes that have not been consumed.
    unread: Range<usize>,
}

/// Size of a read in bytes, at first and at most. Most responses are short, and a page fault for every
/// 4 KiB of a larger buffer would take longer than reading them.
const FIRST_READ: usize = 4 << 10;
const MAX_READ: usize = 64 << 10;

// === impl Buffered ===

impl Buffered {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            buffer: vec![0; FIRST_READ],
            unread: 0..0,
        }
    }

    /// Sets the time limit of the reads that follow.
    pub(super) fn set_limit(&mut self, limit: Limit) {
        self.stream.set_limit(limit);
    }
}

impl BufRead for Buffered {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread.is_empty() {
            let size = self.buffer.len();
            if self.unread.end == size && size < MAX_READ {
                self.buffer.resize(2 * size, 0);
            }
            self.unread = 0..self.stream.read(&mut self.buffer)?;
        }
        Ok(&self.buffer[self.unread.clone()])
    }

    fn consume(&mut self, amount: usize) {
        self.unread.start += amount;
    }
}

impl Read for Buffered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let amount = self.fill_buf()?.read(buffer)?;
        self.consume(amount);
        Ok(amount)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use std::io::Write;

    use super::*;

    /// Sends a text, `chunk` bytes per read.
    struct Chunks {
        text: io::Cursor<Vec<u8>>,
        chunk: usize,
    }

    impl Read for Chunks {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let max = buffer.len().min(self.chunk);
            self.text.read(&mut buffer[..max])
        }
    }

    impl Write for Chunks {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Chunks {
        fn set_limit(&mut self, _: Limit) {}
    }

    #[test]
    fn texts_that_are_longer_than_the_buffer_are_read() {
        let text: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        for (chunk, capacity) in [
            (1000, FIRST_READ),
            (FIRST_READ, MAX_READ),
            (3 * MAX_READ, MAX_READ),
        ] {
            let mut buffered = Buffered::new(Box::new(Chunks {
                text: io::Cursor::new(text.clone()),
                chunk,
            }));
            let mut read = Vec::new();
            loop {
                let part = buffered.fill_buf().unwrap();
                if part.is_empty() {
                    break;
                }
                read.extend_from_slice(part);
                let length = part.len();
                buffered.consume(length);
            }
            assert!(read == text, "reads of {chunk} bytes");
            assert!(buffered.buffer.len() <= capacity);
        }
    }
}

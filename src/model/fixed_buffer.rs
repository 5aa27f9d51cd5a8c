//! A buffer for what a listing has once per real server.

use std::fmt;

/// A buffer of fixed size: appending an array compiles to a few moves. What does not fit is left out
/// and [remembered](Self::written).
#[derive(Clone, Copy, Debug)]
pub struct FixedBuffer<const SIZE: usize> {
    bytes: [u8; SIZE],
    length: usize,
    overflow: bool,
}

// === impl FixedBuffer ===

impl<const SIZE: usize> FixedBuffer<SIZE> {
    /// An empty buffer.
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            bytes: [0; SIZE],
            length: 0,
            overflow: false,
        }
    }

    /// Empties the buffer.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.length = 0;
        self.overflow = false;
    }

    /// The number of bytes written.
    #[inline(always)]
    pub fn length(&self) -> usize {
        self.length
    }

    /// What was written; `None` if something did not fit.
    pub fn written(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length).filter(|_| !self.overflow)
    }

    /// What was written, followed by bytes without a meaning, and its length.
    pub fn padded(&self) -> (&[u8; SIZE], usize) {
        (&self.bytes, self.length)
    }

    /// Appends an array.
    #[inline(always)]
    pub fn put<const LENGTH: usize>(&mut self, bytes: &[u8; LENGTH]) {
        self.put_start(bytes, LENGTH);
    }

    /// Appends the first bytes of an array, which is copied as a whole.
    #[inline(always)]
    pub fn put_start<const LENGTH: usize>(&mut self, bytes: &[u8; LENGTH], length: usize) {
        let rest = self.bytes.get_mut(self.length..);
        match rest.and_then(|rest| rest.first_chunk_mut()) {
            Some(target) => {
                *target = *bytes;
                self.length += length;
            }
            None => self.overflow = true,
        }
    }

    /// Appends text of any length.
    pub fn put_text(&mut self, text: &str) {
        let after = self.length + text.len();
        match self.bytes.get_mut(self.length..after) {
            Some(target) => {
                target.copy_from_slice(text.as_bytes());
                self.length = after;
            }
            None => self.overflow = true,
        }
    }

    /// Replaces a byte that was written.
    #[inline(always)]
    pub fn replace(&mut self, at: usize, byte: u8) {
        match self.bytes.get_mut(at) {
            Some(target) => *target = byte,
            None => self.overflow = true,
        }
    }

    /// Removes the last byte.
    #[inline(always)]
    pub fn pop(&mut self) {
        self.length = self.length.saturating_sub(1);
    }

    /// Marks that something does not fit.
    pub fn overflow(&mut self) {
        self.overflow = true;
    }
}

impl<const SIZE: usize> Default for FixedBuffer<SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

/// Never fails: [`written`](FixedBuffer::written) reports an overflow.
impl<const SIZE: usize> fmt::Write for FixedBuffer<SIZE> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put_text(text);
        Ok(())
    }
}

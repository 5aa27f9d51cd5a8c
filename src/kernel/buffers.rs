//! Receive buffers for several datagrams.

use std::io;

/// Buffers for datagrams, filled by one system call and reused. The kernel ends each dump with a
/// datagram of its own, so one system call per datagram would dominate the cost of a listing.
#[derive(Debug)]
pub struct RecvBuffers {
    bytes: Box<[u8]>,
    size: usize,
    lengths: Vec<usize>,
}

// === impl RecvBuffers ===

impl RecvBuffers {
    /// `count` buffers of `size` bytes each; both are at least 1. Memory that is never written is
    /// not allocated by the operating system.
    pub fn new(count: usize, size: usize) -> Self {
        let (count, size) = (count.max(1), size.max(1));
        Self {
            bytes: vec![0; count * size].into_boxed_slice(),
            size,
            lengths: Vec::with_capacity(count),
        }
    }

    /// The buffers, to be filled in order. Discards the datagrams received before.
    pub fn buffers(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.lengths.clear();
        self.bytes.chunks_exact_mut(self.size)
    }

    /// Sets the lengths of the received datagrams.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if a datagram was longer than its buffer.
    pub fn set_lengths(&mut self, lengths: impl IntoIterator<Item = usize>) -> io::Result<()> {
        self.lengths.extend(lengths);
        match self.lengths.iter().find(|length| **length > self.size) {
            None => Ok(()),
            Some(length) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "a datagram of {length} bytes does not fit into {}",
                    self.size
                ),
            )),
        }
    }

    /// The received datagrams.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes
            .chunks_exact(self.size)
            .zip(&self.lengths)
            .map(|(buffer, length)| buffer.get(..*length).unwrap_or_default())
    }
}

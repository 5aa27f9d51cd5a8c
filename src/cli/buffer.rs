//! Output that is kept until it is complete.

use std::io::{self, Write};

/// The output of a listing.
#[derive(Debug, Default)]
pub(super) struct Buffer(Vec<u8>);

/// Size limit of a [`Buffer`] in bytes, that of a response of the client.
const MAX_BUFFER: usize = 256 << 20;

// === impl Buffer ===

impl Buffer {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = self.0.len() + bytes.len() <= MAX_BUFFER;
        if !fits || self.0.try_reserve(bytes.len()).is_err() {
            let text =
                format!("more than {MAX_BUFFER} bytes of one director, with --all or --watch");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

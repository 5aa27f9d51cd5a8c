//! The file `net/ip_vs_conn`.

use std::{
    fmt::{self, Debug},
    io::{self, Read},
    sync::Arc,
};

/// A read of a file in `/proc/net` returns at most one page.
const PAGE: usize = 4096;

const CONNECTION_HEADER: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData";

/// Lines without line feeds.
pub type LineIter = Box<dyn Iterator<Item = String> + Send>;

/// The source of the lines of `net/ip_vs_conn` below the header.
#[derive(Clone)]
pub(super) struct ConnectionSource(Arc<dyn Fn() -> LineIter + Send + Sync>);

impl ConnectionSource {
    pub(super) fn new(lines: impl Fn() -> LineIter + Send + Sync + 'static) -> Self {
        Self(Arc::new(lines))
    }

    pub(super) fn open(&self) -> Box<dyn Read + Send> {
        let header = std::iter::once(CONNECTION_HEADER.to_owned());
        Box::new(LineFile::new(Box::new(header.chain((self.0)()))))
    }
}

impl Default for ConnectionSource {
    fn default() -> Self {
        Self::new(|| Box::new(std::iter::empty()))
    }
}

impl Debug for ConnectionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionSource")
    }
}

/// A file whose lines are produced while it is read, so that a long file uses little memory.
struct LineFile {
    lines: LineIter,
    pending: Vec<u8>,
    read: usize,
}

impl LineFile {
    fn new(lines: LineIter) -> Self {
        Self {
            lines,
            pending: Vec::new(),
            read: 0,
        }
    }
}

impl Read for LineFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.pending.len() {
            self.pending.clear();
            self.read = 0;
            // The kernel returns whole lines, up to a page.
            while self.pending.len() < PAGE / 2 {
                let Some(line) = self.lines.next() else { break };
                self.pending.extend_from_slice(line.as_bytes());
                self.pending.push(b'\n');
            }
        }
        let rest = &self.pending[self.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}

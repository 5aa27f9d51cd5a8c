//! The files below `/proc`.

use std::{
    fmt::{self, Debug},
    io::{self, Read},
    sync::Arc,
};

use super::{counters::Counters, state::State};

/// The directory of the sysctls of IPVS.
const SYSCTL_DIRECTORY: &str = "sys/net/ipv4/vs/";
/// A read of a file in `/proc/net` returns at most one page.
const PAGE: usize = 4096;

const CONNECTION_HEADER: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData";

const TOTALS_HEADER: &str = concat!(
    "   Total Incoming Outgoing         Incoming         Outgoing\n",
    "   Conns  Packets  Packets            Bytes            Bytes\n",
);
const RATES_HEADER: &str = "\n Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n";

/// Lines without line feeds.
pub type LineIter = Box<dyn Iterator<Item = String> + Send>;

/// The source of the lines of `net/ip_vs_conn` below the header.
#[derive(Clone)]
pub(super) struct ConnectionSource(Arc<dyn Fn() -> LineIter + Send + Sync>);

impl ConnectionSource {
    pub(super) fn new(lines: impl Fn() -> LineIter + Send + Sync + 'static) -> Self {
        Self(Arc::new(lines))
    }

    fn open(&self) -> Box<dyn Read + Send> {
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

/// Opens a file for reading.
pub(super) fn open(state: &State, path: &str) -> io::Result<Box<dyn Read + Send>> {
    if let Some(text) = state.files.get(path) {
        return Ok(text_file(text.clone()));
    }
    if state.family.is_none() {
        return Err(io::ErrorKind::NotFound.into());
    }
    match path {
        "net/ip_vs_conn" => Ok(state.connections.open()),
        "net/ip_vs_stats" => Ok(text_file(totals(&state.totals))),
        "modules" => Ok(text_file(modules(state))),
        _ => {
            let name = path
                .strip_prefix(SYSCTL_DIRECTORY)
                .ok_or(io::ErrorKind::NotFound)?;
            Ok(text_file(state.sysctls.read(name, &state.modules)?))
        }
    }
}

/// Writes a file.
pub(super) fn write(state: &mut State, path: &str, text: &str) -> io::Result<()> {
    if state.family.is_none() {
        return Err(io::ErrorKind::NotFound.into());
    }
    match path {
        "net/ip_vs_conn" | "net/ip_vs_stats" => Err(io::Error::from_raw_os_error(libc::EIO)),
        _ => {
            let name = path
                .strip_prefix(SYSCTL_DIRECTORY)
                .ok_or(io::ErrorKind::NotFound)?;
            state.sysctls.write(name, text, &state.modules)
        }
    }
}

fn text_file(text: String) -> Box<dyn Read + Send> {
    Box::new(io::Cursor::new(text.into_bytes()))
}

/// `modules`: the modules of schedulers and engines, and below them IPVS.
fn modules(state: &State) -> String {
    let names = state.modules.iter().map(|name| format!("ip_vs_{name}"));
    names
        .chain(std::iter::once("ip_vs".to_owned()))
        .map(|name| format!("{name} 16384 0 - Live 0x0000000000000000\n"))
        .collect()
}

/// `net/ip_vs_stats`: total counters and rates in hexadecimal.
fn totals(counters: &Counters) -> String {
    let totals = row([
        counters.connections,
        counters.in_packets,
        counters.out_packets,
        counters.in_bytes,
        counters.out_bytes,
    ]);
    let rates = row([
        counters.connection_rate,
        counters.in_packet_rate,
        counters.out_packet_rate,
        counters.in_byte_rate,
        counters.out_byte_rate,
    ]);
    format!("{TOTALS_HEADER}{totals}{RATES_HEADER}{rates}")
}

fn row([connections, in_packets, out_packets, in_bytes, out_bytes]: [u64; 5]) -> String {
    format!("{connections:8X} {in_packets:8X} {out_packets:8X} {in_bytes:16X} {out_bytes:16X}\n")
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

//! The files below `/proc` that IPVS is read and tuned by.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    io::{self, Read},
    sync::Arc,
};

use super::{state::State, table::Counters};

/// Where the kernel keeps the tunables of IPVS.
const SYSCTL_DIRECTORY: &str = "sys/net/ipv4/vs/";
/// A real read of a file in `/proc/net` returns at most a page.
const PAGE: usize = 4096;

const CONNECTION_HEADER: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData";

/// Lines without their line feeds.
pub type Lines = Box<dyn Iterator<Item = String> + Send>;

/// What `net/ip_vs_conn` lists below its header.
#[derive(Clone)]
pub(super) struct ConnectionSource(Arc<dyn Fn() -> Lines + Send + Sync>);

impl ConnectionSource {
    pub(super) fn new(lines: impl Fn() -> Lines + Send + Sync + 'static) -> Self {
        Self(Arc::new(lines))
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

impl State {
    pub(super) fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        if let Some(text) = self.files.get(path) {
            return Ok(text_file(text.clone()));
        }
        if self.family.is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        match path {
            "net/ip_vs_conn" => {
                let header = std::iter::once(CONNECTION_HEADER.to_owned());
                Ok(Box::new(LineFile::new(Box::new(
                    header.chain((self.connections.0)()),
                ))))
            }
            "net/ip_vs_stats" => Ok(text_file(totals(&self.totals))),
            "modules" => Ok(text_file(modules(self))),
            _ => {
                let name = path
                    .strip_prefix(SYSCTL_DIRECTORY)
                    .ok_or(io::ErrorKind::NotFound)?;
                Ok(text_file(self.sysctls.read(name, self)?))
            }
        }
    }

    pub(super) fn write(&mut self, path: &str, text: &str) -> io::Result<()> {
        if self.family.is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        match path {
            "net/ip_vs_conn" | "net/ip_vs_stats" => Err(io::Error::from_raw_os_error(libc::EIO)),
            _ => {
                let name = path
                    .strip_prefix(SYSCTL_DIRECTORY)
                    .ok_or(io::ErrorKind::NotFound)?;
                let tunable = tunable(name, self)?;
                self.sysctls.write(tunable, text)
            }
        }
    }
}

fn text_file(text: String) -> Box<dyn Read + Send> {
    Box::new(io::Cursor::new(text.into_bytes()))
}

/// `modules`: the newest first, IPVS itself under those that need it.
fn modules(state: &State) -> String {
    let names = state.modules.iter().map(|name| format!("ip_vs_{name}"));
    names
        .chain(std::iter::once("ip_vs".to_owned()))
        .map(|name| format!("{name} 16384 0 - Live 0x0000000000000000\n"))
        .collect()
}

/// `net/ip_vs_stats`: totals and rates, in hexadecimal.
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

const TOTALS_HEADER: &str = concat!(
    "   Total Incoming Outgoing         Incoming         Outgoing\n",
    "   Conns  Packets  Packets            Bytes            Bytes\n",
);
const RATES_HEADER: &str = "\n Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n";

fn row([connections, in_packets, out_packets, in_bytes, out_bytes]: [u64; 5]) -> String {
    format!("{connections:8X} {in_packets:8X} {out_packets:8X} {in_bytes:16X} {out_bytes:16X}\n")
}

/// A file made line by line as it is read, so that its length costs no memory.
struct LineFile {
    lines: Lines,
    pending: Vec<u8>,
    read: usize,
}

impl LineFile {
    fn new(lines: Lines) -> Self {
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
            // Whole lines up to a page, as a real read brings them.
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

/// What a tunable takes.
#[derive(Debug, Clone, Copy)]
enum Takes {
    Int,
    Range(i32, i32),
    PowerOfTwo,
    /// An unsigned number of any size.
    Long,
    /// Two numbers, the first less than the second, or the second 0.
    Threshold,
    /// A number; there only once the scheduler's module is loaded.
    OfScheduler(&'static str),
}

/// A tunable: its name, what it takes, what it is at first.
type Tunable = (&'static str, Takes, &'static str);

/// Those of Debian's 6.1 kernel, which is built without CONFIG_IP_VS_DEBUG: no `debug_level`.
const TUNABLES: &[Tunable] = &[
    ("amemthresh", Takes::Int, "1024"),
    ("am_droprate", Takes::Int, "10"),
    ("drop_entry", Takes::Range(0, 3), "0"),
    ("drop_packet", Takes::Range(0, 3), "0"),
    ("secure_tcp", Takes::Range(0, 3), "0"),
    ("conntrack", Takes::Int, "0"),
    ("snat_reroute", Takes::Int, "1"),
    ("sync_version", Takes::Range(0, 1), "1"),
    ("sync_ports", Takes::PowerOfTwo, "1"),
    ("sync_persist_mode", Takes::Int, "0"),
    ("sync_qlen_max", Takes::Long, "15456"),
    ("sync_sock_size", Takes::Int, "0"),
    ("cache_bypass", Takes::Int, "0"),
    ("expire_nodest_conn", Takes::Int, "0"),
    ("expire_quiescent_template", Takes::Int, "0"),
    ("sloppy_tcp", Takes::Int, "0"),
    ("sloppy_sctp", Takes::Int, "0"),
    ("nat_icmp_send", Takes::Int, "0"),
    ("backup_only", Takes::Int, "0"),
    ("schedule_icmp", Takes::Int, "0"),
    ("ignore_tunneled", Takes::Int, "0"),
    ("sync_threshold", Takes::Threshold, "3\t50"),
    ("sync_refresh_period", Takes::Int, "0"),
    ("sync_retries", Takes::Range(0, 3), "0"),
    ("pmtu_disc", Takes::Int, "1"),
    ("conn_reuse_mode", Takes::Int, "1"),
    ("run_estimation", Takes::Int, "1"),
    ("lblc_expiration", Takes::OfScheduler("lblc"), "86400"),
    ("lblcr_expiration", Takes::OfScheduler("lblcr"), "86400"),
];

fn tunable(name: &str, state: &State) -> io::Result<&'static Tunable> {
    TUNABLES
        .iter()
        .find(|tunable| match tunable.1 {
            Takes::OfScheduler(module) => tunable.0 == name && state.modules.contains(module),
            _ => tunable.0 == name,
        })
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The tunables that were written.
#[derive(Debug, Default)]
pub(super) struct Sysctls {
    written: BTreeMap<&'static str, String>,
}

impl Sysctls {
    fn read(&self, name: &str, state: &State) -> io::Result<String> {
        let (name, _, default) = tunable(name, state)?;
        let value = self.written.get(name).map_or(*default, String::as_str);
        Ok(format!("{value}\n"))
    }

    fn write(&mut self, tunable: &Tunable, text: &str) -> io::Result<()> {
        let (name, takes, default) = tunable;
        let current = self.written.get(name).map_or(*default, String::as_str);
        let value = takes
            .parse(text, current)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        self.written.insert(name, value);
        Ok(())
    }
}

impl Takes {
    /// The text as the tunable would be read afterwards.
    fn parse(self, text: &str, current: &str) -> Option<String> {
        let mut words = text.split_ascii_whitespace();
        let mut number = || words.next()?.parse::<i32>().ok();
        match self {
            Takes::Int | Takes::OfScheduler(_) => Some(number()?.to_string()),
            Takes::Range(least, most) => number()
                .filter(|given| (least..=most).contains(given))
                .map(|given| given.to_string()),
            Takes::PowerOfTwo => number()
                .filter(|given| *given > 0 && given.count_ones() == 1)
                .map(|given| given.to_string()),
            Takes::Long => Some(words.next()?.parse::<u64>().ok()?.to_string()),
            Takes::Threshold => {
                let first = number()?;
                // One number alone leaves the second as it is.
                let second = match words.next() {
                    Some(word) => word.parse().ok()?,
                    None => current.split_ascii_whitespace().nth(1)?.parse().ok()?,
                };
                let fits = first >= 0 && second >= 0 && (first < second || second == 0);
                fits.then(|| format!("{first}\t{second}"))
            }
        }
    }
}

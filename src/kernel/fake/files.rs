//! The files below `/proc`.

use std::io::{self, Read};

use super::{counters::Counters, state::State};

/// The directory of the sysctls of IPVS.
const SYSCTL_DIRECTORY: &str = "sys/net/ipv4/vs/";

const TOTALS_HEADER: &str = concat!(
    "   Total Incoming Outgoing         Incoming         Outgoing\n",
    "   Conns  Packets  Packets            Bytes            Bytes\n",
);
const RATES_HEADER: &str = "\n Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n";
const COUNTED_HEADER: &str = concat!(
    "       Total Incoming Outgoing         Incoming         Outgoing\n",
    "CPU    Conns  Packets  Packets            Bytes            Bytes\n",
);
const COUNTED_RATES_HEADER: &str =
    "\n     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n";

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
        "net/ip_vs_stats_percpu" => Ok(text_file(counted(&state.totals))),
        "net/igmp" => Ok(text_file(memberships(state, false))),
        "net/igmp6" => Ok(text_file(memberships(state, true))),
        "net/udp" => Ok(text_file(state.daemons.sockets(false))),
        "net/udp6" => Ok(text_file(state.daemons.sockets(true))),
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
        "net/ip_vs_conn" | "net/ip_vs_stats" | "net/ip_vs_stats_percpu" => {
            Err(io::Error::from_raw_os_error(libc::EIO))
        }
        _ => {
            let name = path
                .strip_prefix(SYSCTL_DIRECTORY)
                .ok_or(io::ErrorKind::NotFound)?;
            let hz = state.config.hz;
            state.sysctls.write(name, text, &state.modules, hz)
        }
    }
}

fn text_file(text: String) -> Box<dyn Read + Send> {
    Box::new(io::Cursor::new(text.into_bytes()))
}

fn memberships(state: &State, v6: bool) -> String {
    state.daemons.memberships(&state.config.interfaces, v6)
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
    let [totals, rates] = rows(counters);
    format!("{TOTALS_HEADER}{totals}{RATES_HEADER}{rates}")
}

/// `net/ip_vs_stats_percpu`: the same of the only processor, and of all.
fn counted(counters: &Counters) -> String {
    let [totals, rates] = rows(counters);
    format!("{COUNTED_HEADER}  0 {totals}  ~ {totals}{COUNTED_RATES_HEADER}    {rates}")
}

/// The lines of the counters and of the rates.
fn rows(counters: &Counters) -> [String; 2] {
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
    [totals, rates]
}

fn row([connections, in_packets, out_packets, in_bytes, out_bytes]: [u64; 5]) -> String {
    format!("{connections:8X} {in_packets:8X} {out_packets:8X} {in_bytes:16X} {out_bytes:16X}\n")
}

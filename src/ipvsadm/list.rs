//! Prints the table in columns (`-L`).

use std::io::{self, Write};

use super::{
    address,
    columns::ColumnWriter,
    names::{self, Names},
    number::counter,
    sort::{self, Order},
};
use crate::model::{
    Checksum, Family, Forwarding, Netmask, Protocol, Server, Service, ServiceEntry, ServiceKey,
    Tunnel, TunnelType,
};

/// Format of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListFormat {
    /// Columns.
    pub mode: ListMode,
    /// `--exact`: print counters without units.
    pub exact: bool,
    /// `-n`: print addresses and ports as numbers.
    pub numeric: bool,
    /// `--nosort`: keep the kernel's order.
    pub unsorted: bool,
}

/// Columns of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListMode {
    /// Forwarding method, weight and connections.
    #[default]
    Plain,
    /// `--stats`
    Stats,
    /// `--rate`
    Rate,
    /// `--thresholds`
    Thresholds,
    /// `--persistent-conn`
    PersistentConn,
    /// `--tun-info`
    TunInfo,
}

// === impl ListMode ===

impl ListMode {
    /// All modes with their names, which are those of ipvsadm's options.
    pub const NAMES: [(&str, Self); 6] = [
        ("plain", Self::Plain),
        ("stats", Self::Stats),
        ("rate", Self::Rate),
        ("thresholds", Self::Thresholds),
        ("persistent-conn", Self::PersistentConn),
        ("tun-info", Self::TunInfo),
    ];

    /// Looks up a mode by name. The error lists the names.
    pub fn named(name: &str) -> Result<Self, String> {
        let named = Self::NAMES.iter().find(|(known, _)| *known == name);
        named.map(|(_, mode)| *mode).ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name).join(", ");
            format!("{name:?}: one of {names}")
        })
    }

    /// The name of the mode.
    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, mode)| *mode == self);
        named.map_or("plain", |(name, _)| name)
    }
}

/// Width of an IPv4 service. A longer name is truncated.
const SERVICE_WIDTH: usize = 33;
/// Width of an IPv4 server. A longer name is truncated.
const SERVER_WIDTH: usize = 28;

/// Writes the first line of a listing of the whole table.
pub fn write_version(
    out: &mut dyn Write,
    ipvs_version: &str,
    connection_table_size: u32,
) -> io::Result<()> {
    writeln!(
        out,
        "IP Virtual Server version {ipvs_version} (size={connection_table_size})"
    )
}

/// Writes the table with its header lines.
pub fn write_list(
    out: &mut dyn Write,
    entries: &[ServiceEntry],
    format: ListFormat,
    names: &dyn Names,
) -> io::Result<()> {
    header(out, format.mode)?;
    let order = if format.unsorted {
        Order::Kernel
    } else {
        Order::Sorted
    };
    let mut line = ColumnWriter::default();
    for entry in sort::services(entries, order) {
        service(out, &entry.service, format, names)?;
        let protocol = names::protocol_of(entry.service.key);
        for one in sort::servers(entry, order) {
            line.text.clear();
            server(&mut line, one, protocol, format, names);
            out.write_all(line.text.as_bytes())?;
        }
    }
    Ok(())
}

fn header(out: &mut dyn Write, mode: ListMode) -> io::Result<()> {
    let local = "Prot LocalAddress:Port";
    let remote = "  -> RemoteAddress:Port";
    match mode {
        ListMode::Plain => writeln!(
            out,
            "{local} Scheduler Flags\n\
             {remote}           Forward Weight ActiveConn InActConn"
        ),
        ListMode::TunInfo => writeln!(
            out,
            "{local} Scheduler Flags\n\
             {remote}           Forward TunnelInfo    Weight ActiveConn InActConn"
        ),
        ListMode::Stats => writeln!(
            out,
            "{local:<33} {:>8} {:>8} {:>8} {:>8} {:>8}\n{remote}",
            "Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"
        ),
        ListMode::Rate => writeln!(
            out,
            "{local:<33} {:>8} {:>8} {:>8} {:>8} {:>8}\n{remote}",
            "CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"
        ),
        ListMode::Thresholds => writeln!(
            out,
            "{local:<33} {:<10} {:<10} {:<10} {:<10}\n{remote}",
            "Uthreshold", "Lthreshold", "ActiveConn", "InActConn"
        ),
        ListMode::PersistentConn => writeln!(
            out,
            "{local:<33} {:<9} {:<11} {:<10} {:<10}\n{remote}",
            "Weight", "PersistConn", "ActiveConn", "InActConn"
        ),
    }
}

fn service(
    out: &mut dyn Write,
    service: &Service,
    format: ListFormat,
    names: &dyn Names,
) -> io::Result<()> {
    let name = service_name(service.key, names);
    let counters = |out: &mut dyn Write, values: [u64; 5]| {
        let mut line = ColumnWriter::default();
        for value in values {
            counter(&mut line, value, format.exact);
        }
        writeln!(out, "{name:<SERVICE_WIDTH$}{}", line.text)
    };
    match format.mode {
        ListMode::Stats => counters(out, service.stats.values()),
        ListMode::Rate => counters(out, service.rates.values()),
        _ => {
            let config = &service.config;
            write!(out, "{name} {}", config.scheduler)?;
            if !config.scheduler_flags.is_empty() {
                let flags: Vec<_> = config
                    .scheduler_flags
                    .names(config.scheduler)
                    // ipvsadm does not print the third flag of these schedulers.
                    .filter(|flag| {
                        *flag != "flag-3" || !matches!(config.scheduler.as_str(), "sh" | "mh")
                    })
                    .collect();
                write!(out, " ({})", flags.join(","))?;
            }
            if let Some(timeout) = config.persistence_timeout {
                write!(out, " persistent {timeout}")?;
                match config.netmask {
                    mask if mask.is_full() => {}
                    Netmask::V4(mask) => write!(out, " mask {mask}")?,
                    Netmask::V6(length) => write!(out, " mask {length}")?,
                }
                if let Some(engine) = config.persistence_engine {
                    write!(out, " pe {engine}")?;
                }
            }
            if config.one_packet {
                write!(out, " ops")?;
            }
            writeln!(out)
        }
    }
}

fn server(
    line: &mut ColumnWriter,
    server: &Server,
    protocol: Option<Protocol>,
    format: ListFormat,
    names: &dyn Names,
) {
    let Server {
        key,
        config,
        effective_weight,
        holds: _,
        membership: _,
        active_connections,
        inactive_connections,
        persistent_connections,
        stats,
        rates,
    } = server;
    line.text.push_str("  -> ");
    let start = line.text.len();
    address::append(line, key.address, key.port, protocol, names);
    if key.address.is_ipv4() {
        address::truncate(&mut line.text, start + SERVER_WIDTH);
    }
    line.fill(start, SERVER_WIDTH);
    match format.mode {
        ListMode::Plain => {
            line.left(forwarding(config.forwarding), 7);
            line.left_number(*effective_weight, 6);
        }
        ListMode::TunInfo => {
            line.left(forwarding(config.forwarding), 7);
            line.left(&tunnel(config.forwarding, config.tunnel), 13);
            line.left_number(*effective_weight, 6);
        }
        ListMode::Thresholds => {
            line.left_number(config.upper_threshold, 10);
            line.left_number(config.lower_threshold, 10);
        }
        ListMode::PersistentConn => {
            line.left_number(*effective_weight, 9);
            line.left_number(*persistent_connections, 11);
        }
        ListMode::Stats => {
            for value in stats.values() {
                counter(line, value, format.exact);
            }
        }
        ListMode::Rate => {
            let [rates @ .., bytes_in, bytes_out] = rates.values();
            for rate in rates {
                line.text.push(' ');
                line.right_number(rate, 8);
            }
            for value in [bytes_in, bytes_out] {
                counter(line, value, format.exact);
            }
        }
    }
    if !matches!(format.mode, ListMode::Stats | ListMode::Rate) {
        line.left_number(*active_connections, 10);
        line.left_number(*inactive_connections, 10);
    }
    line.text.push('\n');
}

/// `TCP  192.0.2.1:80`, `FWM  7 IPv6`.
fn service_name(key: ServiceKey, names: &dyn Names) -> String {
    match key {
        ServiceKey::Fwmark { family, mark } => {
            let family = match family {
                Family::Ipv4 => "",
                Family::Ipv6 => " IPv6",
            };
            format!("FWM  {mark}{family}")
        }
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => {
            let kind = match protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
                Protocol::Other(_) => "?",
            };
            let endpoint = address::print(address, port, Some(protocol), names);
            let mut name = format!("{kind:<4} {endpoint}");
            if address.is_ipv4() {
                address::truncate(&mut name, SERVICE_WIDTH);
            }
            name
        }
    }
}

fn forwarding(forwarding: Forwarding) -> &'static str {
    match forwarding {
        Forwarding::Masquerade => "Masq",
        Forwarding::Local => "Local",
        Forwarding::Tunnel => "Tunnel",
        Forwarding::Direct => "Route",
        Forwarding::Bypass | Forwarding::Other(_) => "(null)",
    }
}

fn tunnel(forwarding: Forwarding, tunnel: Tunnel) -> String {
    if forwarding != Forwarding::Tunnel {
        return "n/a".to_owned();
    }
    let checksum = match tunnel.checksum {
        Checksum::None => "-c",
        Checksum::Checksum => "+c",
        Checksum::Remote => "r+c",
        // ipvsadm crashes here.
        Checksum::Other(_) => "?",
    };
    match tunnel.kind {
        TunnelType::Ipip => "ipip".to_owned(),
        TunnelType::Gue => format!("gue:{}:{checksum}", tunnel.port),
        TunnelType::Gre => format!("gre:{checksum}"),
        TunnelType::Other(number) => format!("?{number}"),
    }
}

//! Prints the table, or an operation, as command lines (`-S`).

use std::{
    fmt,
    io::{self, Write},
};

use super::{
    address,
    names::{Names, Numeric, protocol_of},
    sort::{self, Order},
};
use crate::model::{
    Checksum, Family, Forwarding, Name, Op, Protocol, ServerConfig, ServerKey, ServiceConfig,
    ServiceEntry, ServiceKey, SyncDaemonConfig, TunnelType,
};

/// Displays as `-t ADDRESS`, `-u ADDRESS`, `--sctp-service ADDRESS` or `-f MARK [-6]`.
struct ServiceOption<'a>(ServiceKey, &'a dyn Names);

/// Displays as a value with the separator before it. `-R` drops the word `ipvsadm`, so that such a
/// value needs `=` instead of a blank.
struct Value(Name);

/// The option that names a service in a numeric command line: `-t 192.0.2.1:80`.
pub fn service_option(key: ServiceKey) -> String {
    ServiceOption(key, &Numeric).to_string()
}

/// Writes the commands that create the table, without fallback servers. With [`Order::Restorable`], they also reproduce the
/// kernel's order of real servers.
pub fn write_rules(
    out: &mut dyn Write,
    entries: &[ServiceEntry],
    order: Order,
    names: &dyn Names,
) -> io::Result<()> {
    for entry in sort::services(entries, order) {
        let key = entry.service.key;
        service(out, 'A', key, &entry.service.config, names)?;
        let servers = sort::servers(entry, order).into_iter();
        for one in servers.filter(|server| !server.is_fallback()) {
            // What the kernel has.
            let config = ServerConfig {
                weight: one.effective_weight,
                ..one.config
            };
            server(out, 'a', key, one.key, &config, names)?;
        }
    }
    Ok(())
}

/// Writes an operation as a numeric command line, with a newline.
pub fn write_op(out: &mut dyn Write, op: &Op) -> io::Result<()> {
    let names = &Numeric;
    let option = |key: &ServiceKey| ServiceOption(*key, names);
    let endpoint = |key: &ServerKey| address::print(key.address, key.port, None, names);
    match op {
        Op::CreateService(key, config, _) => service(out, 'A', *key, config, names),
        Op::SetService(key, config) => service(out, 'E', *key, config, names),
        Op::DeleteService(key) => writeln!(out, "-D {}", option(key)),
        Op::CreateServer(key, to, config) => server(out, 'a', *key, *to, config, names),
        Op::SetServer(key, to, config) => server(out, 'e', *key, *to, config, names),
        Op::DeleteServer(key, to) => writeln!(out, "-d {} -r {}", option(key), endpoint(to)),
        Op::Clear => writeln!(out, "-C"),
        Op::ZeroAll => writeln!(out, "-Z"),
        Op::ZeroService(key) => writeln!(out, "-Z {}", option(key)),
        Op::SetTimeouts(to) => writeln!(
            out,
            "--set {} {} {}",
            to.tcp_seconds, to.tcp_fin_seconds, to.udp_seconds
        ),
        Op::StartSyncDaemon(config) => daemon(out, config),
        Op::StopSyncDaemon(state) => writeln!(out, "--stop-daemon {state}"),
        // ipvsadm has no command for settings.
        Op::SetSetting { .. } | Op::SetStored(..) => Ok(()),
    }
}

fn service(
    out: &mut dyn Write,
    command: char,
    key: ServiceKey,
    config: &ServiceConfig,
    names: &dyn Names,
) -> io::Result<()> {
    let option = ServiceOption(key, names);
    write!(out, "-{command} {option} -s{}", Value(config.scheduler))?;
    if let Some(timeout) = config.persistence_timeout {
        write!(out, " -p {timeout}")?;
    }
    if !config.netmask.is_full() {
        write!(out, " -M {}", config.netmask)?;
    }
    if let Some(engine) = config.persistence_engine {
        write!(out, " --pe{}", Value(engine))?;
    }
    if config.one_packet {
        write!(out, " -o")?;
    }
    if !config.scheduler_flags.is_empty() {
        let flags: Vec<_> = config.scheduler_flags.names(config.scheduler).collect();
        write!(out, " -b {}", flags.join(","))?;
    }
    writeln!(out)
}

fn server(
    out: &mut dyn Write,
    command: char,
    key: ServiceKey,
    server: ServerKey,
    config: &ServerConfig,
    names: &dyn Names,
) -> io::Result<()> {
    let option = ServiceOption(key, names);
    let endpoint = address::print(server.address, server.port, protocol_of(key), names);
    let method = match config.forwarding {
        Forwarding::Masquerade => "-m",
        Forwarding::Tunnel => "-i",
        Forwarding::Direct | Forwarding::Local | Forwarding::Bypass | Forwarding::Other(_) => "-g",
    };
    let weight = config.weight;
    write!(
        out,
        "-{command} {option} -r {endpoint} {method} -w {weight}"
    )?;
    if config.forwarding == Forwarding::Tunnel {
        let checksum = match config.tunnel.checksum {
            Checksum::None => " --tun-nocsum",
            Checksum::Checksum => " --tun-csum",
            Checksum::Remote => " --tun-remcsum",
            Checksum::Other(_) => "",
        };
        let kind = config.tunnel.kind;
        match kind {
            TunnelType::Ipip | TunnelType::Other(_) => write!(out, " --tun-type {kind}")?,
            TunnelType::Gre => write!(out, " --tun-type gre{checksum}")?,
            TunnelType::Gue => {
                let port = config.tunnel.port;
                write!(out, " --tun-type gue --tun-port {port}{checksum}")?;
            }
        }
    }
    if config.upper_threshold != 0 {
        write!(out, " -x {}", config.upper_threshold)?;
    }
    if config.lower_threshold != 0 {
        write!(out, " -y {}", config.lower_threshold)?;
    }
    writeln!(out)
}

fn daemon(out: &mut dyn Write, config: &SyncDaemonConfig) -> io::Result<()> {
    let SyncDaemonConfig {
        state,
        interface,
        sync_id,
        max_length,
        multicast_group,
        multicast_port,
        multicast_ttl,
    } = *config;
    write!(
        out,
        "--start-daemon {state} --mcast-interface{} --syncid {sync_id}",
        Value(interface)
    )?;
    if let Some(length) = max_length {
        write!(out, " --sync-maxlen {length}")?;
    }
    writeln!(
        out,
        " --mcast-group {multicast_group} --mcast-port {multicast_port} \
         --mcast-ttl {multicast_ttl}"
    )
}

// === impl ServiceOption ===

impl fmt::Display for ServiceOption<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ServiceKey::Address {
                protocol,
                address,
                port,
            } => {
                let name = match protocol {
                    Protocol::Tcp => "-t",
                    Protocol::Udp => "-u",
                    Protocol::Sctp => "--sctp-service",
                    Protocol::Other(_) => "--xxx-service",
                };
                let endpoint = address::print(address, port, Some(protocol), self.1);
                write!(f, "{name} {endpoint}")
            }
            ServiceKey::Fwmark { family, mark } => {
                let family = match family {
                    Family::Ipv4 => "",
                    Family::Ipv6 => " -6",
                };
                write!(f, "-f {mark}{family}")
            }
        }
    }
}

// === impl Value ===

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.as_str();
        match name {
            "ipvsadm" => write!(f, "={name}"),
            _ => write!(f, " {name}"),
        }
    }
}

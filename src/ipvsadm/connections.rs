//! Prints the connection table (`-L -c`).

use std::{
    io::{self, Write},
    net::IpAddr,
};

use super::{address, names::Names};
use crate::model::{ConnectionProtocol, Endpoint, Protocol};

/// A connection in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLine<'a> {
    /// Protocol of the packets.
    pub protocol: ConnectionProtocol,
    /// Client address and port.
    pub client: Endpoint,
    /// Virtual address and port.
    pub virtual_address: Endpoint,
    /// Address and port of the real server.
    pub destination: Endpoint,
    /// State, as the kernel names it.
    pub state: &'a str,
    /// Seconds until the connection expires.
    pub expires_in_seconds: u32,
    /// Name and data of the persistence engine.
    pub engine: Option<(&'a str, &'a str)>,
}

/// Writes the two header lines.
pub fn write_connection_header(out: &mut dyn Write, engine_data: bool) -> io::Result<()> {
    writeln!(out, "IPVS connection entries")?;
    let (state, source, to) = ("state", "source", "virtual");
    if engine_data {
        writeln!(
            out,
            "pro expire {state:<11} {source:<18} {to:<18} {:<18} {:<16} pe_data",
            "destination", "pe name"
        )
    } else {
        writeln!(
            out,
            "pro expire {state:<11} {source:<18} {to:<18} destination"
        )
    }
}

/// Writes a connection.
pub fn write_connection(
    out: &mut dyn Write,
    line: &ConnectionLine<'_>,
    engine_data: bool,
    names: &dyn Names,
) -> io::Result<()> {
    let (kind, protocol) = match line.protocol {
        ConnectionProtocol::Service(Protocol::Tcp) => ("TCP", Some(Protocol::Tcp)),
        ConnectionProtocol::Service(Protocol::Udp) => ("UDP", Some(Protocol::Udp)),
        ConnectionProtocol::Service(Protocol::Sctp) => ("SCTP", Some(Protocol::Sctp)),
        ConnectionProtocol::Service(Protocol::Other(_)) => ("?", None),
        ConnectionProtocol::Icmp => ("ICMP", None),
        ConnectionProtocol::Icmpv6 => ("ICMPv6", None),
        ConnectionProtocol::Ip => ("IP", None),
    };
    let print =
        |endpoint: &Endpoint| address::print(endpoint.address, endpoint.port, protocol, names);
    let (minutes, seconds) = (line.expires_in_seconds / 60, line.expires_in_seconds % 60);
    let expire = format!("{minutes:02}:{seconds:02}");
    write!(
        out,
        "{kind:<3} {expire:<6} {:<11} {:<18} {:<18} ",
        line.state,
        print(&line.client),
        print(&line.virtual_address)
    )?;
    let destination = print(&line.destination);
    match line.engine.filter(|_| engine_data) {
        Some((engine, data)) => {
            // ipvsadm reads the data up to the first blank.
            let data = data.split_ascii_whitespace().next().unwrap_or_default();
            writeln!(out, "{destination:<16} {engine:<18} {data}")
        }
        None => writeln!(out, "{destination}"),
    }
}

// === impl ConnectionLine ===

impl ConnectionLine<'_> {
    /// The addresses of client, virtual service and real server.
    pub fn addresses(&self) -> [IpAddr; 3] {
        [
            self.client.address,
            self.virtual_address.address,
            self.destination.address,
        ]
    }
}

//! Entries of the connection table, `/proc/net/ip_vs_conn` (manual: -L -c).

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Error, Protocol};

/// An entry of the connection table: a connection or a persistence template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, or `ip` for the template of a fwmark service.
    pub protocol: ConnectionProtocol,
    /// Client address and port. In a template, the masked address and port 0.
    pub client: Endpoint,
    /// Virtual address and port. In a template of a fwmark service, the mark as an address.
    #[serde(rename = "virtual")]
    pub virtual_address: Endpoint,
    /// Address and port of the real server.
    pub destination: Endpoint,
    /// State, by the kernel's name: `ESTABLISHED`, `SYN_RECV`, `FIN_WAIT`, `UDP`, …; of a template
    /// `NONE` or `ASSURED`.
    pub state: Box<str>,
    /// Whether this is a persistence template, which directs further connections of a client to the
    /// same server.
    pub template: bool,
    /// Seconds until the entry expires if no packet arrives.
    pub expires_in_seconds: u32,
    /// Persistence engine, if it stored data with the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence_engine: Option<Box<str>>,
    /// Data of the persistence engine: for `sip` the Call-ID. Invalid UTF-8 is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence_data: Option<Box<str>>,
}

/// An address with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
}

/// Protocol of a connection table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionProtocol {
    /// A protocol of virtual services.
    Service(Protocol),
    /// ICMP.
    Icmp,
    /// ICMPv6.
    Icmpv6,
    /// IP: the template of a fwmark service.
    Ip,
}

/// A filter of connections. An absent field matches all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionFilter {
    /// Protocol.
    pub protocol: Option<ConnectionProtocol>,
    /// Client.
    pub client: Option<EndpointFilter>,
    /// Virtual address.
    pub virtual_address: Option<EndpointFilter>,
    /// Real server.
    pub destination: Option<EndpointFilter>,
    /// State, case-insensitive.
    pub state: Option<String>,
    /// Only templates (true) or only connections (false).
    pub templates: Option<bool>,
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointFilter {
    /// Address.
    pub address: IpAddr,
    /// Port; `None` for any.
    pub port: Option<u16>,
}

/// Field by which connections are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CountBy {
    /// Protocol.
    Protocol,
    /// Client address without the port.
    Client,
    /// Virtual address and port.
    Virtual,
    /// Address and port of the real server.
    Destination,
    /// State.
    State,
}

// === impl ConnectionFilter ===

impl ConnectionFilter {
    /// Whether the filter matches `connection`.
    pub fn matches(&self, connection: &Connection) -> bool {
        let at = |filter: &Option<EndpointFilter>, endpoint: &Endpoint| {
            filter.is_none_or(|filter| filter.matches(endpoint))
        };
        self.protocol
            .is_none_or(|protocol| protocol == connection.protocol)
            && at(&self.client, &connection.client)
            && at(&self.virtual_address, &connection.virtual_address)
            && at(&self.destination, &connection.destination)
            && self
                .state
                .as_ref()
                .is_none_or(|s| s.eq_ignore_ascii_case(&connection.state))
            && self
                .templates
                .is_none_or(|templates| templates == connection.template)
    }
}

// === impl EndpointFilter ===

impl EndpointFilter {
    fn matches(self, endpoint: &Endpoint) -> bool {
        self.address == endpoint.address && self.port.is_none_or(|port| port == endpoint.port)
    }
}

impl FromStr for EndpointFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(address) = super::key::parse_address(text) {
            return Ok(Self {
                address,
                port: None,
            });
        }
        text.parse()
            .map(|socket: std::net::SocketAddr| Self {
                address: socket.ip(),
                port: Some(socket.port()),
            })
            .map_err(|_| {
                Error::invalid(
                    "",
                    format!(
                        "{text:?} is not an address with or without a port, such as 192.0.2.1, \
                         192.0.2.1:80, 2001:db8::1 or [2001:db8::1]:80"
                    ),
                )
            })
    }
}

// === impl CountBy ===

impl CountBy {
    /// The value of the field.
    pub fn group(self, connection: &Connection) -> String {
        match self {
            Self::Protocol => connection.protocol.to_string(),
            Self::Client => connection.client.address.to_string(),
            Self::Virtual => connection.virtual_address.to_string(),
            Self::Destination => connection.destination.to_string(),
            Self::State => connection.state.to_string(),
        }
    }
}

impl FromStr for CountBy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "protocol" => Self::Protocol,
            "client" => Self::Client,
            "virtual" => Self::Virtual,
            "destination" => Self::Destination,
            "state" => Self::State,
            _ => {
                return Err(Error::invalid(
                    "count_by",
                    format!("{text:?} is not one of protocol, client, virtual, destination, state"),
                ));
            }
        })
    }
}

// === impl Endpoint ===

/// `192.0.2.1:80`, `[2001:db8::1]:80`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}

// === impl ConnectionProtocol ===

impl fmt::Display for ConnectionProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(protocol) => protocol.fmt(f),
            Self::Icmp => f.write_str("icmp"),
            Self::Icmpv6 => f.write_str("icmpv6"),
            Self::Ip => f.write_str("ip"),
        }
    }
}

impl FromStr for ConnectionProtocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "icmp" => Self::Icmp,
            "icmpv6" => Self::Icmpv6,
            "ip" => Self::Ip,
            _ => Self::Service(text.parse().map_err(|_| {
                Error::invalid(
                    "",
                    format!("{text:?} is not a protocol: tcp, udp, sctp, icmp, icmpv6 or ip"),
                )
            })?),
        })
    }
}

impl Serialize for ConnectionProtocol {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

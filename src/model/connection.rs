//! Connections, as `/proc/net/ip_vs_conn` lists them (manual: -L -c).

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Error, Protocol};

/// One entry of the kernel's connection table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Connection {
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, or `ip` for the template of a firewall mark.
    #[schema(value_type = String, example = "tcp")]
    pub protocol: ConnectionProtocol,
    /// The client; in a template with port 0 and masked.
    pub client: Endpoint,
    /// The virtual service's address; in a template of a firewall mark, the mark as an address.
    #[serde(rename = "virtual")]
    pub virtual_address: Endpoint,
    /// The real server.
    pub destination: Endpoint,
    /// The kernel's name of the state: `ESTABLISHED`, `SYN_RECV`, `FIN_WAIT`, `UDP`, …; of a
    /// template `NONE` or `ASSURED`.
    #[schema(value_type = String, example = "ESTABLISHED")]
    pub state: Box<str>,
    /// Whether this is a persistence template, which leads a client's next connections to the same
    /// server, rather than a connection.
    pub template: bool,
    /// Seconds until it is dropped unless a packet comes.
    pub expires_in_seconds: u32,
    /// Persistence engine, where one keeps data.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub persistence_engine: Option<Box<str>>,
    /// The engine's data: for `sip` the Call-ID. What is not UTF-8 is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub persistence_data: Option<Box<str>>,
}

/// An address with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Endpoint {
    /// Address.
    #[schema(value_type = String, example = "192.0.2.1")]
    pub address: IpAddr,
    /// Port.
    pub port: u16,
}

/// Protocol of a connection, which may be one that no service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionProtocol {
    /// That of a service.
    Service(Protocol),
    /// ICMP.
    Icmp,
    /// ICMPv6.
    Icmpv6,
    /// IP: the template of a firewall mark.
    Ip,
}

/// Which connections are wanted; absent fields let all pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConnectionFilter {
    /// Only this protocol.
    pub protocol: Option<ConnectionProtocol>,
    /// Only this client.
    pub client: Option<EndpointFilter>,
    /// Only this virtual address.
    pub virtual_address: Option<EndpointFilter>,
    /// Only this real server.
    pub destination: Option<EndpointFilter>,
    /// Only this state, compared without case.
    pub state: Option<String>,
    /// Only templates (true) or none (false).
    pub templates: Option<bool>,
}

/// An address, any spelling, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointFilter {
    /// Address.
    pub address: IpAddr,
    /// Port; `None` for any.
    pub port: Option<u16>,
}

/// What connections are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CountBy {
    /// Protocol.
    Protocol,
    /// Client address, without its port.
    Client,
    /// Virtual address and port.
    Virtual,
    /// Real server, address and port.
    Destination,
    /// State.
    State,
}

// === impl ConnectionFilter ===

impl ConnectionFilter {
    /// Whether `connection` is wanted.
    pub fn lets_pass(&self, connection: &Connection) -> bool {
        let at = |filter: &Option<EndpointFilter>, endpoint: &Endpoint| {
            filter.is_none_or(|filter| filter.lets_pass(endpoint))
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
    fn lets_pass(self, endpoint: &Endpoint) -> bool {
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
    /// What `connection` is counted under.
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
                    format!("{text:?}: protocol, client, virtual, destination or state"),
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

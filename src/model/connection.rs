//! Entries of the connection table, `/proc/net/ip_vs_conn` (manual: -L -c).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{Error, Family, Protocol, ServiceKey};

/// An entry of the connection table: a connection or a persistence template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, or `ip` for the template of a fwmark service.
    pub protocol: ConnectionProtocol,
    /// Client address and port. In a template, the masked address and port 0.
    pub client: Endpoint,
    /// The virtual service.
    #[serde(flatten)]
    pub service: ConnectionService,
    /// Address and port of the real server. In an invalidated template, the port is 65535.
    pub destination: Endpoint,
    /// State, by the kernel's name: `ESTABLISHED`, `SYN_RECV`, `FIN_WAIT`, `UDP`, …; of a template
    /// `NONE` or `ASSURED`.
    pub state: Box<str>,
    /// Whether this is a persistence template, which directs further connections of a client to the
    /// same server.
    pub template: bool,
    /// Whether the kernel has invalidated the template, because its real server was deleted or has
    /// weight 0 (setting `expire_quiescent_template`). It directs no connections and expires. The
    /// kernel has replaced both ports by 65535, so a template of port 65535 looks the same.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invalidated: bool,
    /// Seconds until the entry expires if no packet arrives.
    pub expires_in_seconds: u32,
    /// Persistence engine, if it stored data with the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence_engine: Option<Box<str>>,
    /// Data of the persistence engine: for `sip` the Call-ID. Invalid UTF-8 is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence_data: Option<Box<str>>,
}

/// The virtual service of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ConnectionService {
    /// Its address and port. In an invalidated template, the port is 65535.
    #[serde(rename = "virtual")]
    Address(Endpoint),
    /// Its firewall mark, in a template. The connections themselves do not have the mark.
    #[serde(rename = "fwmark")]
    Fwmark(u32),
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
    /// Firewall mark: only its templates.
    pub fwmark: Option<u32>,
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
    /// Virtual address and port; of a template of a fwmark service, the id of the service.
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
            && match connection.service {
                ConnectionService::Address(address) => {
                    at(&self.virtual_address, &address) && self.fwmark.is_none()
                }
                ConnectionService::Fwmark(mark) => {
                    self.virtual_address.is_none() && self.fwmark.is_none_or(|it| it == mark)
                }
            }
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
            Self::Virtual => match connection.service {
                ConnectionService::Address(address) => address.to_string(),
                ConnectionService::Fwmark(mark) => {
                    let family = Family::of(connection.client.address);
                    ServiceKey::Fwmark { family, mark }.to_string()
                }
            },
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

// === impl ConnectionService ===

impl ConnectionService {
    /// The port that the kernel writes into invalidated templates.
    pub const INVALIDATED_PORT: u16 = 0xffff;

    /// The service of a template of a fwmark service: the kernel has the mark as an address.
    pub fn of_mark(address: IpAddr) -> Self {
        Self::Fwmark(match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => (u128::from(address) >> 96) as u32,
        })
    }

    /// The address and port that the kernel has for the service of a connection, as ipvsadm prints
    /// them.
    pub fn endpoint(self, family: Family, invalidated: bool) -> Endpoint {
        let mark = match self {
            Self::Address(address) => return address,
            Self::Fwmark(mark) => mark,
        };
        Endpoint {
            address: match family {
                Family::Ipv4 => Ipv4Addr::from(mark).into(),
                Family::Ipv6 => Ipv6Addr::from(u128::from(mark) << 96).into(),
            },
            port: if invalidated {
                Self::INVALIDATED_PORT
            } else {
                0
            },
        }
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

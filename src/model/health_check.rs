//! Health checks of services, as they are stored and shown.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    FallbackServer, QueryType, Rcodes, ServerCheck, StatusRanges, Transport, health_check_text,
    key::serde_as_text,
    status_ranges::plain,
    word::{word_enum, words},
};

/// How the servers of a service are checked, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HealthCheck {
    /// How a server is asked.
    #[serde(rename = "type")]
    pub kind: CheckType,
    /// Seconds between two checks of a server, 1 to 3600. Default 2. 0 for `external`, which has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval_seconds: u32,
    /// Seconds after which a check without an answer has failed, 1 to `interval_seconds`, 60 at most. Default 1. 0 for
    /// `external`, which has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout_seconds: u32,
    /// Successes in a row that bring a failing server back, 1 to 100. Default 2, and 1 for `external`.
    pub rise: u32,
    /// Failures in a row that take a server out, 1 to 100. Default 3, and 1 for `external`.
    pub fall: u32,
    /// Port that is checked. Default: that of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Path and query of the request. Only `http` and `https`; default `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The header `Host` of the request, of `grpc` the authority. Only `http`, `https` and `grpc`; default: the address
    /// of the server, with the port if it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Method of the request. Only `http` and `https`; default `GET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<CheckMethod>,
    /// Status codes of a success. Only `http` and `https`; default `200-399`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_status: Option<StatusRanges>,
    /// Text that the first 64 KiB of the body contain. Only `http` and `https`; default: any body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_body: Option<String>,
    /// Whether the certificate of the server is verified, against the authorities of the director's system. Only
    /// `https`, and `grpc` with `tls`; default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_verify: Option<bool>,
    /// Name that is asked for in TLS and that the certificate must have. Only `https`, and `grpc` with `tls`; default:
    /// `host` without its port, else the address of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// Address of the director from which checks are sent. Default: the kernel chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<IpAddr>,
    /// Firewall mark of the packets of checks (`SO_MARK`), 1 to 4294967295. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<u32>,
    /// What happens to a server that fails.
    pub down_action: DownAction,
    /// Servers that are to be healthy at least. Default: none need be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_healthy: Option<ServerShare>,
    /// What happens while fewer are. Only with `min_healthy`; default `keep_all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below_min: Option<BelowMin>,
    /// Servers that are taken out at most within the time in which a failure is noticed. Not `external`; default: any
    /// number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_losses: Option<ServerShare>,
    /// Service that is asked for; empty: the whole server. Only `grpc`; default empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_service: Option<String>,
    /// Whether the connection is encrypted. Only `grpc`; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// Name in the query. Only `dns`; default `.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_name: Option<String>,
    /// Type in the query. Only `dns`; default `SOA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_type: Option<QueryType>,
    /// Response codes of a success. Only `dns`; default `NOERROR`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_rcode: Option<Rcodes>,
    /// Protocol of the query. Only `dns`; default: `tcp` for a service of TCP, else `udp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// Seconds after which a result that no other has followed does not hold any more, 1 to 2,678,400. Only `external`;
    /// default: it holds until the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_seconds: Option<u32>,
    /// The servers that the service gets while fewer are. Only with `below_min` `fallback`, which requires them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_servers: Option<Arc<[FallbackServer]>>,
    /// Settings of single servers, by server. Default: all servers are checked alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<Arc<[ServerCheck]>>,
}

word_enum! {
    /// How a server is asked.
    CheckType {
        /// A connection is opened and closed.
        Tcp = "tcp",
        /// A request of HTTP/1.1.
        Http = "http",
        /// The same over TLS.
        Https = "https",
        /// The method `Check` of `grpc.health.v1`.
        Grpc = "grpc",
        /// A query of DNS.
        Dns = "dns",
        /// It is not asked: results are reported.
        External = "external",
    }
}

word_enum! {
    /// The method of a request.
    CheckMethod {
        /// `GET`.
        Get = "GET",
        /// `HEAD`: the response has no body.
        Head = "HEAD",
        /// `OPTIONS`.
        Options = "OPTIONS",
        /// `POST`, without a body.
        Post = "POST",
    }
}

word_enum! {
    /// What happens to a server that fails.
    DownAction {
        /// It stays, and gets no new connections: its effective weight is 0.
        WeightZero = "weight_zero",
    }
}

word_enum! {
    /// What happens while fewer servers are healthy than are to be.
    BelowMin {
        /// All servers get connections, also those that fail.
        KeepAll = "keep_all",
        /// Those that fail get none, and the fallback servers get connections.
        Fallback = "fallback",
        /// Those that fail get none, even if no server is left.
        None = "none",
    }
}

/// Servers that are to be healthy: a number, or a part of all servers of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerShare {
    /// As many, 1 to 65535.
    Count(u32),
    /// Percent of all, 1 to 100; rounded up.
    Percent(u32),
}

/// The text is not a number of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a number from \"1\" to \"65535\", or a percentage from \"1%\" to \"100%\"")]
pub struct InvalidServerShare;

// === impl HealthCheck ===

impl HealthCheck {
    /// A check of this type with the defaults of all types.
    pub const fn of_type(kind: CheckType) -> Self {
        let (interval_seconds, timeout_seconds, rise, fall) = match kind {
            CheckType::External => (0, 0, 1, 1),
            _ => (2, 1, 2, 3),
        };
        Self {
            kind,
            interval_seconds,
            timeout_seconds,
            rise,
            fall,
            port: None,
            path: None,
            host: None,
            method: None,
            expect_status: None,
            expect_body: None,
            tls_verify: None,
            sni: None,
            source_address: None,
            fwmark: None,
            down_action: DownAction::WeightZero,
            min_healthy: None,
            below_min: None,
            max_losses: None,
            grpc_service: None,
            tls: None,
            query_name: None,
            query_type: None,
            expect_rcode: None,
            transport: None,
            expire_seconds: None,
            fallback_servers: None,
            servers: None,
        }
    }

    /// Longest `interval_seconds`.
    pub const MAX_INTERVAL: u32 = 3600;
    /// Longest `timeout_seconds`.
    pub const MAX_TIMEOUT: u32 = 60;
    /// Largest `rise` and `fall`.
    pub const MAX_TIMES: u32 = 100;
    /// Longest `path` in bytes.
    pub const MAX_PATH: usize = health_check_text::MAX_PATH;
    /// Longest `host` and `sni` in bytes.
    pub const MAX_HOST: usize = health_check_text::MAX_HOST;
    /// Longest `expect_body` in bytes.
    pub const MAX_BODY: usize = 1024;
    /// Longest `grpc_service` in bytes.
    pub const MAX_GRPC_SERVICE: usize = 255;
    /// Longest `query_name` in bytes, without the final dot.
    pub const MAX_QUERY_NAME: usize = health_check_text::MAX_NAME;
    /// Longest `expire_seconds`: 31 days.
    pub const MAX_EXPIRE: u32 = 31 * 24 * 3600;

    /// Time in which a failure is noticed at the latest: `interval_seconds` × `fall` + `timeout_seconds`. Of `external`,
    /// none.
    pub fn detection_time(&self) -> Duration {
        let seconds = self.interval_seconds * self.fall + self.timeout_seconds;
        Duration::from_secs(seconds.into())
    }

    /// Memory in bytes, about.
    pub fn bytes(&self) -> usize {
        let texts = [
            &self.path,
            &self.host,
            &self.expect_body,
            &self.sni,
            &self.grpc_service,
            &self.query_name,
        ];
        let texts = texts.into_iter().flatten().map(String::len);
        let fallback = self.fallback_servers.as_deref().map_or(0, size_of_val);
        let servers = self.servers.iter().flat_map(|servers| servers.iter());
        let servers = servers.map(ServerCheck::bytes).sum::<usize>();
        size_of::<Self>() + texts.sum::<usize>() + fallback + servers
    }
}

// === impl CheckType ===

impl CheckType {
    /// Whether a request of HTTP is sent.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// Whether servers are asked. Otherwise results are reported.
    pub fn is_probed(self) -> bool {
        self != Self::External
    }
}

// === impl ServerShare ===

impl ServerShare {
    /// The number of servers, of this number of all.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => {
                let percent = usize::try_from(percent).unwrap_or(100);
                all.saturating_mul(percent).div_ceil(100)
            }
        }
    }
}

impl fmt::Display for ServerShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for ServerShare {
    type Err = InvalidServerShare;

    fn from_str(text: &str) -> Result<Self, InvalidServerShare> {
        let number = |text: &str, max: u32| {
            let number = plain(text).ok_or(InvalidServerShare)?;
            match (1..=max).contains(&number) {
                true => Ok(number),
                false => Err(InvalidServerShare),
            }
        };
        match text.strip_suffix('%') {
            Some(percent) => number(percent, 100).map(Self::Percent),
            None => number(text, u16::MAX.into()).map(Self::Count),
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

serde_as_text!(ServerShare);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_servers_is_rounded_up() {
        for (text, all, expected) in [
            ("1", 10, 1),
            ("65535", 2, 65_535),
            ("50%", 5, 3),
            ("1%", 3, 1),
            ("100%", 7, 7),
            ("50%", 0, 0),
        ] {
            let parsed: ServerShare = text.parse().unwrap();
            assert_eq!(
                (parsed.of(all), parsed.to_string().as_str()),
                (expected, text)
            );
        }
        for text in [
            "",
            "0",
            "65536",
            "0%",
            "101%",
            "%",
            "+1",
            "1 %",
            "-1",
            "1.5",
            "99999999999",
        ] {
            assert!(text.parse::<ServerShare>().is_err(), "{text}");
        }
    }
}

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    Error, Etag, EtagScope, Field, Name, Violation,
    key::parse_address,
    server::{in_range, named},
};

/// A connection synchronisation daemon of the kernel (manual: --start-daemon; `IPVS_CMD_GET_DAEMON`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SyncDaemon {
    /// Whether it sends (master) or receives (backup).
    pub state: SyncState,
    /// Network interface that it multicasts on.
    #[schema(value_type = String, example = "eth0")]
    pub interface: Name,
    /// Id in its messages, 0 to 255; a backup takes those of its id, with 0 all.
    pub sync_id: u32,
    /// Longest message in bytes, as the kernel has rounded it.
    pub max_length: u16,
    /// Multicast group; IPv4 or IPv6.
    #[schema(value_type = String, example = "224.0.0.81")]
    pub multicast_group: IpAddr,
    /// UDP port of the group.
    pub multicast_port: u16,
    /// Time to live of the messages.
    pub multicast_ttl: u8,
}

/// The two daemons that a namespace can have.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum SyncState {
    /// Sends connections.
    Master,
    /// Receives them.
    Backup,
}

/// A sync daemon as a client declares it. What is absent takes the default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SyncDaemonInput)]
pub struct SyncDaemonDraft {
    /// Network interface to multicast on, up to 15 characters. Required.
    #[schema(value_type = String, min_length = 1, max_length = 15, example = "eth0")]
    #[serde(default)]
    pub interface: Field<String>,
    /// Id in the messages; a backup takes those of its id, with 0 all. Default 0.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 255)]
    #[serde(default)]
    pub sync_id: Field<i64>,
    /// Longest message in bytes; the kernel raises what is too small. Default: what fits 1500.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 65507)]
    #[serde(default)]
    pub max_length: Field<i64>,
    /// Multicast group, IPv4 or IPv6. Default 224.0.0.81.
    #[schema(value_type = Option<String>, example = "224.0.0.81")]
    #[serde(default)]
    pub multicast_group: Field<String>,
    /// UDP port. Default 8848.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 65535)]
    #[serde(default)]
    pub multicast_port: Field<i64>,
    /// Time to live. Default 1.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 255)]
    #[serde(default)]
    pub multicast_ttl: Field<i64>,
    #[schema(ignore)]
    state: Option<IgnoredAny>,
    #[schema(ignore)]
    etag: Option<IgnoredAny>,
    #[schema(ignore)]
    changed: Option<IgnoredAny>,
}

/// A sync daemon that is wanted: what [`SyncDaemonDraft`] says, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncDaemonConfig {
    /// Which of the two.
    pub state: SyncState,
    /// Network interface.
    pub interface: Name,
    /// Id in the messages.
    pub sync_id: u32,
    /// Longest message in bytes; `None` for the kernel's default.
    pub max_length: Option<u16>,
    /// Multicast group.
    pub multicast_group: IpAddr,
    /// UDP port.
    pub multicast_port: u16,
    /// Time to live.
    pub multicast_ttl: u8,
}

// === impl SyncState ===

impl SyncState {
    /// `master` or `backup`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
        }
    }
}

impl fmt::Display for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SyncState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "master" => Ok(Self::Master),
            "backup" => Ok(Self::Backup),
            _ => Err(Error::invalid(
                "state",
                format!("{text:?} is not a sync daemon: master or backup"),
            )),
        }
    }
}

// === impl SyncDaemon ===

impl SyncDaemon {
    /// Fingerprint.
    pub fn etag(&self) -> Etag {
        Etag::of(EtagScope::Resource, self)
    }
}

// === impl SyncDaemonConfig ===

impl SyncDaemonConfig {
    /// The default multicast group.
    pub const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
    /// The default UDP port.
    pub const PORT: u16 = 8848;
    /// The default time to live.
    pub const TTL: u8 = 1;
    /// What of a message is not payload: IP and UDP headers.
    const HEADERS: (u16, u16) = (28, 48);
    /// The shortest that the kernel lets a backup have.
    const BACKUP_MIN: u16 = 1024;

    /// Whether `running` is what this asks for. The kernel clamps a length, and takes a backup's
    /// default one from the interface, so any default of a backup is accepted.
    pub fn is_met_by(&self, running: &SyncDaemon) -> bool {
        let headers = if self.multicast_group.is_ipv4() {
            Self::HEADERS.0
        } else {
            Self::HEADERS.1
        };
        let longest = u16::MAX - headers;
        let length = match (self.max_length, self.state) {
            (None, SyncState::Backup) => running.max_length,
            (None, SyncState::Master) => 1500 - headers,
            (Some(length), SyncState::Master) => length.min(longest),
            (Some(length), SyncState::Backup) => length.clamp(Self::BACKUP_MIN, longest),
        };
        let effective = SyncDaemon {
            state: self.state,
            interface: self.interface,
            sync_id: self.sync_id,
            max_length: length,
            multicast_group: self.multicast_group,
            multicast_port: self.multicast_port,
            multicast_ttl: self.multicast_ttl,
        };
        effective == *running
    }
}

/// A running daemon as the wish that would start it again.
impl From<SyncDaemon> for SyncDaemonConfig {
    fn from(running: SyncDaemon) -> Self {
        Self {
            state: running.state,
            interface: running.interface,
            sync_id: running.sync_id,
            max_length: Some(running.max_length),
            multicast_group: running.multicast_group,
            multicast_port: running.multicast_port,
            multicast_ttl: running.multicast_ttl,
        }
    }
}

// === impl SyncDaemonDraft ===

impl SyncDaemonDraft {
    /// The daemon that this draft asks for.
    pub fn config(&self, state: SyncState) -> Result<SyncDaemonConfig, Error> {
        let mut violations = Vec::new();
        let interface = match &self.interface {
            // 15: IFNAMSIZ with its NUL.
            Field::Set(text) => named(text, "interface", 15, &mut violations),
            _ => {
                violations.push(Violation::new(
                    "interface",
                    "is required: the network interface to multicast on",
                ));
                None
            }
        };
        let multicast_group = match &self.multicast_group {
            Field::Set(text) => match parse_address(text) {
                Some(group) if group.is_multicast() => group,
                _ => {
                    violations.push(Violation::new(
                        "multicast_group",
                        format!("{text:?} is not an IPv4 or IPv6 multicast address"),
                    ));
                    SyncDaemonConfig::GROUP
                }
            },
            _ => SyncDaemonConfig::GROUP,
        };
        let mut number = |field: &Field<i64>, name: &str, default: u16, min: i64, max: i64| {
            let Field::Set(value) = *field else {
                return default;
            };
            in_range(value, name, min, max).unwrap_or_else(|bad| {
                violations.push(bad);
                default
            })
        };
        let sync_id = number(&self.sync_id, "sync_id", 0, 0, 255);
        let max_length = number(&self.max_length, "max_length", 0, 1, 65_507);
        let multicast_port = number(
            &self.multicast_port,
            "multicast_port",
            SyncDaemonConfig::PORT,
            1,
            65_535,
        );
        let ttl = number(
            &self.multicast_ttl,
            "multicast_ttl",
            SyncDaemonConfig::TTL.into(),
            1,
            255,
        );
        match interface {
            Some(interface) if violations.is_empty() => Ok(SyncDaemonConfig {
                state,
                interface,
                sync_id: sync_id.into(),
                max_length: (max_length != 0).then_some(max_length),
                multicast_group,
                multicast_port,
                multicast_ttl: u8::try_from(ttl).unwrap_or(SyncDaemonConfig::TTL),
            }),
            _ => Err(Error::from_violations(violations)),
        }
    }
}

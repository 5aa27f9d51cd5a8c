//! Connection synchronisation daemons of the kernel.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    Error, Etag, EtagScope, Field, Name, Violation,
    check::{accept, in_range, kernel_name},
    integer,
    key::parse_address,
};

/// A running sync daemon (manual: --start-daemon; `IPVS_CMD_GET_DAEMON`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncDaemon {
    /// Role: a master sends connections, a backup receives them.
    pub state: SyncState,
    /// Network interface for the multicast messages.
    pub interface: Name,
    /// Sync id, 0 to 255. A backup accepts the messages with its id; with 0, all messages.
    pub sync_id: u32,
    /// Longest message in bytes, as adjusted by the kernel.
    pub max_length: u16,
    /// Multicast group; IPv4 or IPv6.
    pub multicast_group: IpAddr,
    /// UDP port.
    pub multicast_port: u16,
    /// Time to live of the messages, in hops.
    pub multicast_ttl: u8,
    /// Whether the daemon uses the interface that has the name `interface` now.
    #[serde(default)]
    pub interface_state: InterfaceState,
}

/// Whether a sync daemon uses the interface that has its name now. A daemon keeps the index of the
/// interface that it was started on (`ip link`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InterfaceState {
    /// It does.
    Ok,
    /// No interface has the name: it was deleted or renamed. A daemon whose interface was deleted
    /// neither sends nor receives.
    Missing,
    /// Another interface has the name: the daemon's own was deleted. It neither sends nor receives
    /// until it is started again.
    Replaced,
    /// A master that another program, or an earlier run of ipvsd, has started: the kernel does not
    /// report its interface. A replacement from now on is detected.
    #[default]
    Unknown,
}

/// Role of a sync daemon. A network namespace has at most one daemon of each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncState {
    /// Sends connection state.
    Master,
    /// Receives connection state.
    Backup,
}

/// A sync daemon in a request. An absent field takes the default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncDaemonDraft {
    /// Network interface for the multicast messages, up to 15 characters. Required.
    #[serde(default)]
    pub interface: Field<String>,
    /// Sync id. A backup accepts the messages with its id; with 0, all messages. Default 0.
    #[serde(default, deserialize_with = "integer::field")]
    pub sync_id: Field<i64>,
    /// Longest message in bytes; the kernel raises a value that is too small. Default: the payload
    /// of a packet of 1500 bytes.
    #[serde(default, deserialize_with = "integer::field")]
    pub max_length: Field<i64>,
    /// Multicast group, IPv4 or IPv6. Default 224.0.0.81.
    #[serde(default)]
    pub multicast_group: Field<String>,
    /// UDP port. Default 8848.
    #[serde(default, deserialize_with = "integer::field")]
    pub multicast_port: Field<i64>,
    /// Time to live in hops. Default 1.
    #[serde(default, deserialize_with = "integer::field")]
    pub multicast_ttl: Field<i64>,
    /// Role. Required in a list; elsewhere the path or the message has it, and this is ignored.
    #[serde(default, deserialize_with = "state")]
    pub state: Option<String>,
    interface_state: Option<IgnoredAny>,
    etag: Option<IgnoredAny>,
    changed: Option<IgnoredAny>,
}

/// The configuration of a sync daemon: a validated [`SyncDaemonDraft`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SyncDaemonConfig {
    /// Role.
    pub state: SyncState,
    /// Network interface for the multicast messages.
    pub interface: Name,
    /// Sync id, 0 to 255.
    pub sync_id: u32,
    /// Longest message in bytes; `None` for the kernel's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u16>,
    /// Multicast group.
    pub multicast_group: IpAddr,
    /// UDP port.
    pub multicast_port: u16,
    /// Time to live of the messages, in hops.
    pub multicast_ttl: u8,
}

/// Deserializes a text; anything else counts as absent, because most requests ignore it.
fn state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Anything;

    impl<'de> Visitor<'de> for Anything {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("master or backup")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text.to_owned()))
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            IgnoredAny.visit_seq(seq).map(|_| None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            IgnoredAny.visit_map(map).map(|_| None)
        }
    }

    deserializer.deserialize_any(Anything)
}

/// `IFNAMSIZ` without the NUL.
const MAX_INTERFACE: usize = 15;

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

// === impl InterfaceState ===

impl fmt::Display for InterfaceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Replaced => "replaced",
            Self::Unknown => "unknown",
        })
    }
}

// === impl SyncDaemon ===

impl SyncDaemon {
    /// The ETag.
    pub fn etag(&self) -> Etag {
        Etag::of(EtagScope::Resource, &SyncDaemonConfig::from(*self))
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
    /// Bytes of the IP and UDP headers, with IPv4 and with IPv6.
    const HEADERS: (u16, u16) = (28, 48);
    /// The smallest message length of a backup; the kernel raises smaller values.
    const BACKUP_MIN: u16 = 1024;

    /// A daemon of this state with the defaults of ipvsadm(8).
    pub fn new(state: SyncState, interface: Name) -> Self {
        Self {
            state,
            interface,
            sync_id: 0,
            max_length: None,
            multicast_group: Self::GROUP,
            multicast_port: Self::PORT,
            multicast_ttl: Self::TTL,
        }
    }

    /// Whether `running` has this configuration. The kernel clamps the message length. It derives
    /// the default of a backup from the interface, so a backup with the default length matches any.
    pub fn matches(&self, running: &SyncDaemon) -> bool {
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
        let effective = Self {
            max_length: Some(length),
            ..*self
        };
        effective == (*running).into()
    }

    /// Whether `running` has this configuration, and its interface is the one that has the name now, as far as known.
    pub fn runs_as(&self, running: &SyncDaemon) -> bool {
        use InterfaceState::{Missing, Replaced};
        self.matches(running) && !matches!(running.interface_state, Missing | Replaced)
    }

    /// Whether `running` has this configuration, and no interface has the name. It may work, if the interface was
    /// renamed, and another cannot be started.
    pub fn lacks_interface(&self, running: &SyncDaemon) -> bool {
        self.matches(running) && running.interface_state == InterfaceState::Missing
    }
}

/// The configuration that starts the same daemon again.
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
    /// The validated configuration.
    pub fn config(&self, state: SyncState) -> Result<SyncDaemonConfig, Error> {
        let mut violations = Vec::new();
        let interface = match &self.interface {
            Field::Set(text) => kernel_name(text, "interface", MAX_INTERFACE, &mut violations),
            _ => {
                violations.push(Violation::new(
                    "interface",
                    "is required: the network interface for the multicast messages",
                ));
                None
            }
        };
        let multicast_group = self.multicast_group(&mut violations);
        let mut number = |field: &Field<i64>, name: &str, default: u16, min: i64, max: i64| {
            let Field::Set(value) = *field else {
                return default;
            };
            in_range(value, name, min, max).unwrap_or_else(|violation| {
                violations.push(violation);
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
        let config = interface.map(|interface| SyncDaemonConfig {
            state,
            interface,
            sync_id: sync_id.into(),
            max_length: (max_length != 0).then_some(max_length),
            multicast_group,
            multicast_port,
            multicast_ttl: u8::try_from(ttl).unwrap_or(SyncDaemonConfig::TTL),
        });
        match config {
            Some(config) => accept(config, violations),
            None => Err(Error::from_violations(violations)),
        }
    }

    fn multicast_group(&self, violations: &mut Vec<Violation>) -> IpAddr {
        let Field::Set(text) = &self.multicast_group else {
            return SyncDaemonConfig::GROUP;
        };
        match parse_address(text) {
            Some(group) if group.is_multicast() => group,
            _ => {
                violations.push(Violation::new(
                    "multicast_group",
                    format!("{text:?} is not an IPv4 or IPv6 multicast address"),
                ));
                SyncDaemonConfig::GROUP
            }
        }
    }
}

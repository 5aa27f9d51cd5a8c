//! Bodies of writes: complete descriptions (`…Spec`) and merge patches (`…Patch`, RFC 7396).
//!
//! The fields of a patch are [`Field`]s: [`Field::Keep`], the default, leaves a field as it is,
//! [`Field::Clear`] resets it to its default, [`Field::Set`] sets it.

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::model::{
    Checksum, Field, Forwarding, Name, Netmask, SchedulerFlags, Server, ServerConfig, ServerKey,
    ServiceConfig, ServiceEntry, ServiceKey, StoredTarget, SyncDaemonConfig, Tunnel, TunnelType,
};

/// A virtual service to create, or to replace another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Identity.
    pub key: ServiceKey,
    /// Configuration.
    pub config: ServiceConfig,
    /// Labels and health check. Of those that it lacks, a create makes none, and a replace and a table leave them
    /// alone.
    pub stored: StoredTarget,
    /// Real servers: a create makes them, a replace makes them the whole set. With `None`, a create
    /// makes none and a replace leaves them alone.
    pub servers: Option<Vec<ServerSpec>>,
}

/// A real server to create, or to replace another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSpec {
    /// Identity within the service. The port is the service's with forwarding `direct` and
    /// `tunnel`.
    pub key: ServerKey,
    /// Configuration.
    pub config: ServerConfig,
}

/// Changes of a virtual service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServicePatch {
    /// Scheduler.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub scheduler: Field<Name>,
    /// Flags of the scheduler. A new scheduler without flags here has none.
    #[serde(skip_serializing_if = "Field::is_keep", serialize_with = "flags")]
    pub scheduler_flags: Field<SchedulerFlags>,
    /// One-packet scheduling.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub one_packet: Field<bool>,
    /// Persistence; [`Field::Clear`] turns it off.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub persistence: Field<PersistencePatch>,
    /// Netmask of a service that is not persistent; without effect there.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub netmask: Field<Netmask>,
    /// Persistence engine.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub persistence_engine: Field<Name>,
}

/// Changes of persistence. The default turns it on with its default values, or keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PersistencePatch {
    /// Timeout in seconds, 1 to [`ServiceConfig::MAX_TIMEOUT`].
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub timeout_seconds: Field<u32>,
    /// Part of the client's address that counts.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub netmask: Field<Netmask>,
}

/// Changes of a real server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServerPatch {
    /// Forwarding method.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub forwarding: Field<Forwarding>,
    /// Weight, 0 to [`ServerConfig::MAX_WEIGHT`]; 0: no new connections.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub weight: Field<u32>,
    /// Connections above which the server gets no new ones; 0: no limit.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub upper_threshold: Field<u32>,
    /// Connections below which the server gets new ones again; 0: three quarters of the upper one.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub lower_threshold: Field<u32>,
    /// Encapsulation; only with forwarding `tunnel`.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub tunnel: Field<TunnelPatch>,
}

/// Changes of a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TunnelPatch {
    /// Type.
    #[serde(rename = "type", skip_serializing_if = "Field::is_keep")]
    pub kind: Field<TunnelType>,
    /// UDP port; `gue` only.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub port: Field<u16>,
    /// Checksum; `gue` and `gre` only.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub checksum: Field<Checksum>,
}

/// Changes of the timeouts, in seconds, each 1 to [`Timeouts::MAX`](crate::model::Timeouts::MAX).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TimeoutsPatch {
    /// Established TCP connections.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub tcp_seconds: Field<u32>,
    /// TCP connections after a FIN.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub tcp_fin_seconds: Field<u32>,
    /// UDP.
    #[serde(skip_serializing_if = "Field::is_keep")]
    pub udp_seconds: Field<u32>,
}

/// A sync daemon as a body; its state is in the path.
pub(super) struct SyncDaemonBody<'a>(pub &'a SyncDaemonConfig);

/// Several servers as a body.
#[derive(Serialize)]
pub(super) struct ServerList<'a> {
    pub servers: &'a [ServerSpec],
}

// === impl ServiceSpec ===

impl ServiceSpec {
    /// A service with the defaults of ipvsadm(8) and no statement about its servers.
    pub fn new(key: ServiceKey) -> Self {
        Self {
            key,
            config: ServiceConfig::new(key.family()),
            stored: StoredTarget::default(),
            servers: None,
        }
    }
}

/// The service as it is, with its servers: to be edited and sent back.
impl From<&ServiceEntry> for ServiceSpec {
    fn from(entry: &ServiceEntry) -> Self {
        let ServiceEntry { service, servers } = entry;
        let declared = servers.iter().filter(|server| server.membership.is_none());
        Self {
            key: service.key,
            config: service.config,
            stored: StoredTarget::of_present(service.stored()),
            servers: Some(declared.map(ServerSpec::from).collect()),
        }
    }
}

impl Serialize for ServiceSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            key,
            config:
                ServiceConfig {
                    scheduler,
                    scheduler_flags,
                    one_packet,
                    persistence_timeout,
                    netmask,
                    persistence_engine,
                },
            stored:
                StoredTarget {
                    labels,
                    health_check,
                },
            servers,
        } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", key)?;
        map.serialize_entry("scheduler", scheduler)?;
        let flags: Vec<_> = scheduler_flags.names(*scheduler).collect();
        map.serialize_entry("scheduler_flags", &flags)?;
        map.serialize_entry("one_packet", one_packet)?;
        match persistence_timeout {
            Some(timeout) => map.serialize_entry(
                "persistence",
                &PersistencePatch {
                    timeout_seconds: Field::Set(*timeout),
                    netmask: Field::Set(*netmask),
                },
            )?,
            None if netmask.is_full() => {}
            None => map.serialize_entry("netmask", netmask)?,
        }
        if let Some(engine) = persistence_engine {
            map.serialize_entry("persistence_engine", engine)?;
        }
        if let Some(labels) = labels {
            map.serialize_entry("labels", labels)?;
        }
        if let Some(check) = health_check {
            map.serialize_entry("health_check", check)?;
        }
        if let Some(servers) = servers {
            map.serialize_entry("servers", servers)?;
        }
        map.end()
    }
}

// === impl ServerSpec ===

impl ServerSpec {
    /// A server with the defaults of ipvsadm(8).
    pub fn new(key: ServerKey) -> Self {
        Self {
            key,
            config: ServerConfig::default(),
        }
    }
}

/// The server as it is: to be edited and sent back.
impl From<&Server> for ServerSpec {
    fn from(server: &Server) -> Self {
        Self {
            key: server.key,
            config: server.config,
        }
    }
}

impl Serialize for ServerSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            key,
            config:
                ServerConfig {
                    forwarding,
                    weight,
                    upper_threshold,
                    lower_threshold,
                    tunnel,
                },
        } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", key)?;
        map.serialize_entry("forwarding", forwarding)?;
        map.serialize_entry("weight", weight)?;
        map.serialize_entry("upper_threshold", upper_threshold)?;
        map.serialize_entry("lower_threshold", lower_threshold)?;
        // The daemon rejects a tunnel that has no effect; the default one need not be sent.
        if *tunnel != Tunnel::default() {
            let Tunnel {
                kind,
                port,
                checksum,
            } = *tunnel;
            let patch = TunnelPatch {
                kind: Field::Set(kind),
                port: match port {
                    0 => Field::Keep,
                    port => Field::Set(port),
                },
                checksum: Field::Set(checksum),
            };
            map.serialize_entry("tunnel", &patch)?;
        }
        map.end()
    }
}

// === impl ServicePatch ===

/// The names that every scheduler accepts: the patch need not know the scheduler.
fn flags<S: Serializer>(flags: &Field<SchedulerFlags>, serializer: S) -> Result<S::Ok, S::Error> {
    let any_scheduler = Name::from_kernel(b"");
    match flags {
        Field::Set(flags) => serializer.collect_seq(flags.names(any_scheduler)),
        Field::Keep | Field::Clear => serializer.serialize_none(),
    }
}

// === impl SyncDaemonBody ===

impl Serialize for SyncDaemonBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SyncDaemonConfig {
            state: _,
            interface,
            sync_id,
            max_length,
            multicast_group,
            multicast_port,
            multicast_ttl,
        } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("interface", interface)?;
        map.serialize_entry("sync_id", sync_id)?;
        if let Some(max_length) = max_length {
            map.serialize_entry("max_length", max_length)?;
        }
        map.serialize_entry("multicast_group", multicast_group)?;
        map.serialize_entry("multicast_port", multicast_port)?;
        map.serialize_entry("multicast_ttl", multicast_ttl)?;
        map.end()
    }
}

//! Fallback servers: the servers that a service gets while too few of its own are healthy.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Checksum, Forwarding, ServerConfig, ServerDraft, ServerKey, ServiceKey, Tunnel, TunnelType,
    Violation,
};

/// A fallback server of a health check, in the shape of a declared server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Json", into = "Json")]
pub struct FallbackServer {
    /// Address and port.
    pub key: ServerKey,
    /// Configuration, with the weight that it has while it serves: at least 1.
    pub config: ServerConfig,
}

/// As in the view of a declared server.
#[derive(Serialize, Deserialize)]
struct Json {
    id: ServerKey,
    address: IpAddr,
    port: u16,
    forwarding: Forwarding,
    weight: u32,
    upper_threshold: u32,
    lower_threshold: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tunnel: Option<TunnelJson>,
}

#[derive(Serialize, Deserialize)]
struct TunnelJson {
    #[serde(rename = "type")]
    kind: TunnelType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    checksum: Checksum,
}

const FIELD: &str = "fallback_servers";

// === impl FallbackServer ===

impl FallbackServer {
    /// Most fallback servers of a service.
    pub const MAX: usize = 16;

    /// Those that a list of drafts describes, for a service.
    pub(super) fn list(
        drafts: &[ServerDraft],
        service: ServiceKey,
        violations: &mut Vec<Violation>,
    ) -> Arc<[Self]> {
        let max = Self::MAX;
        if drafts.is_empty() || drafts.len() > max {
            let message = format!("has {} servers; it must have 1 to {max}", drafts.len());
            violations.push(Violation::new(FIELD, message));
            return [].into();
        }
        let mut first = HashMap::new();
        let mut servers = Vec::with_capacity(drafts.len());
        for (index, draft) in drafts.iter().enumerate() {
            let field = format!("{FIELD}[{index}]");
            match draft.new_server(service) {
                Ok((_, config)) if config.weight == 0 => {
                    let message = "must be at least 1: a server of weight 0 gets no connections";
                    violations.push(Violation::new(format!("{field}.weight"), message));
                }
                Ok((key, config)) => match first.insert(key, index) {
                    None => servers.push(Self { key, config }),
                    Some(other) => {
                        let message = format!("duplicates {FIELD}[{other}]: {key}");
                        violations.push(Violation::new(field, message));
                    }
                },
                Err(error) => violations.extend(error.below(&field).violations),
            }
        }
        servers.into()
    }
}

impl From<FallbackServer> for Json {
    fn from(server: FallbackServer) -> Self {
        let FallbackServer { key, config } = server;
        let Tunnel {
            kind,
            port,
            checksum,
        } = config.tunnel;
        let tunnel = (config.forwarding == Forwarding::Tunnel).then_some(TunnelJson {
            kind,
            port: (port != 0).then_some(port),
            checksum,
        });
        Self {
            id: key,
            address: key.address,
            port: key.port,
            forwarding: config.forwarding,
            weight: config.weight,
            upper_threshold: config.upper_threshold,
            lower_threshold: config.lower_threshold,
            tunnel,
        }
    }
}

impl From<Json> for FallbackServer {
    fn from(json: Json) -> Self {
        let tunnel = json.tunnel.map(|tunnel| Tunnel {
            kind: tunnel.kind,
            port: tunnel.port.unwrap_or(0),
            checksum: tunnel.checksum,
        });
        Self {
            key: json.id,
            config: ServerConfig {
                forwarding: json.forwarding,
                weight: json.weight,
                upper_threshold: json.upper_threshold,
                lower_threshold: json.lower_threshold,
                tunnel: tunnel.unwrap_or_default(),
            },
        }
    }
}

//! What an operation writes, in the shapes of the API.

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Include, Op, Rates, Server, ServerConfig, ServerKey, ServerView, Service, ServiceConfig,
    ServiceKey, ServiceView, SettingSpec, Stats, SyncDaemonConfig,
};

/// What an operation writes, under one member that names the resource: `{"server": {…}}`. `None` if it
/// deletes, stops or zeroes.
pub fn written(op: &Op) -> Option<Value> {
    Some(match op {
        Op::CreateService(key, config) | Op::SetService(key, config) => {
            json!({"service": service(*key, *config)})
        }
        Op::CreateServer(_, key, config) | Op::SetServer(_, key, config) => {
            json!({"server": server(*key, *config)})
        }
        Op::SetTimeouts(timeouts) => json!({ "timeouts": timeouts }),
        Op::StartSyncDaemon(config) => json!({"sync_daemon": sync_daemon(config)}),
        Op::SetSetting { name, text } => {
            let spec = SettingSpec::find(name);
            let value = spec.map_or_else(|| json!(text), |spec| json!(spec.parse(text)));
            json!({"settings": {*name: value}})
        }
        Op::DeleteService(_)
        | Op::DeleteServer(..)
        | Op::Clear
        | Op::ZeroAll
        | Op::ZeroService(_)
        | Op::StopSyncDaemon(_) => return None,
    })
}

fn service(key: ServiceKey, config: ServiceConfig) -> Value {
    const NOTHING: Include = Include {
        servers: false,
        stats: false,
        rates: false,
    };
    let service = Service {
        key,
        config,
        stats: Stats::default(),
        rates: Rates::default(),
    };
    configuration(&ServiceView::bare(&service, NOTHING))
}

fn server(key: ServerKey, config: ServerConfig) -> Value {
    const NOTHING: Include = Include {
        servers: false,
        stats: false,
        rates: false,
    };
    let server = Server {
        key,
        config,
        active_connections: 0,
        inactive_connections: 0,
        persistent_connections: 0,
        stats: Stats::default(),
        rates: Rates::default(),
    };
    configuration(&ServerView::new(&server, NOTHING))
}

/// A view without what is no configuration.
fn configuration(view: &impl Serialize) -> Value {
    const OTHERS: [&str; 4] = [
        "active_connections",
        "inactive_connections",
        "persistent_connections",
        "etag",
    ];
    // A view has no maps with keys that JSON lacks.
    let mut value = serde_json::to_value(view).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.retain(|name, _| !OTHERS.contains(&name.as_str()));
    }
    value
}

fn sync_daemon(config: &SyncDaemonConfig) -> Value {
    let SyncDaemonConfig {
        state,
        interface,
        sync_id,
        max_length,
        multicast_group,
        multicast_port,
        multicast_ttl,
    } = config;
    let mut value = json!({
        "state": state,
        "interface": interface,
        "sync_id": sync_id,
        "multicast_group": multicast_group,
        "multicast_port": multicast_port,
        "multicast_ttl": multicast_ttl,
    });
    if let (Some(object), Some(max_length)) = (value.as_object_mut(), max_length) {
        object.insert("max_length".to_owned(), json!(max_length));
    }
    value
}

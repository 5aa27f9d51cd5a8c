//! `before` and `after` of a record: configurations in the shapes of the API.

use serde::Serialize;
use serde_json::{Value, json};

use super::event::{Changes, Operations};
use crate::model::{
    Include, Op, Rates, Server, ServerConfig, ServerKey, ServerView, Service, ServiceConfig,
    ServiceKey, ServiceView, SettingSpec, Stats, SyncDaemonConfig,
};

/// Longest value of `before` and `after`, as JSON in bytes.
pub(super) const MAX_VALUE: usize = 4096;
/// Replaces what does not fit.
pub(super) const TRUNCATED: &str = "truncated";

/// The state that was replaced, and the one that replaced it.
pub(super) fn before_and_after(changes: &Changes) -> (Option<Value>, Option<Value>) {
    match changes {
        Changes::None => (None, None),
        Changes::One(op, undo) => {
            let before = undo.as_ref().and_then(written);
            (before.map(limited), written(op).map(limited))
        }
        Changes::Several(Operations { first, more, .. }) => {
            let before = first.iter().filter_map(|(op, undo)| {
                let value = written(undo.as_ref()?)?;
                Some(operation(op, Some(value)))
            });
            let after = first.iter().map(|(op, _)| operation(op, written(op)));
            (list(before, false), list(after, *more))
        }
        Changes::Restore {
            commands,
            done,
            refused,
        } => {
            let counts = json!({"commands": commands, "done": done, "refused": refused});
            (None, Some(counts))
        }
        Changes::Lost(records) => (None, Some(json!({ "records_lost": records }))),
        Changes::Requests(count) => (None, Some(json!({ "requests": count }))),
    }
}

/// What an operation writes; `None` if it deletes, stops or zeroes.
fn written(op: &Op) -> Option<Value> {
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

/// An operation of several, in the shape of those of a batch.
fn operation(op: &Op, value: Option<Value>) -> Value {
    let mut object = json!({"op": op.name()});
    let mut set = |name: &str, value: Option<Value>| {
        if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
            object.insert(name.to_owned(), value);
        }
    };
    set("service", op.service().map(|key| json!(key)));
    set("server", op.server().map(|key| json!(key)));
    set("value", value);
    object
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

/// The value, or [`TRUNCATED`] if it is too long.
fn limited(value: Value) -> Value {
    match length(&value) > MAX_VALUE {
        true => TRUNCATED.into(),
        false => value,
    }
}

/// The items that fit, and [`TRUNCATED`] if there are others; `None` without items.
fn list(items: impl Iterator<Item = Value>, more: bool) -> Option<Value> {
    // With the brackets, and with the comma and the quotation marks of the last item.
    let mut left = MAX_VALUE - TRUNCATED.len() - 5;
    let mut list = Vec::new();
    let mut cut = more;
    for item in items {
        match left.checked_sub(length(&item) + 1) {
            Some(rest) => left = rest,
            None => {
                cut = true;
                break;
            }
        }
        list.push(item);
    }
    if cut {
        list.push(TRUNCATED.into());
    }
    (!list.is_empty()).then_some(Value::Array(list))
}

/// Length as JSON in bytes.
fn length(value: &Value) -> usize {
    value.to_string().len()
}

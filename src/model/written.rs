//! What an operation writes, in the shapes of the API.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Op, ServerConfigView, ServiceView, SettingSpec};

/// What an operation writes, under one member that names the resource: `{"server": {…}}`. `None` if it
/// deletes, stops or zeroes.
pub fn written(op: &Op) -> Option<Value> {
    Some(match op {
        Op::CreateService(key, config, stored) => {
            json!({"service": configuration(&ServiceView::storing(*key, config, stored))})
        }
        Op::SetService(key, config) => {
            json!({"service": configuration(&ServiceView::of_config(*key, config))})
        }
        Op::SetStored(_, stored) => json!({ "service": stored }),
        Op::CreateServer(_, key, config) | Op::SetServer(_, key, config) => {
            json!({"server": configuration(&ServerConfigView::new(*key, config))})
        }
        Op::SetTimeouts(timeouts) => json!({ "timeouts": timeouts }),
        Op::StartSyncDaemon(config) => json!({ "sync_daemon": config }),
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

/// The fields that an operation changes, as they were and as they are to be, in the shape of [`written`].
/// `before` is the operation that would restore the object; `None` if there was none.
pub fn changed(before: Option<&Op>, after: &Op) -> (Option<Value>, Option<Value>) {
    let (mut before, mut after) = (before.and_then(written), written(after));
    if let (Some(old), Some(new)) = (&mut before, &mut after)
        && let (Some(old), Some(new)) = (fields(old), fields(new))
    {
        let all = old.clone();
        old.retain(|name, value| new.get(name) != Some(value));
        new.retain(|name, value| all.get(name) != Some(value));
    }
    (before, after)
}

/// The fields of the resource that is the only member of a value.
fn fields(value: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    value.as_object_mut()?.values_mut().next()?.as_object_mut()
}

/// A view without its ETag.
fn configuration(view: &impl Serialize) -> Value {
    // A view has no maps with keys that JSON lacks.
    let mut value = serde_json::to_value(view).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.remove("etag");
    }
    value
}

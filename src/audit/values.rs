//! `before` and `after` of a record: configurations in the shapes of the API.

use serde_json::{Value, json};

use super::event::{Changes, Operations};
use crate::model::{Op, written};

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

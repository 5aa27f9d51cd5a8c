//! What only applies may change: the services of tables under repair.

use std::borrow::Borrow;

use super::registry::Claims;
use crate::model::{Error, Op, Reason, ServiceKey};

/// Services that an error lists.
const MAX_LISTED: usize = 100;

/// Refuses operations on the services of tables under repair, other than zeroing. What follows a clear is
/// permitted, because that suspends the repairs.
pub(in crate::app) fn refuse_protected(
    protected: &Claims,
    ops: impl Iterator<Item = impl Borrow<Op>>,
) -> Result<(), Error> {
    if protected.is_empty() {
        return Ok(());
    }
    let mut found: Vec<ServiceKey> = Vec::new();
    for op in ops {
        let op = op.borrow();
        match op {
            Op::Clear => break,
            Op::ZeroService(_) => continue,
            _ => {}
        }
        let key = op.service().filter(|key| protected.contains_key(key));
        if let Some(key) = key.filter(|key| found.len() < MAX_LISTED && !found.contains(key)) {
            found.push(key);
        }
    }
    let owned = |key: &ServiceKey| protected.get(key).map(|owner| (*key, owner));
    let Some((key, owner)) = found.first().and_then(owned) else {
        return Ok(());
    };
    let others = match found.len() {
        1 => String::new(),
        count => format!(", and {} others", count - 1),
    };
    let detail = format!(
        "{key} belongs to the table of {owner}, which the daemon repairs{others}; nothing was changed"
    );
    let error = Error::new(Reason::ServiceOwned, detail).with_hint(format!(
        "drain the server, apply the table with the change, or set its reconcile to off or report: \
         PATCH /v1/tables/{owner}"
    ));
    let listed = found.iter().filter_map(owned);
    Err(listed.fold(error, |error, (key, owner)| {
        error.with_violation("", format!("{key} belongs to the table of {owner}"))
    }))
}

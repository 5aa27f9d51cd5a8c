//! What only applies may change: what tables under repair declare.

use std::{borrow::Borrow, collections::HashMap, fmt};

use crate::model::{Director, Error, Op, Owner, Reason, ServiceKey};

/// The owner of each service that a table declares.
pub(in crate::app) type Claims = HashMap<ServiceKey, Owner>;

/// What tables under repair declare, with the owners.
#[derive(Clone, Debug, Default)]
pub(in crate::app) struct Protected {
    services: Claims,
    timeouts: Option<Owner>,
    sync_daemons: Option<Owner>,
}

/// An object that is protected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Object {
    Service(ServiceKey),
    Timeouts,
    SyncDaemons,
}

/// Objects that an error lists.
const MAX_LISTED: usize = 100;

/// Refuses operations on what tables under repair declare, other than zeroing. What follows a clear is
/// permitted, because that suspends the repairs.
pub(in crate::app) fn refuse_protected(
    protected: &Protected,
    ops: impl Iterator<Item = impl Borrow<Op>>,
) -> Result<(), Error> {
    if protected.is_empty() {
        return Ok(());
    }
    let mut found: Vec<(Object, &Owner)> = Vec::new();
    for op in ops {
        let op = op.borrow();
        if *op == Op::Clear {
            break;
        }
        if let Some(of) = protected.object(op)
            && found.len() < MAX_LISTED
            && !found.contains(&of)
        {
            found.push(of);
        }
    }
    let Some((object, owner)) = found.first() else {
        return Ok(());
    };
    let others = match found.len() {
        1 => String::new(),
        count => format!(", and {} others", count - 1),
    };
    let verb = object.verb();
    let detail = format!(
        "{object} {verb} to the table of {owner}, which the daemon repairs{others}; nothing was changed"
    );
    let (reason, hint) = match object {
        Object::Service(_) => (Reason::ServiceOwned, "drain the server, apply"),
        Object::Timeouts | Object::SyncDaemons => (Reason::ResourceOwned, "apply"),
    };
    let error = Error::new(reason, detail).with_hint(format!(
        "{hint} the table with the change, or set its reconcile to off or report: PATCH /v1/tables/{owner}"
    ));
    Err(found.iter().fold(error, |error, (object, owner)| {
        let verb = object.verb();
        error.with_violation("", format!("{object} {verb} to the table of {owner}"))
    }))
}

/// Removes the claims of an owner. Another has some of its services, perhaps.
pub(super) fn forget<'a>(
    claims: &mut Claims,
    owner: &Owner,
    services: impl Iterator<Item = &'a ServiceKey>,
) {
    for key in services {
        if claims.get(key) == Some(owner) {
            claims.remove(key);
        }
    }
}

// === impl Protected ===

impl Protected {
    pub(in crate::app) fn is_empty(&self) -> bool {
        self.services.is_empty() && self.timeouts.is_none() && self.sync_daemons.is_none()
    }

    /// Adds what a table declares.
    pub(super) fn add<'a>(
        &mut self,
        owner: &Owner,
        services: impl Iterator<Item = &'a ServiceKey>,
        director: &Director,
    ) {
        self.services
            .extend(services.map(|key| (*key, owner.clone())));
        if director.timeouts.is_some() {
            self.timeouts = Some(owner.clone());
        }
        if director.sync_daemons.is_some() {
            self.sync_daemons = Some(owner.clone());
        }
    }

    /// Removes what a table declares.
    pub(super) fn remove<'a>(
        &mut self,
        owner: &Owner,
        services: impl Iterator<Item = &'a ServiceKey>,
    ) {
        forget(&mut self.services, owner, services);
        for claim in [&mut self.timeouts, &mut self.sync_daemons] {
            if claim.as_ref() == Some(owner) {
                *claim = None;
            }
        }
    }

    /// What an operation changes that is protected.
    fn object(&self, op: &Op) -> Option<(Object, &Owner)> {
        match op {
            Op::ZeroService(_) => None,
            Op::SetTimeouts(_) => Some((Object::Timeouts, self.timeouts.as_ref()?)),
            Op::StartSyncDaemon(_) | Op::StopSyncDaemon(_) => {
                Some((Object::SyncDaemons, self.sync_daemons.as_ref()?))
            }
            op => {
                let key = op.service()?;
                Some((Object::Service(key), self.services.get(&key)?))
            }
        }
    }
}

// === impl Object ===

impl Object {
    fn verb(self) -> &'static str {
        match self {
            Self::Service(_) => "belongs",
            Self::Timeouts | Self::SyncDaemons => "belong",
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key) => key.fmt(f),
            Self::Timeouts => f.write_str("the timeouts"),
            Self::SyncDaemons => f.write_str("the sync daemons"),
        }
    }
}

//! What drafts describe as a whole: services and servers, validated.

use std::{collections::hash_map::Entry, sync::Arc};

use foldhash::{HashMap, HashMapExt};

use crate::{
    executor::Table,
    model::{
        Error, Server, ServerDraft, ServerIndex, ServiceConfig, ServiceDraft, ServiceEntry,
        ServiceKey, StoredTarget, TargetServer, TargetService, Violation, both,
    },
};

/// A service that a draft describes as a whole.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub config: ServiceConfig,
    /// The stored fields. Those that the draft lacks stay.
    pub stored: StoredTarget,
    /// `None`: the draft has none, so that those that there are stay.
    pub servers: Option<Vec<TargetServer>>,
}

// === impl Whole ===

impl Whole {
    /// The service as a target. It has no other servers than those of the draft.
    pub fn into_target(self, key: ServiceKey, origin: usize) -> TargetService {
        TargetService {
            key,
            config: self.config,
            stored: self.stored,
            servers: self.servers.unwrap_or_default(),
            origin,
        }
    }
}

/// The key of a draft that must name one. An error contains the other fields at fault too.
pub fn service_key(draft: &ServiceDraft, missing: Error) -> Result<ServiceKey, Error> {
    match draft.key() {
        Ok(Some(key)) => Ok(key),
        _ => new_service(draft, missing).map(|(key, _)| key),
    }
}

/// The new service that a draft describes. An invalid key does not hide the other fields.
pub(super) fn new_service(
    draft: &ServiceDraft,
    missing: Error,
) -> Result<(ServiceKey, Whole), Error> {
    let key = draft.key().and_then(|key| key.ok_or(missing));
    let checked = key.as_ref().copied();
    let checked = checked.unwrap_or_else(|_| draft.provisional_key());
    both(key, whole(draft, checked, None))
}

/// The service that a draft describes as a whole. A value that `present` has is accepted.
pub(super) fn whole(
    draft: &ServiceDraft,
    key: ServiceKey,
    present: Option<&ServiceEntry>,
) -> Result<Whole, Error> {
    let config = match present {
        Some(entry) => draft.replace(key, entry.service.config),
        None => draft.create(key),
    };
    let present = present.map_or(&[][..], |entry| &entry.servers);
    let servers = draft.servers.as_deref();
    let servers = servers.map(|drafts| new_servers(drafts, key, present));
    let parts = both(draft.whole_stored(key), servers.transpose());
    let (config, (stored, servers)) = both(config, parts)?;
    check_fallback(&stored, servers.as_deref().unwrap_or_default())?;
    Ok(Whole {
        config,
        stored,
        servers,
    })
}

/// Refuses servers that are fallback servers too.
fn check_fallback(stored: &StoredTarget, servers: &[TargetServer]) -> Result<(), Error> {
    let check = stored.health_check.as_ref().and_then(Option::as_ref);
    let fallback = check.and_then(|check| check.fallback_servers.as_deref());
    let fallback = fallback.unwrap_or_default().iter().enumerate();
    let violations = fallback.filter_map(|(index, one)| {
        let same = servers.iter().find(|server| server.key == one.key)?;
        let message = format!(
            "is also servers[{}]: a fallback server is no other server of the service",
            same.origin
        );
        let field = format!("health_check.fallback_servers[{index}]");
        Some(Violation::new(field, message))
    });
    let violations: Vec<_> = violations.collect();
    match violations.is_empty() {
        true => Ok(()),
        false => Err(Error::from_violations(violations)),
    }
}

/// The servers that a list of drafts describes, in its order. Reports all invalid drafts at once. A
/// value that a server in `present` has is accepted.
pub(super) fn new_servers(
    drafts: &[ServerDraft],
    service: ServiceKey,
    present: &[Server],
) -> Result<Vec<TargetServer>, Error> {
    let mut present = ServerIndex::new(present);
    let mut servers: Vec<TargetServer> = Vec::with_capacity(drafts.len());
    let mut first_index = HashMap::with_capacity(drafts.len());
    let mut violations = Vec::new();
    let declared = drafts.iter().enumerate();
    for (origin, draft) in declared.filter(|(_, draft)| !draft.is_undeclared()) {
        let found = draft.key(service).ok().flatten();
        let server = match found.and_then(|key| present.get(key)) {
            Some(Server { key, config, .. }) => {
                let new = draft.replace(service, *key, *config);
                new.map(|new| (*key, new))
            }
            None => draft.new_server(service),
        };
        match server {
            Ok((key, config)) => match first_index.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(origin);
                    servers.push(TargetServer {
                        key,
                        config,
                        origin,
                    });
                }
                Entry::Occupied(first) => violations.push(Violation::new(
                    format!("servers[{origin}]"),
                    format!("duplicates servers[{}]: {key}", first.get()),
                )),
            },
            Err(error) => violations.extend(error.below(&format!("servers[{origin}]")).violations),
        }
    }
    if violations.is_empty() {
        Ok(servers)
    } else {
        Err(Error::from_violations(violations))
    }
}

/// The services that the drafts of a table describe, each with its servers. Reports all invalid drafts at
/// once. A value that the kernel has is accepted.
pub(super) fn declared_services(
    drafts: &[ServiceDraft],
    table: &Table,
) -> Result<Vec<Arc<TargetService>>, Error> {
    let present: HashMap<_, _> = table
        .iter()
        .map(|entry| (entry.service.key, entry))
        .collect();
    let mut services: Vec<Arc<TargetService>> = Vec::with_capacity(drafts.len());
    let mut first_index = HashMap::with_capacity(drafts.len());
    let mut violations = Vec::new();
    for (origin, draft) in drafts.iter().enumerate() {
        let missing = || {
            Error::invalid(
                "id",
                "is required, or protocol, address and port, or fwmark",
            )
        };
        let named = draft.key().and_then(|key| key.ok_or_else(missing));
        let complete = match draft.servers {
            Some(_) => Ok(()),
            None => Err(Error::invalid("servers", "is required; [] for none")),
        };
        let service = both(named, complete)
            .and_then(|(key, ())| Ok((key, whole(draft, key, present.get(&key).copied())?)));
        match service {
            Ok((key, whole)) => match first_index.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(origin);
                    services.push(Arc::new(whole.into_target(key, origin)));
                }
                Entry::Occupied(first) => violations.push(Violation::new(
                    format!("services[{origin}]"),
                    format!("duplicates services[{}]: {key}", first.get()),
                )),
            },
            Err(error) => violations.extend(error.below(&format!("services[{origin}]")).violations),
        }
    }
    match violations.is_empty() {
        true => Ok(services),
        false => Err(Error::from_violations(violations)),
    }
}

/// The order in which to create servers so that the kernel lists them in the order given: it inserts
/// each before the others.
pub(super) fn in_kernel_order(servers: &[TargetServer]) -> Vec<TargetServer> {
    servers.iter().rev().copied().collect()
}

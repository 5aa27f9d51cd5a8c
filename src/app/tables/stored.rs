//! How declared tables are stored: each service as a whole, and beside it the servers that were edited since. An apply
//! that edits some servers of many services stores only these.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    declared::{DeclaredTable, Services, TableState, changed, gone, services_of},
    pending::{edit, edited_servers},
};
use crate::{
    model::{Owner, ServiceKey, TargetServer, TargetService},
    store::{Collection, Store, StoreError, WriteBatch},
};

/// Servers whose configurations are others than those that are stored with their services, by owner and service.
#[derive(Debug, Default)]
pub(super) struct Edits(BTreeMap<(Owner, ServiceKey), Vec<TargetServer>>);

/// The edits of a service from now on; `None` if it is stored with all of them.
pub(super) type EditsChange = ((Owner, ServiceKey), Option<Vec<TargetServer>>);

/// Tables, by owner.
const TABLES: Collection<TableState> = Collection::new("tables");
/// Services of tables, by `OWNER/SERVICE`.
const SERVICES: Collection<TargetService> = Collection::new("table-services");
/// Their servers that were edited since, by `OWNER/SERVICE`.
const EDITS: Collection<Vec<TargetServer>> = Collection::new("table-edits");

/// The part of the servers of a service that are stored as edits at most: one in so many. With more, the service is
/// stored as a whole.
const PART: usize = 4;

/// The stored tables, and what was edited. Blocks.
pub(super) fn load(store: &Store) -> Result<(Vec<DeclaredTable>, Edits), StoreError> {
    let mut edited: HashMap<_, _> = store.load_if_available(&EDITS)?.into_iter().collect();
    let mut edits = Edits::default();
    let mut services: BTreeMap<String, Services> = BTreeMap::new();
    for (key, mut service) in store.load_if_available(&SERVICES)? {
        let owner = key.split('/').next().unwrap_or_default();
        if let (Some(edited), Ok(owner)) = (edited.remove(&key), owner.parse()) {
            edit(&mut service, &edited);
            edits.0.insert((owner, service.key), edited);
        }
        let of_owner = services.entry(owner.to_owned()).or_default();
        of_owner.insert(service.key, Arc::new(service));
    }
    let mut tables = Vec::new();
    for (name, state) in store.load_if_available(&TABLES)? {
        let Ok(owner) = name.parse::<Owner>() else {
            tracing::warn!(
                name,
                "a stored table has no valid owner; it is left as it is"
            );
            continue;
        };
        let services = services.remove(&name).unwrap_or_default();
        tables.push(DeclaredTable::new(owner, services, state));
    }
    Ok((tables, edits))
}

// === impl Edits ===

impl Edits {
    /// Adds what differs between two tables of an owner to a batch. The result is for [`stored`](Self::stored).
    pub fn write(
        &self,
        batch: &mut WriteBatch,
        owner: &Owner,
        old: Option<&DeclaredTable>,
        new: Option<&DeclaredTable>,
    ) -> Result<Vec<EditsChange>, StoreError> {
        let name = |service: &ServiceKey| format!("{owner}/{service}");
        let (before, after) = (services_of(old), services_of(new));
        let (mut changes, mut without_edits) = (Vec::new(), Vec::new());
        for key in gone(before, after) {
            batch.delete(&SERVICES, name(key))?;
            without_edits.push(*key);
        }
        for (key, service) in changed(before, after) {
            let place = (owner.clone(), *key);
            match self.edits(&place, before.get(key).map(Arc::as_ref), service) {
                Some(edits) => {
                    batch.put(&EDITS, name(key), &edits)?;
                    changes.push((place, Some(edits)));
                }
                None => {
                    batch.put(&SERVICES, name(key), service)?;
                    without_edits.push(*key);
                }
            }
        }
        for key in without_edits {
            let place = (owner.clone(), key);
            if self.0.contains_key(&place) {
                batch.delete(&EDITS, name(&key))?;
                changes.push((place, None));
            }
        }
        match new {
            Some(table) => batch.put(&TABLES, owner.as_str(), &table.state)?,
            None => batch.delete(&TABLES, owner.as_str())?,
        }
        Ok(changes)
    }

    /// What was written is stored.
    pub fn stored(&mut self, changes: Vec<EditsChange>) {
        for (place, edits) in changes {
            match edits {
                Some(edits) => drop(self.0.insert(place, edits)),
                None => drop(self.0.remove(&place)),
            }
        }
    }

    /// The edits of a service that is changed, those from before included; `None` if it is to be stored as a whole.
    fn edits(
        &self,
        place: &(Owner, ServiceKey),
        before: Option<&TargetService>,
        after: &TargetService,
    ) -> Option<Vec<TargetServer>> {
        let edited = edited_servers(before?, after)?;
        let all = self.0.get(place).into_iter().flatten().copied();
        let all: BTreeMap<_, _> = all.chain(edited).map(|it| (it.key, it)).collect();
        (all.len() <= after.servers.len() / PART).then(|| all.into_values().collect())
    }
}

//! Reading declared tables.

use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::registry::{DeclaredTable, TableState, table_not_found};
use crate::{
    app::{App, ApplyOutcome, ApplyReport, RequestContext},
    budget::Charge,
    executor::{Table, TableQuery, offload},
    identity::Principal,
    model::{Error, Kept, Owner, ServiceEntry, TargetServer, TargetService},
};

/// A declared table and its state.
#[derive(Clone, Debug)]
pub struct TableReport {
    /// The table.
    pub table: Arc<DeclaredTable>,
    /// Whether the kernel has it.
    pub status: TableStatus,
    /// For a table that was made for this report.
    _charge: Option<Arc<Charge>>,
}

/// How a declared table and the kernel's compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableStatus {
    /// The kernel has what is declared.
    InSync,
    /// The kernel has something else.
    Drifted,
    /// It is being applied.
    Applying,
    /// The last apply failed, and the kernel does not have what is declared.
    Failed,
}

// === impl TableStatus ===

impl TableStatus {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Drifted => "drifted",
            Self::Applying => "applying",
            Self::Failed => "failed",
        }
    }
}

impl Serialize for TableStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

// === impl App ===

impl App {
    /// The declared tables that the principal may read, by owner.
    pub async fn declared_tables(
        &self,
        context: &RequestContext,
    ) -> Result<Vec<TableReport>, Error> {
        self.may_list(context)?;
        self.tables.available()?;
        let tables: Vec<_> = self
            .tables
            .all()
            .into_iter()
            .filter(|table| context.principal.sees_table(table))
            .collect();
        if tables.is_empty() {
            return Ok(Vec::new());
        }
        let current = self.run_query(context, TableQuery).await?.value;
        let report = |table| self.report_of(context, table, &current);
        Ok(offload(|| tables.into_iter().map(report).collect()))
    }

    /// The declared table of an owner; of [`Owner::unmanaged`] the services that no table declares.
    pub async fn declared_table(
        &self,
        context: &RequestContext,
        owner: &Owner,
    ) -> Result<TableReport, Error> {
        if owner.is_unmanaged() {
            self.may_list(context)?;
            self.tables.available()?;
            let current = self.run_query(context, TableQuery).await?.value;
            return offload(|| self.unmanaged(context, &current));
        }
        let table = self.visible_table(context, owner)?;
        let current = self.run_query(context, TableQuery).await?.value;
        Ok(offload(|| self.report_of(context, table, &current)))
    }

    /// The services that no table declares, in the shape of a table that does. Only those that the principal may
    /// read.
    fn unmanaged(&self, context: &RequestContext, current: &Table) -> Result<TableReport, Error> {
        let is_unmanaged = |entry: &&ServiceEntry| {
            let owner = Kept::owner(&entry.service.kept);
            owner.is_some_and(Owner::is_unmanaged) && context.principal.sees(entry.service.key)
        };
        let entries = || current.iter().filter(is_unmanaged);
        let bytes = |entry: &ServiceEntry| {
            size_of::<TargetService>() + entry.servers.len() * size_of::<TargetServer>()
        };
        let bytes = entries().map(bytes).sum();
        let charge = self.budget_of(context).charge(bytes)?;
        let services = entries().map(|entry| (entry.service.key, Arc::new(declared(entry))));
        let table = DeclaredTable::new(
            Owner::unmanaged(),
            services.collect(),
            TableState::default(),
        );
        Ok(TableReport {
            table: Arc::new(table),
            status: TableStatus::InSync,
            _charge: Some(Arc::new(charge)),
        })
    }

    /// The operations that would make the services of an owner what its table declares.
    pub async fn drift(
        &self,
        context: &RequestContext,
        owner: Owner,
    ) -> Result<ApplyReport, Error> {
        let table = self.visible_table(context, &owner)?;
        let current = self.run_query(context, TableQuery).await?.value;
        offload(|| self.drift_of(context, &table, &current))
    }

    /// The table of an owner, if the principal may read it.
    fn visible_table(
        &self,
        context: &RequestContext,
        owner: &Owner,
    ) -> Result<Arc<DeclaredTable>, Error> {
        self.may_list(context)?;
        self.tables.available()?;
        let table = self.tables.table(owner);
        let table = table.filter(|table| context.principal.sees_table(table));
        table.ok_or_else(|| table_not_found(owner))
    }

    fn report_of(
        &self,
        context: &RequestContext,
        table: Arc<DeclaredTable>,
        current: &Table,
    ) -> TableReport {
        let status = match self.tables.is_applying(&table.owner) {
            true => TableStatus::Applying,
            false => match self.drift_of(context, &table, current) {
                Ok(report) if report.operations.is_empty() => TableStatus::InSync,
                _ => {
                    let last = table.state.last_apply.as_ref().map(|last| last.outcome);
                    match last {
                        Some(ApplyOutcome::RolledBack | ApplyOutcome::RollbackIncomplete) => {
                            TableStatus::Failed
                        }
                        _ => TableStatus::Drifted,
                    }
                }
            },
        };
        TableReport {
            table,
            status,
            _charge: None,
        }
    }
}

/// A service as a table would declare it that has it: its servers are in the kernel's order.
fn declared(entry: &ServiceEntry) -> TargetService {
    let servers = entry.servers.iter().map(|server| TargetServer {
        key: server.key,
        config: server.config,
        origin: 0,
    });
    TargetService {
        key: entry.service.key,
        config: entry.service.config,
        servers: servers.collect(),
        origin: 0,
    }
}

impl Principal {
    /// Whether reads show a table to the principal: all of it or nothing.
    pub(super) fn sees_table(&self, table: &DeclaredTable) -> bool {
        let owner = Some(table.owner.as_str());
        table.services.keys().all(|key| self.sees_of(*key, owner))
    }
}

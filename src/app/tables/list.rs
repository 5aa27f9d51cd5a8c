//! Reading declared tables.

use std::sync::Arc;

use super::{
    declared::{DeclaredTable, Services, TableState, status_after, table_not_found},
    registry::Registry,
    repairs::Conflict,
};
use crate::{
    app::{
        App, ApplyReport, KeyPage, Keyed, RequestContext,
        operations::Current,
        paging::{Token, binding},
    },
    budget::Charge,
    executor::{Table, TableQuery, offload},
    identity::Principal,
    model::{
        Error, Kept, Owner, ServiceEntry, StoredTarget, TableStatus, TableSummary, TargetServer,
        TargetService,
    },
};

/// A declared table and its state.
#[derive(Clone, Debug)]
pub struct TableReport {
    /// The table.
    pub table: Arc<DeclaredTable>,
    /// Whether the kernel has it.
    pub status: TableStatus,
    /// What other programs keep changing, if it is under repair.
    pub conflicts: Vec<Conflict>,
    /// For a table that was made for this report.
    _charge: Option<Arc<Charge>>,
}

/// A request for a page of the declared tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListTables {
    /// Most tables of the page; `None` or 0 for the default.
    pub page_size: Option<u32>,
    /// `next_page_token` of the previous page.
    pub page_token: Option<String>,
}

/// A table as reads show it, and whether it is being applied.
type Shown = (Arc<DeclaredTable>, bool);

/// Bytes of the text of a table in a list, and of the id of a service.
const USUAL_OVERVIEW: usize = 512;
const USUAL_ID: usize = 64;

// === impl TableReport ===

impl TableReport {
    /// The table without its services.
    pub fn summary(&self) -> TableSummary {
        self.table.summary(self.status)
    }
}

// === impl App ===

impl App {
    /// A page of the declared tables that the principal may read, by owner.
    pub async fn declared_tables(
        &self,
        context: &RequestContext,
        list: &ListTables,
    ) -> Result<KeyPage<TableReport>, Error> {
        let size = self.options.page_size(list.page_size)?;
        let binding = binding(&("tables", &context.principal));
        let token = list.page_token.as_deref();
        let token: Option<Token<Owner>> = token
            .map(|token| Token::parse(token, binding))
            .transpose()?;
        self.may_list(context)?;
        self.tables.available()?;
        let tables = self.tables.all_shown().into_iter();
        let tables = tables.filter(|(table, _)| context.principal.sees_table(table));
        let is_before =
            |table: &DeclaredTable| token.as_ref().is_some_and(|last| table.owner <= last.key);
        let mut rest = tables.skip_while(|(table, _)| is_before(table));
        let page: Vec<_> = rest.by_ref().take(size).collect();
        let more = rest.next().is_some();
        let charge = self
            .budget_of(context)
            .charge(page.iter().map(|(table, _)| bytes(table)).sum())?;
        if page.is_empty() {
            return Ok(KeyPage::new(Vec::new(), more, binding, charge));
        }
        let current = self.current_of_tables(context).await?;
        let report = |shown| self.report_of(context, shown, &current);
        let reports = offload(|| page.into_iter().map(report).collect());
        Ok(KeyPage::new(reports, more, binding, charge))
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
        let shown = self.visible_table(context, owner)?;
        let current = self.current_of_tables(context).await?;
        Ok(offload(|| self.report_of(context, shown, &current)))
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
            conflicts: Vec::new(),
            _charge: Some(Arc::new(charge)),
        })
    }

    /// The operations that would make the services of an owner what its table declares.
    pub async fn drift(
        &self,
        context: &RequestContext,
        owner: Owner,
    ) -> Result<ApplyReport, Error> {
        let (table, _) = self.visible_table(context, &owner)?;
        let current = self.current_of_tables(context).await?;
        offload(|| self.drift_of(context, &table, &current))
    }

    /// The table of an owner, and whether it is being applied, if the principal may read it.
    pub(super) fn visible_table(
        &self,
        context: &RequestContext,
        owner: &Owner,
    ) -> Result<Shown, Error> {
        self.may_list(context)?;
        self.tables.available()?;
        let shown = self.tables.shown(owner);
        let shown = shown.filter(|(table, _)| context.principal.sees_table(table));
        shown.ok_or_else(|| table_not_found(owner))
    }

    /// The report of a table that was read before the kernel's. If it has been applied meanwhile, the kernel's may be
    /// the one before, between, or after: the report says what was so at some time in between.
    pub(super) fn report_of(
        &self,
        context: &RequestContext,
        (table, is_applying): Shown,
        current: &Current,
    ) -> TableReport {
        let status = match is_applying || self.tables.is_applied_since(&table) {
            true => TableStatus::Applying,
            false => {
                let drift = self.drift_of(context, &table, current);
                let is_drifted = drift.map_or(true, |report| !report.operations.is_empty());
                let last = table.state.last_apply.as_ref().map(|last| last.outcome);
                status_after(last, is_drifted)
            }
        };
        TableReport {
            conflicts: self.conflicts_of(&table.owner),
            table,
            status,
            _charge: None,
        }
    }
}

// === impl Registry ===

impl Registry {
    /// The table of an owner as reads show it: one whose first apply has not ended declares nothing.
    fn shown(&self, owner: &Owner) -> Option<Shown> {
        let (table, is_applying) = self.table_and_state(owner);
        let table = table.or_else(|| is_applying.then(|| empty_table(owner.clone())));
        Some((table?, is_applying))
    }

    /// All tables as [`shown`](Self::shown), by owner.
    fn all_shown(&self) -> Vec<Shown> {
        let (mut tables, applying) = self.all_and_applying();
        for owner in &applying {
            if let Err(place) = tables.binary_search_by(|table| table.owner.cmp(owner)) {
                tables.insert(place, empty_table(owner.clone()));
            }
        }
        let with_state = |table: Arc<DeclaredTable>| {
            let is_applying = applying.contains(&table.owner);
            (table, is_applying)
        };
        tables.into_iter().map(with_state).collect()
    }
}

/// The table of an owner that has declared nothing yet.
fn empty_table(owner: Owner) -> Arc<DeclaredTable> {
    let (services, state) = (Services::new(), TableState::default());
    Arc::new(DeclaredTable::new(owner, services, state))
}

/// A service as a table would declare it that has it: its servers are in the kernel's order.
pub(super) fn declared(entry: &ServiceEntry) -> TargetService {
    let servers = entry.configured().map(|server| TargetServer {
        key: server.key,
        config: server.config,
        origin: 0,
    });
    TargetService {
        key: entry.service.key,
        config: entry.service.config,
        stored: StoredTarget::of_present(entry.service.stored()),
        servers: servers.collect(),
        origin: 0,
    }
}

/// What a table in a list occupies, and its encoded form, about.
fn bytes(table: &Arc<DeclaredTable>) -> usize {
    size_of::<TableReport>() + USUAL_OVERVIEW + table.state.lost.len() * USUAL_ID
}

impl Keyed for TableReport {
    type Key = Owner;

    fn key(&self) -> Owner {
        self.table.owner.clone()
    }
}

impl Principal {
    /// Whether reads show a table to the principal: all of it or nothing.
    pub(super) fn sees_table(&self, table: &DeclaredTable) -> bool {
        // What it is about to declare is not known here.
        if table.state.generation == 0 {
            return self.sees_everything();
        }
        let owner = Some(table.owner.as_str());
        table.services.keys().all(|key| self.sees_of(*key, owner))
    }
}

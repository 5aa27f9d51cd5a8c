//! Changing how a declared table is kept.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    TableReport,
    declared::{DeclaredTable, declare, table_not_found},
    registry::Registry,
};
use crate::{
    app::{App, Guard, RequestContext, attempt::event_of},
    executor::offload,
    model::{Adopt, Error, Owner, Reason, Reconcile, TableDraft},
    watch::Author,
};

impl App {
    /// Changes the settings of a declared table. Its services stay as they are, and nothing is changed in the
    /// kernel.
    pub async fn update_table(
        &self,
        context: &RequestContext,
        owner: Owner,
        draft: TableDraft,
        guard: Guard,
    ) -> Result<TableReport, Error> {
        let updated = self.updated_table(context, &owner, &draft, guard).await;
        let is_refused = updated.as_ref().is_err_and(|error| {
            // The decision has recorded it.
            matches!(
                error.reason,
                Reason::PermissionDenied | Reason::Unauthenticated
            )
        });
        if !is_refused && !context.dry_run {
            self.audit_log()
                .record(event_of(context, "update_table", &updated));
        }
        let table = updated?;
        let current = self.current_of_tables(context).await?;
        Ok(offload(|| {
            self.report_of(context, (table, false), &current)
        }))
    }

    async fn updated_table(
        &self,
        context: &RequestContext,
        owner: &Owner,
        draft: &TableDraft,
        guard: Guard,
    ) -> Result<Arc<DeclaredTable>, Error> {
        self.may_apply(context, owner, Adopt::None, [].into_iter())?;
        for (field, is_present) in [
            ("services", draft.services.is_some()),
            ("timeouts", draft.timeouts.is_some()),
            ("sync_daemons", draft.sync_daemons.is_some()),
        ] {
            if is_present {
                let message = "cannot be changed with PATCH; apply the table with PUT";
                return Err(Error::invalid(field, message));
            }
        }
        self.tables.available()?;
        let _lock = self.lock_table(context).await?;
        let old = self.tables.table(owner);
        let old = old.ok_or_else(|| table_not_found(owner))?;
        let touched = old.services.keys().map(|key| (*key, false));
        self.may_apply(context, owner, Adopt::None, touched)?;
        self.may_declare(context, [Some(&old.state.director)])?;
        let settings = draft.settings(old.state.settings)?;
        if context.resumed && settings == old.state.settings {
            return Ok(old);
        }
        guard.check(Some(&[old.etag]))?;
        if settings == old.state.settings {
            return Ok(old);
        }
        if self.tables.is_interrupted(owner) {
            return Err(Error::new(
                Reason::RateLimited,
                "an apply of this table was interrupted and is not recovered yet; nothing was changed",
            )
            .with_hint("apply the table again, or retry when its state is not applying"));
        }
        let lost = old.state.lost.clone();
        let mut new = declare(
            owner,
            Some(&old),
            old.services.clone(),
            settings,
            old.state.director.clone(),
        );
        new.state.lost = lost;
        if !context.dry_run {
            let changed = vec![(owner.clone(), Some(new.clone()))];
            self.tables.replace(changed, &context.author()).await?;
        }
        Ok(Arc::new(new))
    }
}

// === impl Registry ===

impl Registry {
    /// Sets the tables under repair to `report`, because somebody has cleared the kernel's table. The caller
    /// holds the lock of the table.
    pub(in crate::app) async fn suspend_repairs(&self, author: &Author) -> Result<(), Error> {
        let suspended = self.repairing().into_iter().map(|table| {
            let mut table = DeclaredTable::clone(&table);
            table.state.settings.reconcile = Reconcile::Report;
            table.state.generation += 1;
            let table = DeclaredTable::new(table.owner, table.services, table.state);
            (table.owner.clone(), Some(table))
        });
        let suspended: Vec<_> = suspended.collect();
        if suspended.is_empty() {
            return Ok(());
        }
        tracing::warn!(
            tables = suspended.len(),
            "the kernel's table is cleared: tables under repair are only reported from now on"
        );
        self.replace(suspended, author)
            .await
            .map_err(|error| Error {
                detail: format!(
                    "{error}; the kernel's table is cleared, and the daemon repairs it again"
                ),
                ..Error::from(error)
            })
    }

    /// The owners of the tables under repair.
    pub(in crate::app) fn repairing_owners(&self) -> BTreeSet<Owner> {
        let tables = self.repairing().into_iter();
        tables.map(|table| table.owner.clone()).collect()
    }

    fn repairing(&self) -> Vec<Arc<DeclaredTable>> {
        let mut tables = self.reconciled();
        tables.retain(|table| table.is_repaired());
        tables
    }
}

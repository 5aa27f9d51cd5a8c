//! Applying and deleting declared tables.

use std::{sync::Arc, time::Instant};

use super::{
    declared::{declare, services_of, table_not_found},
    options::{ApplyOptions, DeleteTableOptions},
    plan::touched_services,
};
use crate::{
    app::{
        App, ApplyReport, Guard, RequestContext, described::declared_services,
        services::confirm_mismatch,
    },
    executor::offload,
    model::{Adopt, Deletions, Error, Owner, TableDraft},
};

impl App {
    /// Makes the services of an owner what a table declares: creates, then edits, then deletes. Other
    /// services are not touched. Once it has begun, it runs to its end.
    ///
    /// The report of an apply that failed has its [`failure`](ApplyReport::failure). An error says that
    /// nothing was changed.
    pub async fn apply_table(
        &self,
        context: &RequestContext,
        owner: Owner,
        mut draft: TableDraft,
        options: ApplyOptions,
    ) -> Result<ApplyReport, Error> {
        self.may_apply(context, &owner, options.adopt, [].into_iter())?;
        let services = draft.services.take().ok_or_else(|| {
            Error::invalid(
                "services",
                "is required: all services of the owner; [] for none",
            )
        })?;
        self.tables.available()?;
        let timeout = context.deadline.saturating_duration_since(Instant::now());
        let lock = self.lock_table(context).await?;
        self.tables.check(&owner)?;
        let director = draft.director()?;
        let has_director = !director.is_empty() || self.tables.has_director();
        self.keep_watch_cache();
        let current = self.current(context, has_director).await?;
        let apply = offload(|| {
            let drafts = services;
            let services = declared_services(&drafts, &current.table)?;
            drop(drafts);
            let old = self.tables.table(&owner);
            let (before, claims) = (services_of(old.as_deref()), self.tables.claims());
            let touched = touched_services(
                &owner,
                &services,
                before,
                &claims,
                options.adopt,
                &current.table,
            );
            self.may_apply(context, &owner, options.adopt, touched.into_iter())?;
            self.may_declare(
                context,
                [
                    old.as_deref().map(|old| &old.state.director),
                    Some(&director),
                ],
            )?;
            let settings = old.as_ref().map(|table| table.state.settings);
            let settings = draft.settings(settings.unwrap_or_default())?;
            let by_key = services.iter().map(|it| (it.key, it.clone()));
            let new = declare(&owner, old.as_deref(), by_key.collect(), settings, director);
            self.prepare(
                context,
                timeout,
                owner,
                options,
                old,
                Some(Arc::new(new)),
                &services.iter().map(Arc::as_ref).collect::<Vec<_>>(),
                &current,
            )
        })?;
        drop(current);
        self.start(context, apply, lock).await
    }

    /// Deletes a declared table, with its services in the kernel. It must be confirmed by the number of
    /// services that it declares, or by its ETag.
    pub async fn delete_table(
        &self,
        context: &RequestContext,
        owner: Owner,
        options: DeleteTableOptions,
    ) -> Result<Option<ApplyReport>, Error> {
        let DeleteTableOptions {
            confirm,
            allow_missing,
            removal,
            guard,
        } = options;
        self.may_apply(context, &owner, Adopt::None, [].into_iter())?;
        self.tables.available()?;
        let timeout = context.deadline.saturating_duration_since(Instant::now());
        let lock = self.lock_table(context).await?;
        let Some(old) = self.tables.table(&owner) else {
            return match allow_missing || context.resumed {
                true => Ok(None),
                false => Err(table_not_found(&owner)),
            };
        };
        let touched = old.services.keys().map(|key| (*key, false));
        self.may_apply(context, &owner, Adopt::None, touched)?;
        self.may_declare(context, [Some(&old.state.director)])?;
        let count = old.services.len() as u64;
        match (confirm, &guard) {
            (Some(confirm), _) if confirm != count => {
                return Err(confirm_mismatch("the table has", count, confirm));
            }
            (None, Guard::None | Guard::Exists | Guard::Absent) => {
                return Err(Error::invalid(
                    "confirm",
                    "is required without If-Match: the number of services of the table",
                ));
            }
            _ => {}
        }
        let options = ApplyOptions {
            max_deletes: Deletions::Percent(100),
            removal,
            guard,
            ..ApplyOptions::default()
        };
        let current = self.current_of_tables(context).await?;
        let old = Some(old);
        let prepare = || self.prepare(context, timeout, owner, options, old, None, &[], &current);
        let apply = offload(prepare)?;
        drop(current);
        self.start(context, apply, lock).await.map(Some)
    }
}

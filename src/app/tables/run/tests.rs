//! An apply that the end of the daemon interrupts.

#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

use super::*;
use crate::{
    app::{described::declared_services, tables::declared::declare},
    model::{TableDraft, TableSettings},
};

impl App {
    /// Executes the first operations of an apply, and leaves it as the end of the daemon would.
    pub(in crate::app) async fn interrupt_apply(
        &self,
        context: &RequestContext,
        owner: &str,
        services: &serde_json::Value,
        operations: usize,
    ) {
        let draft = serde_json::json!({ "services": services });
        self.interrupt_draft(context, owner, &draft, operations)
            .await;
    }

    /// As [`interrupt_apply`](Self::interrupt_apply), of a table with settings.
    pub(in crate::app) async fn interrupt_draft(
        &self,
        context: &RequestContext,
        owner: &str,
        draft: &serde_json::Value,
        operations: usize,
    ) {
        self.interrupt(context, owner, draft, operations, Adopt::Any)
            .await;
    }

    /// As [`interrupt_apply`](Self::interrupt_apply), of a table with settings that may take over these services.
    pub(in crate::app) async fn interrupt(
        &self,
        context: &RequestContext,
        owner: &str,
        draft: &serde_json::Value,
        operations: usize,
        adopt: Adopt,
    ) {
        let owner: Owner = owner.parse().unwrap();
        let draft: TableDraft = serde_json::from_value(draft.clone()).unwrap();
        let settings = draft.settings(TableSettings::default()).unwrap();
        let director = draft.director().unwrap();
        let current = self.current(context, true).await.unwrap();
        let services = declared_services(&draft.services.unwrap(), &current.table).unwrap();
        let old = self.tables.table(&owner);
        let by_key = services.iter().map(|it| (it.key, it.clone()));
        let new = declare(&owner, old.as_deref(), by_key.collect(), settings, director);
        let options = ApplyOptions {
            adopt,
            ..ApplyOptions::of_declared()
        };
        let timeout = Duration::from_secs(60);
        let prepared = self.prepare(
            context,
            timeout,
            owner,
            options,
            old,
            Some(Arc::new(new)),
            &services.iter().map(Arc::as_ref).collect::<Vec<_>>(),
            &current,
        );
        let apply = prepared.unwrap();
        let steps = &apply.plan.steps;
        self.tables
            .begin(&apply.owner, &apply.pending(steps), &context.author())
            .await
            .unwrap();
        let mut execution = apply.execution();
        let cut = steps.get(..operations).unwrap_or(steps);
        let (sent, drained) = cut.split_at(cut.partition_point(|step| !step.drains));
        execution.run(sent, sent.len(), false, true).await;
        if !drained.is_empty() {
            execution.begin_drains(drained).await;
        }
    }

    /// Stores that an [interrupted](Self::interrupt_apply) apply has ended.
    pub(in crate::app) async fn end_apply(&self, context: &RequestContext, owner: &str) {
        let owner: Owner = owner.parse().unwrap();
        let mut interrupted = self.tables.interrupted().unwrap().into_iter();
        let (_, pending) = interrupted.find(|(of, _)| *of == owner).unwrap();
        let old = self.tables.table(&owner);
        let mut new = pending.declared(&owner, old.as_deref()).unwrap();
        new.state.last_apply = Some(LastApply {
            apply_id: pending.apply_id,
            end_time: jiff::Timestamp::now().to_string(),
            outcome: ApplyOutcome::Applied,
        });
        let changed = vec![(owner, Some(new))];
        self.tables.put(changed, &context.author()).await.unwrap();
    }
}

//! The operations of the last apply of a table: all of them, of which the response of the apply has up to 1000.

use super::{declared::table_not_found, last_operations::Kept};
use crate::{
    app::{
        App, KeyPage, Keyed, OperationReport, RequestContext,
        paging::{Token, binding},
    },
    model::{ApplyOutcome, Error, Owner, Reason},
};

/// A request for a page of the operations of the last apply of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOperations {
    /// Most operations of the page; `None` or 0 for the default.
    pub page_size: Option<u32>,
    /// `next_page_token` of the previous page.
    pub page_token: Option<String>,
}

/// A page of the operations of the last apply of a table, or of the one in progress.
#[derive(Debug)]
pub struct OperationPage {
    /// Id of the apply.
    pub apply_id: String,
    /// How it ended, or `Running`.
    pub outcome: ApplyOutcome,
    /// The number of all its operations.
    pub total: usize,
    /// Operations, in the order of their execution.
    pub page: KeyPage<ListedOperation>,
}

/// An operation and its place, from 0.
#[derive(Clone, Debug)]
pub struct ListedOperation {
    /// The place among all operations of the apply.
    pub place: usize,
    /// What became of it.
    pub operation: OperationReport,
}

/// An operation, its copy, and its text, about.
const LISTED_BYTES: usize = 4096;

// === impl App ===

impl App {
    /// A page of the operations of the last apply of a table, or of the one in progress, whose results are known at
    /// its end. They are kept in memory: not over a restart.
    pub fn table_operations(
        &self,
        context: &RequestContext,
        owner: &Owner,
        list: &ListOperations,
    ) -> Result<OperationPage, Error> {
        let size = self.options.page_size(list.page_size)?;
        self.visible_table(context, owner)?;
        let kept = self.tables.last_operations().of(owner);
        let Kept { number, report, .. } = kept.ok_or_else(|| not_kept(owner))?;
        let mut services = report.operations.iter().filter_map(|it| it.op.service());
        let is_seen = services.all(|key| context.principal.sees_of(key, Some(owner.as_str())));
        // It may have deleted services that others than those of the table may read.
        if !is_seen {
            return Err(table_not_found(owner));
        }
        let binding = binding(&("operations", owner, number, &context.principal));
        let token = list.page_token.as_deref();
        let token: Option<Token<usize>> = token
            .map(|token| Token::parse(token, binding))
            .transpose()?;
        let start = token.map_or(0, |last| last.key.saturating_add(1));
        let rest = report.operations.get(start..).unwrap_or_default();
        let listed = rest.get(..size).unwrap_or(rest);
        let charge = self
            .budget_of(context)
            .charge(listed.len() * LISTED_BYTES)?;
        let entries = listed
            .iter()
            .enumerate()
            .map(|(index, operation)| ListedOperation {
                place: start + index,
                operation: operation.clone(),
            });
        Ok(OperationPage {
            apply_id: report.apply_id.clone(),
            outcome: report.outcome,
            total: report.operations.len(),
            page: KeyPage::new(entries.collect(), rest.len() > size, binding, charge),
        })
    }
}

impl Keyed for ListedOperation {
    type Key = usize;

    fn key(&self) -> usize {
        self.place
    }
}

fn not_kept(owner: &Owner) -> Error {
    let detail = format!("the operations of the last apply of the table of {owner} are not kept");
    Error::new(Reason::TableNotFound, detail).with_hint(
        "they are kept in memory until the daemon ends, or later applies need it; the audit trail has them",
    )
}

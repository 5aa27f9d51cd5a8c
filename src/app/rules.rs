//! The table as text in ipvsadm's language: saving and restoring.

use std::time::Instant;

use super::{
    Answer, App, RequestContext,
    info::ipvs_version,
    restore::{FIRST_CHUNK, Restore, RestoreStream, Work},
    rules_text::{Checked, Command, RulesText, yield_sometimes},
    tables::{Protected, refuse_protected},
};
use crate::{
    executor::{CommandList, InfoQuery, TableQuery},
    identity::Verb,
    ipvsadm::{self, ListFormat, Numeric, Order},
    model::{Error, Reason, ServiceEntry},
};

/// How to restore a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreOptions {
    /// What the text is for.
    pub mode: RestoreMode,
    /// Stop after the first command that the kernel rejects. Otherwise continue, like ipvsadm -R.
    pub stop: bool,
}

/// What a text is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestoreMode {
    /// Its commands are executed (ipvsadm -R).
    #[default]
    Execute,
    /// The table is cleared first (ipvsadm-restore).
    Clear,
    /// The table is made equal to what the commands make of an empty one, by the fewest operations.
    Replace,
}

/// Length of a line of a text in bytes, about.
const LINE_BYTES: usize = 100;

// === impl App ===

impl App {
    /// The table as command lines, numeric (ipvsadm -S -n).
    pub async fn save_rules(
        &self,
        context: &RequestContext,
        order: Order,
    ) -> Result<Answer<Vec<u8>>, Error> {
        let table = Answer::from(self.read(context, TableQuery).await?);
        let _building = self.budget.charge(text_size(&table.value))?;
        let mut text = Vec::new();
        ipvsadm::write_rules(&mut text, &table.value, order, &Numeric).map_err(|error| {
            Error::new(Reason::Internal, "the text cannot be written").with_source(error)
        })?;
        Ok(table.map(|_| text))
    }

    /// The table in columns (ipvsadm -L), always numeric.
    pub async fn listing(
        &self,
        context: &RequestContext,
        format: ListFormat,
    ) -> Result<Answer<Vec<u8>>, Error> {
        let info = self.read(context, InfoQuery).await?.value;
        let table = Answer::from(self.read(context, TableQuery).await?);
        let _building = self.budget.charge(text_size(&table.value))?;
        let mut text = Vec::new();
        ipvsadm::write_version(&mut text, &ipvs_version(info), info.connection_table_size)
            .and_then(|()| ipvsadm::write_list(&mut text, &table.value, format, &Numeric))
            .map_err(|error| {
                Error::new(Reason::Internal, "the text cannot be written").with_source(error)
            })?;
        Ok(table.map(|_| text))
    }

    /// Executes the commands of a text (ipvsadm -R), or makes the table equal to it. The whole text is
    /// checked before the first command; a command that the kernel rejects reverts nothing.
    ///
    /// Restores that exclude each other and a clear: those that replace or clear the
    /// table, and those of more than [`FIRST_CHUNK`] commands. A shorter text is executed as a whole, like
    /// any other write, possibly between the parts of a longer one.
    pub async fn restore_rules(
        &self,
        context: &RequestContext,
        text: RulesText,
        options: RestoreOptions,
    ) -> Result<RestoreStream, Error> {
        let RestoreOptions { mode, stop } = options;
        let protected = self.tables.protected();
        let decision = may_restore(context, &protected, &text, mode).await;
        let name = match mode {
            RestoreMode::Replace => "replace_rules",
            RestoreMode::Execute | RestoreMode::Clear => "restore_rules",
        };
        decision.inspect_err(|error| {
            // A command line of ipvsctl is a text of one command.
            let single = (mode == RestoreMode::Execute).then(|| text.single());
            match single.flatten() {
                Some(op) => {
                    self.audit_refusal(context, op.name(), op.service(), op.server(), error);
                }
                None => self.audit_refusal(context, name, None, None, error),
            }
        })?;
        let timeout = context.deadline.saturating_duration_since(Instant::now());
        let Checked { commands, clears } = text.check().await?;
        if commands == 0 && mode != RestoreMode::Execute {
            return Err(
                Error::invalid("", "the text has no commands: nothing to restore").with_hint(
                    "to delete all services: DELETE /v1/services?confirm=N, or ipvsctl -C",
                ),
            );
        }
        let target = match mode {
            RestoreMode::Replace => Some(text.evaluate(commands, &self.budget).await?),
            RestoreMode::Execute | RestoreMode::Clear => None,
        };
        let clear = mode == RestoreMode::Clear;
        let needs_lock = target.is_some() || clear || clears || commands > FIRST_CHUNK;
        let lock = match needs_lock {
            true => self.lock_table(context).await?,
            false => None,
        };
        let context = RequestContext {
            deadline: Instant::now() + timeout,
            ..context.clone()
        };
        let work = match target {
            Some(target) => {
                let table = self.read(&context, TableQuery).await?.value;
                Work::Difference(table, target)
            }
            None => {
                if !context.dry_run {
                    // Without IPVS every command would fail alike.
                    self.read(&context, InfoQuery).await?;
                }
                Work::Commands {
                    text,
                    commands,
                    clear,
                }
            }
        };
        Ok(Restore::start(self, &context, timeout, stop, work, lock))
    }
}

/// Decides about rules: about those that make the whole table by a verb of their own, about others by all
/// of their commands.
async fn may_restore(
    context: &RequestContext,
    protected: &Protected,
    text: &RulesText,
    mode: RestoreMode,
) -> Result<(), Error> {
    if mode != RestoreMode::Execute {
        return context
            .principal
            .may(Verb::RestoreRules, None, context.dry_run);
    }
    may_execute(context, text).await?;
    refuse_protected(protected, text.commands().map(|command| command.op))
}

/// Decides about all commands of a text. What the edits of a short one change is decided in the executor.
async fn may_execute(context: &RequestContext, text: &RulesText) -> Result<(), Error> {
    let (principal, dry_run) = (&context.principal, context.dry_run);
    if principal.may_everything() {
        return Ok(());
    }
    principal.may_list()?;
    let mut undecided = None;
    for (index, Command { op, .. }) in text.commands().enumerate() {
        let may = |before| principal.may_execute([(&op, before)].into_iter(), dry_run);
        if let Err(refusal) = may(None) {
            // Permitted if it changes the weight alone?
            may(Some(&op))?;
            undecided.get_or_insert(refusal);
        }
        if index >= CommandList::MAX_READ
            && let Some(refusal) = undecided
        {
            return Err(refusal);
        }
        yield_sometimes(index).await;
    }
    Ok(())
}

/// About the memory in which the text of a table grows. The response is charged by its length.
fn text_size(table: &[ServiceEntry]) -> usize {
    let servers: usize = table.iter().map(|entry| entry.servers.len()).sum();
    2 * LINE_BYTES * (table.len() + servers)
}

//! The tables that declare timeouts and sync daemons.

use super::registry::Registry;
use crate::{
    app::{App, RequestContext, operations::Current},
    model::{Director, Error, Owner, Reason},
};

/// A part of the director, and whether a table declares it.
type Part = (&'static str, fn(&Director) -> bool);

const PARTS: [Part; 2] = [
    ("timeouts", |director| director.timeouts.is_some()),
    ("sync_daemons", |director| director.sync_daemons.is_some()),
];

// === impl App ===

impl App {
    /// Reads what the kernel has of what tables declare.
    pub(super) async fn current_of_tables(
        &self,
        context: &RequestContext,
    ) -> Result<Current, Error> {
        self.current(context, self.tables.has_director()).await
    }
}

// === impl Registry ===

impl Registry {
    /// Whether a table declares timeouts or sync daemons.
    pub(super) fn has_director(&self) -> bool {
        PARTS
            .iter()
            .any(|(_, declares)| self.declarer_of(*declares, None).is_some())
    }

    /// Refuses timeouts and sync daemons of which the table of another owner declares some.
    pub(super) fn check_director(&self, owner: &Owner, wanted: &Director) -> Result<(), Error> {
        for (field, declares) in PARTS.iter().filter(|(_, declares)| declares(wanted)) {
            let Some(other) = self.declarer_of(*declares, Some(owner)) else {
                continue;
            };
            let message = format!("belong to the table of {other}");
            let name = field.replace('_', " ");
            let detail = format!("the {name} {message}; nothing was changed");
            return Err(Error::new(Reason::ResourceOwned, detail)
                .with_violation(*field, message)
                .with_hint("one table declares them: apply the other one without them first"));
        }
        Ok(())
    }

    /// The parts of a director that no table declares.
    pub(super) fn undeclared(&self, director: Director) -> Director {
        let [(_, timeouts), (_, sync_daemons)] = PARTS;
        let is_free = |declares| self.declarer_of(declares, None).is_none();
        Director {
            timeouts: director.timeouts.filter(|_| is_free(timeouts)),
            sync_daemons: director.sync_daemons.filter(|_| is_free(sync_daemons)),
        }
    }

    /// The owner, other than `but`, whose table declares a part.
    fn declarer_of(&self, declares: fn(&Director) -> bool, but: Option<&Owner>) -> Option<Owner> {
        self.find(|table| declares(&table.state.director) && Some(&table.owner) != but)
    }
}

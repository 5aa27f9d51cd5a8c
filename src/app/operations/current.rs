//! What the kernel has, as far as plans compare it.

use std::sync::Arc;

use crate::{
    app::{App, RequestContext},
    executor::{SyncDaemonsQuery, Table, TableQuery, TimeoutsQuery},
    model::{DirectorState, Error},
};

/// The kernel's table, and the timeouts and sync daemons if a declared table has them.
pub(in crate::app) struct Current {
    pub table: Arc<Table>,
    pub director: DirectorState,
}

// === impl App ===

impl App {
    /// Reads what the kernel has. `has_director`: the timeouts and the sync daemons, too.
    pub(in crate::app) async fn current(
        &self,
        context: &RequestContext,
        has_director: bool,
    ) -> Result<Current, Error> {
        let mut director = DirectorState::default();
        if has_director {
            let timeouts = self.run_query(context, TimeoutsQuery).await?;
            let sync_daemons = self.run_query(context, SyncDaemonsQuery).await?;
            director.timeouts = Some(timeouts.value);
            director.sync_daemons = Some(sync_daemons.value);
        }
        let table = self.run_query(context, TableQuery).await?.value;
        Ok(Current { table, director })
    }
}

//! The connection table.

use super::{App, ConnectionStream, Count, RequestContext};
use crate::model::{ConnectionFilter, CountBy, Error, Reason};

impl App {
    /// The connections that `filter` lets pass, in the kernel's order, at most `limit` of them,
    /// read as they are consumed (ipvsadm -L -c).
    pub async fn connections(
        &self,
        context: &RequestContext,
        filter: ConnectionFilter,
        limit: Option<u64>,
    ) -> Result<ConnectionStream, Error> {
        // The table's file can be read by anyone, but without IPVS it says nothing of why.
        self.info_of_kernel(context).await?;
        Ok(ConnectionStream {
            chunks: self.executor.connections(filter, limit)?,
        })
    }

    /// How many connections `filter` lets pass in each group, most first, without holding them.
    pub async fn count_connections(
        &self,
        context: &RequestContext,
        filter: ConnectionFilter,
        by: CountBy,
    ) -> Result<Vec<Count>, Error> {
        self.info_of_kernel(context).await?;
        let count = self.executor.count_connections(filter, by);
        let counts = tokio::time::timeout_at(context.deadline.into(), count)
            .await
            .map_err(|_| {
                Error::new(
                    Reason::DeadlineExceeded,
                    "the connection table takes too long to read",
                )
                .with_hint(
                    "Linux before 6.14 reads a table of n connections in n² steps; narrow the \
                     filter and list instead, or raise limits.request_timeout",
                )
            })??;
        Ok(counts
            .into_iter()
            .map(|(group, count)| Count { group, count })
            .collect())
    }
}

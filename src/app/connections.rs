//! The connection table.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use serde::Serialize;

use super::{App, RequestContext, access::SessionWatch, attempt::event_of};
use crate::{
    executor::{ConnectionChunks, ConnectionCountsQuery, ConnectionsQuery, InfoQuery},
    model::{Connection, ConnectionFilter, CountBy, Error},
};

/// Chunks of connections, so that a long list costs few wake-ups. Dropping the stream ends the
/// read. It ends with an error when the credential of its request ceases to be valid.
#[derive(Debug)]
pub struct ConnectionStream {
    chunks: ConnectionChunks,
    watch: SessionWatch,
}

/// The number of connections in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// What the connections have in common: a protocol, an address or a state.
    pub group: String,
    /// Number of connections.
    pub count: u64,
}

impl App {
    /// The connections that match `filter`, in the kernel's order, at most `limit` of them
    /// (ipvsadm -L -c). They are read while the stream is consumed. Who reads them is recorded, because
    /// they say which clients use a service.
    pub async fn connections(
        &self,
        context: &RequestContext,
        filter: ConnectionFilter,
        limit: Option<u64>,
    ) -> Result<ConnectionStream, Error> {
        let stream = self.open_connections(context, filter, limit).await;
        let event = event_of(context, "list_connections", &stream);
        // A refusal has been recorded where it was decided.
        if !event.outcome.is_refusal() {
            self.audit_log().record(event);
        }
        stream
    }

    async fn open_connections(
        &self,
        context: &RequestContext,
        filter: ConnectionFilter,
        limit: Option<u64>,
    ) -> Result<ConnectionStream, Error> {
        // Without IPVS the file is missing, and this query has the better error.
        self.read(context, InfoQuery).await?;
        let chunks = self
            .read_connections(context, ConnectionsQuery { filter, limit })
            .await?;
        let watch = SessionWatch::of(context);
        Ok(ConnectionStream { chunks, watch })
    }

    /// The number of connections that match `filter` in each group, the largest group first.
    pub async fn count_connections(
        &self,
        context: &RequestContext,
        filter: ConnectionFilter,
        by: CountBy,
    ) -> Result<Vec<Count>, Error> {
        let counts = self.read_counts(context, filter, by).await;
        let event = event_of(context, "count_connections", &counts);
        // A refusal has been recorded where it was decided.
        if !event.outcome.is_refusal() {
            self.audit_log().record(event);
        }
        counts
    }

    async fn read_counts(
        &self,
        context: &RequestContext,
        filter: ConnectionFilter,
        by: CountBy,
    ) -> Result<Vec<Count>, Error> {
        self.read(context, InfoQuery).await?;
        let counts = self
            .count(context, ConnectionCountsQuery { filter, by })
            .await?;
        Ok(counts
            .into_iter()
            .map(|(group, count)| Count { group, count })
            .collect())
    }
}

// === impl ConnectionStream ===

impl Stream for ConnectionStream {
    type Item = Result<Vec<Connection>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = ready!(self.chunks.poll_recv(cx));
        match self.watch.check() {
            Ok(()) => Poll::Ready(chunk),
            Err(end) => Poll::Ready(Some(Err(end))),
        }
    }
}

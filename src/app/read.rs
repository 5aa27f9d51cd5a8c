//! The path of every read.

use std::error::Error as _;

use tracing::Level;

use super::{App, RequestContext};
use crate::{
    executor::{Cached, ConnectionChunks, ConnectionCountsQuery, ConnectionsQuery, TypedQuery},
    identity::Verb,
    model::{Error, Query, Reason, ServiceKey},
};

impl App {
    /// Runs a query for a list, which shows only the services that the principal
    /// [`sees`](crate::identity::Principal::sees).
    pub(super) async fn read_list<Q: TypedQuery>(
        &self,
        context: &RequestContext,
        query: Q,
    ) -> Result<Cached<Q::Answer>, Error> {
        self.may_list(context)?;
        self.run_query(context, query).await
    }

    /// Runs a query. The result is at most `context.max_age` old.
    pub(super) async fn read<Q: TypedQuery>(
        &self,
        context: &RequestContext,
        query: Q,
    ) -> Result<Cached<Q::Answer>, Error> {
        if let Some(query) = query.query() {
            self.may_query(context, &query)?;
        }
        self.run_query(context, query).await
    }

    /// Runs a query of a request that was decided about as a whole.
    pub(super) async fn run_query<Q: TypedQuery>(
        &self,
        context: &RequestContext,
        query: Q,
    ) -> Result<Cached<Q::Answer>, Error> {
        trace(context, query.query());
        let result = self
            .reader
            .read(query, context.max_age, context.deadline)
            .await;
        result.inspect_err(|error| log(context, error))
    }

    /// Streams connections.
    pub(super) async fn read_connections(
        &self,
        context: &RequestContext,
        query: ConnectionsQuery,
    ) -> Result<ConnectionChunks, Error> {
        let about = query.query();
        self.may_query(context, &about)?;
        trace(context, Some(about));
        let chunks = self.reader.connections(query).await;
        chunks.inspect_err(|error| log(context, error))
    }

    /// Counts connections.
    pub(super) async fn count(
        &self,
        context: &RequestContext,
        query: ConnectionCountsQuery,
    ) -> Result<Vec<(String, u64)>, Error> {
        let about = query.query();
        self.may_query(context, &about)?;
        trace(context, Some(about));
        let counts = self.reader.count_connections(query);
        tokio::time::timeout_at(context.deadline.into(), counts)
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
            })?
            .inspect_err(|error| log(context, error))
    }

    /// Decides about a watch, which shows what lists show.
    pub(super) fn may_watch(&self, context: &RequestContext) -> Result<(), Error> {
        let decision = context.principal.may_list();
        self.recorded(context, Verb::ReadServices, None, decision)
    }

    /// Decides about a read of the audit trail, which records the decision itself.
    pub(super) fn may_read_audit(&self, context: &RequestContext) -> Result<(), Error> {
        context.principal.may(Verb::ReadAudit, None, false)
    }

    /// Decides about lists, and records a refusal.
    pub(super) fn may_list(&self, context: &RequestContext) -> Result<(), Error> {
        let decision = context.principal.may_list();
        self.recorded(context, Verb::ReadServices, None, decision)
    }

    /// Decides about a query, and records a refusal.
    pub(super) fn may_query(&self, context: &RequestContext, query: &Query) -> Result<(), Error> {
        let decision = context.principal.may_query(query);
        self.recorded(context, Verb::of_query(query), query.service(), decision)
    }

    /// Records a refusal.
    pub(super) fn recorded(
        &self,
        context: &RequestContext,
        verb: Verb,
        service: Option<ServiceKey>,
        decision: Result<(), Error>,
    ) -> Result<(), Error> {
        decision.inspect_err(|error| {
            self.audit_refusal(context, verb.as_str(), service, None, error);
        })
    }
}

/// Logs the cause of a failure, which the client does not receive.
fn log(context: &RequestContext, error: &Error) {
    if let Some(cause) = error.source() {
        let principal = &context.principal;
        context
            .span
            .in_scope(|| tracing::warn!(%principal, %error, %cause, "read failed"));
    }
}

fn trace(context: &RequestContext, query: Option<Query>) {
    if tracing::enabled!(Level::TRACE) {
        let principal = &context.principal;
        context
            .span
            .in_scope(|| tracing::trace!(%principal, ?query, "read"));
    }
}

//! What applies of tables and batches did.

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::{
    problem::{Problem, status},
    reply,
};
use crate::{
    app::{ApplyReport, Lost, OperationReport, Summary},
    model::{Etag, HoldId, Owner, ServerKey, ServiceKey},
};

/// What an apply or a batch did.
#[derive(Debug, Serialize)]
pub(super) struct Applied<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a Owner>,
    apply_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    outcome: &'static str,
    plan: Etag,
    operations: Vec<Operation<'a>>,
    operations_total: usize,
    summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<Etag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Operation<'a> {
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServiceKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
    result: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    lost: &'a [Lost],
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<HoldId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Problem>,
}

/// An apply or a batch that did not do what was asked for is a problem, with the members of a success beside it and the
/// status of the first operation that failed.
pub(super) fn respond(report: &ApplyReport) -> Response {
    let applied = Applied::of(report);
    let Some(error) = &report.failure else {
        let response = reply::plain(&applied);
        return response.unwrap_or_else(|error| Problem::from(error).into_response());
    };
    let members = serde_json::to_value(&applied).unwrap_or_default();
    let problem = Problem::from(error.clone()).with_members(members);
    let status = status(report.status_reason(error));
    problem.with_status(status).into_response()
}

// === impl Applied ===

impl<'a> Applied<'a> {
    pub(super) fn of(report: &'a ApplyReport) -> Self {
        Self {
            owner: report.owner.as_ref(),
            apply_id: &report.apply_id,
            // A batch has none.
            generation: report.owner.is_some().then_some(report.generation),
            outcome: report.outcome.as_str(),
            plan: report.plan,
            operations: report.shown().map(Operation::of).collect(),
            operations_total: report.operations.len(),
            summary: report.summary,
            etag: report.etag,
            revision: report.revision.map(|revision| revision.to_string()),
        }
    }
}

// === impl Operation ===

impl<'a> Operation<'a> {
    pub(super) fn of(operation: &'a OperationReport) -> Self {
        let (before, after) = operation.changes();
        Self {
            op: operation.op.name(),
            index: operation.index,
            service: operation.op.service(),
            server: operation.op.server(),
            before,
            after,
            result: operation.result.as_str(),
            lost: &operation.lost,
            drain: operation.drain,
            error: operation.failure().map(|error| error.clone().into()),
        }
    }
}

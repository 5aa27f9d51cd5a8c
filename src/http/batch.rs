//! `/v1/batch`: operations that are executed together.

use axum::{extract::State, response::Response};

use super::{
    applied, conditional::Unconditional, context::Write, extract::TableJson, problem::Problem,
    schema, state::Api,
};
use crate::model::BatchDraft;

/// Execute a batch
///
/// Executes operations in their order. All are planned from one read of the table, each with the effect of
/// those before it: if one is invalid, not possible or not permitted, nothing is changed, and `errors` names
/// it. What happens when the kernel rejects one is what `on_failure` says. Once it has begun, a batch runs to
/// its end.
#[utoipa::path(
    post, path = "/v1/batch", operation_id = "applyBatch", tag = "batch",
    params(Write),
    request_body(
        content = schema::Batch, content_type = "application/json",
        description = "The operations.",
        example = json!({"operations": [
            {"op": "create_server", "service": "tcp-192.0.2.1-80",
             "value": {"server": {"address": "192.168.10.3", "forwarding": "masquerade"}}},
            {"op": "update_server", "service": "tcp-192.0.2.1-80", "server": "192.168.10.1-80",
             "value": {"server": {"weight": 0}}}
        ]})
    ),
    responses(
        (status = 200, description = "Executed, unchanged, or planned.", body = schema::BatchApplied),
        schema::NotFound, schema::Conflict, schema::PreconditionFailed, schema::Unprocessable,
    )
)]
pub(super) async fn apply(
    State(api): State<Api>,
    write: Write,
    _: Unconditional,
    TableJson(draft): TableJson<BatchDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let report = api.app.apply_batch(&context, draft).await?;
    Ok(applied::respond(&report))
}

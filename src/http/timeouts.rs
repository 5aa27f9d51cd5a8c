//! `/v1/timeouts`: how long IPVS keeps idle connections.

use axum::{extract::State, response::Response};

use super::{
    Api,
    conditional::{IfMatch, Reading},
    context::Caller,
    extract::Patch,
    problem::Problem,
    query::NoQuery,
    reply::{self, Outcome},
    schema,
};
use crate::model::{Timeouts, TimeoutsDraft};

/// Get the timeouts
///
/// How long IPVS keeps idle connections (`ipvsadm -L --timeout`).
#[utoipa::path(
    get, path = "/v1/timeouts", operation_id = "getTimeouts", tag = "timeouts",
    params(schema::ReadHeaders),
    responses((status = 200, description = "The timeouts.", body = Timeouts))
)]
pub(super) async fn get(
    State(api): State<Api>,
    _: NoQuery,
    reading: Reading,
) -> Result<Response, Problem> {
    let answer = api.app.timeouts(&reading.context).await?;
    let timeouts = answer.value;
    Ok(reply::resource(
        &reading,
        answer.age,
        Some(timeouts.etag()),
        &timeouts,
    )?)
}

/// Change the timeouts
///
/// Sets the timeouts that are named, keeps the others; `null` goes back to the kernel's default
/// (`ipvsadm --set`).
#[utoipa::path(
    patch, path = "/v1/timeouts", operation_id = "updateTimeouts", tag = "timeouts",
    params(schema::IfMatchHeader),
    request_body(
        description = "What is to change.",
        content(
            (TimeoutsDraft = "application/merge-patch+json", example = json!({"tcp_seconds": 1800})),
            (TimeoutsDraft = "application/json", example = json!({"tcp_seconds": 1800})),
        ),
    ),
    responses(
        (status = 200, description = "They are so now.", body = schema::WrittenTimeouts),
        schema::Unprocessable,
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    _: NoQuery,
    IfMatch(guard): IfMatch,
    Patch(draft): Patch<TimeoutsDraft>,
) -> Result<Response, Problem> {
    let context = caller.context();
    let written = api.app.update_timeouts(&context, draft, guard).await?;
    let outcome = Outcome {
        location: None,
        created: false,
        changed: written.changed,
    };
    let timeouts = written.value;
    Ok(reply::written(outcome, Some(timeouts.etag()), &timeouts)?)
}

//! `/v1/timeouts`: timeouts of idle connections.

use axum::{extract::State, response::Response};

use super::{
    conditional::{ConditionalRead, IfMatch},
    context::Write,
    extract::Patch,
    problem::Problem,
    query::{NoParams, Query},
    reply::{self, Outcome},
    schema,
    state::Api,
};
use crate::model::TimeoutsDraft;

/// Get the timeouts
///
/// Returns the timeouts of idle connections (`ipvsadm -L --timeout`).
#[utoipa::path(
    get, path = "/v1/timeouts", operation_id = "getTimeouts", tag = "timeouts",
    params(ConditionalRead),
    responses((status = 200, description = "The timeouts.", body = schema::Timeouts))
)]
pub(super) async fn get(
    State(api): State<Api>,
    _: Query<NoParams>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let answer = api.app.timeouts(&read.context).await?;
    let timeouts = answer.value;
    Ok(reply::resource(
        &read,
        answer.age,
        Some(timeouts.etag()),
        &timeouts,
    )?)
}

/// Update the timeouts
///
/// Sets the timeouts in the body and keeps the others (`ipvsadm --set`). `null` resets a timeout to
/// the kernel's default.
#[utoipa::path(
    patch, path = "/v1/timeouts", operation_id = "setTimeouts", tag = "timeouts",
    params(Write, IfMatch),
    request_body(
        description = "Timeouts to change.",
        content(
            (schema::Timeouts = "application/merge-patch+json", example = json!({"tcp_seconds": 1800})),
            (schema::Timeouts = "application/json", example = json!({"tcp_seconds": 1800})),
        ),
    ),
    responses(
        (status = 200, description = "Updated.", body = schema::Timeouts),
        schema::Unprocessable,
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    write: Write,
    IfMatch(guard): IfMatch,
    Patch(draft): Patch<TimeoutsDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let written = api.app.update_timeouts(&context, draft, guard).await?;
    let outcome = Outcome {
        location: None,
        created: false,
        changed: written.changed,
        ..Outcome::default()
    };
    let timeouts = written.value;
    Ok(reply::written(outcome, Some(timeouts.etag()), &timeouts)?)
}

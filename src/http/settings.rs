//! `/v1/settings`: the kernel's settings, `/proc/sys/net/ipv4/vs`.

use axum::{extract::State, response::Response};

use super::{
    conditional::{ConditionalRead, Unconditional},
    context::Write,
    extract::Patch,
    problem::Problem,
    query::{NoParams, Query},
    reply::{self, Outcome},
    schema,
    state::Api,
};
use crate::model::{Entries, Field, SettingValue};

/// Get the settings
///
/// Returns the settings of this kernel by name (`/proc/sys/net/ipv4/vs`; ipvsadm(8), NOTES).
#[utoipa::path(
    get, path = "/v1/settings", operation_id = "getSettings", tag = "settings",
    params(ConditionalRead),
    responses((status = 200, description = "The settings.", body = schema::Settings))
)]
pub(super) async fn get(
    State(api): State<Api>,
    _: Query<NoParams>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let answer = api.app.settings(&read.context).await?;
    Ok(reply::resource(&read, answer.age, None, &answer.value)?)
}

/// Update settings
///
/// Sets the settings in the body and keeps the others. All values are validated before the first is
/// written.
#[utoipa::path(
    patch, path = "/v1/settings", operation_id = "updateSettings", tag = "settings",
    params(Write),
    request_body(
        description = "Settings to change.",
        content(
            (schema::Settings = "application/merge-patch+json", example = json!({"expire_nodest_conn": true})),
            (schema::Settings = "application/json", example = json!({"sync_threshold": [3, 50]})),
        ),
    ),
    responses(
        (status = 200, description = "Updated.", body = schema::Settings),
        schema::Unprocessable,
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    write: Write,
    _: Unconditional,
    Patch(Entries(mut settings)): Patch<Entries<Field<SettingValue>>>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    // Read-only; part of the response to a write.
    settings.remove("changed");
    let written = api.app.update_settings(&context, settings).await?;
    let outcome = Outcome {
        location: None,
        created: false,
        changed: written.changed,
        ..Outcome::default()
    };
    Ok(reply::written(outcome, None, &written.value)?)
}

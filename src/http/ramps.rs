//! `/v1/ramps`: ramps of the weights of servers.

use std::time::Duration;

use axum::{extract::State, response::Response};
use serde::Serialize;

use super::{
    conditional::{ConditionalRead, Unconditional},
    context::Write,
    extract::Json,
    path::HoldPath,
    problem::Problem,
    query::{NoParams, Query, query},
    reply::{self, Outcome},
    schema,
    state::Api,
    values::{LabelTerms, OwnerName, RampStateWord, kept_filter},
};
use crate::{
    app::ListHolds,
    model::{Ramp, RampDraft},
};

query! {
    /// Query parameters of a list of ramps.
    ListRampsQuery {
        /// Only ramps in this state. Default: all.
        state: RampStateWord,
        /// Only ramps of services that the table of this owner declares; `_unmanaged`: of those that no table
        /// declares.
        owner: OwnerName = "k8s",
        /// Only ramps of services with these labels: `team=web`, `env!=dev`, `team` (any value), `!team` (without it). All terms
        /// must hold, at most 32.
        label: LabelTerms = ["team=web", "env!=dev"],
        /// Maximum page size; 0 stands for the default of 1000. Values above
        /// `limits.max_page_size` of the daemon's configuration (default 100000) are rejected.
        page_size: u32,
        /// `next_page_token` of the previous page, with otherwise the same parameters.
        page_token: String,
    }
}

/// A page of ramps.
#[derive(Serialize)]
struct RampList<'a> {
    ramps: &'a [Ramp],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// List ramps
///
/// Lists the ramps by id, in pages: those in progress, and those that have ended within 24 hours, up to 1000
/// of them. With `scope_reads`, a principal sees those of the services that it sees.
#[utoipa::path(
    get, path = "/v1/ramps", operation_id = "listRamps", tag = "drains and ramps",
    params(Query<ListRampsQuery>, ConditionalRead),
    responses((status = 200, description = "A page of ramps.", body = schema::RampList))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListRampsQuery>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let ListRampsQuery {
        state,
        owner,
        label,
        page_size,
        page_token,
    } = query;
    let request = ListHolds {
        state: state.map(|RampStateWord(state)| state),
        filter: kept_filter(owner, label),
        page_size,
        page_token,
    };
    let page = api.app.list_ramps(&read.context, &request)?;
    let list = RampList {
        ramps: &page.entries,
        next_page_token: page.next_page_token(),
    };
    Ok(reply::resource(&read, Duration::ZERO, None, &list)?)
}

/// Get a ramp
///
/// Gets a ramp.
#[utoipa::path(
    get, path = "/v1/ramps/{id}", operation_id = "getRamp", tag = "drains and ramps",
    params(HoldPath, ConditionalRead),
    responses(
        (status = 200, description = "The ramp.", body = schema::Ramp),
        schema::NotFound,
    )
)]
pub(super) async fn get(
    State(api): State<Api>,
    HoldPath(id): HoldPath,
    _: Query<NoParams>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let ramp = api.app.ramp(&read.context, id)?;
    Ok(reply::resource(&read, Duration::ZERO, None, &ramp)?)
}

/// Ramp a weight
///
/// Changes the weight of a server to `to` in steps. `to` is the intended weight (`weight`) at once; the weight in
/// the kernel (`effective_weight`) reaches it at the end. Another ramp of the server is replaced.
#[utoipa::path(
    post, path = "/v1/ramps", operation_id = "createRamp", tag = "drains and ramps",
    params(Write),
    request_body(
        content = schema::RampRequest, content_type = "application/json", description = "The ramp.",
        example = json!({
            "service": "tcp-192.0.2.1-80", "server": "192.168.10.1-80", "to": 100, "over_seconds": 600,
            "steps": 20
        })
    ),
    responses(
        (status = 201, description = "Created.", body = schema::Ramp),
        schema::NotFound,
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    write: Write,
    _: Unconditional,
    Json(draft): Json<RampDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let ramp = api.app.create_ramp(&context, draft.check()?).await?;
    let outcome = Outcome {
        // A dry run has created nothing.
        location: (!context.dry_run).then(|| format!("/v1/ramps/{}", ramp.id)),
        created: true,
        changed: true,
        ..Outcome::default()
    };
    Ok(reply::changed(&outcome, reply::json(&ramp)?)?)
}

/// Delete a ramp
///
/// Ends a ramp: its server gets the weight `to` at once, unless a drain holds it. One that has ended already is
/// forgotten, and nothing else changes.
#[utoipa::path(
    delete, path = "/v1/ramps/{id}", operation_id = "deleteRamp", tag = "drains and ramps",
    params(HoldPath, Write),
    responses(
        (status = 200, description = "The ramp as it has ended.", body = schema::Ramp),
        schema::NotFound,
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    write: Write,
    HoldPath(id): HoldPath,
    _: Unconditional,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let ended = api.app.delete_ramp(&context, id).await?;
    Ok(reply::plain(&ended)?)
}

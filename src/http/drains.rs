//! `/v1/drains`: drains of servers.

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
    values::{DrainStateWord, LabelTerms, OwnerName, kept_filter},
};
use crate::{
    app::ListHolds,
    model::{Drain, DrainDraft},
};

query! {
    /// Query parameters of a list of drains.
    ListDrainsQuery {
        /// Only drains in this state. Default: all.
        state: DrainStateWord,
        /// Only drains of services that the table of this owner declares; `_unmanaged`: of those that no table
        /// declares.
        owner: OwnerName = "k8s",
        /// Only drains of services with these labels: `team=web`, `env!=dev`, `team` (any value), `!team` (without it). All terms
        /// must hold, at most 32.
        label: LabelTerms = ["team=web", "env!=dev"],
        /// Maximum page size; 0 stands for the default of 1000. Values above
        /// `limits.max_page_size` of the daemon's configuration (default 100000) are rejected.
        page_size: u32,
        /// `next_page_token` of the previous page, with otherwise the same parameters.
        page_token: String,
    }
}

/// A page of drains.
#[derive(Serialize)]
struct DrainList<'a> {
    drains: &'a [Drain],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// List drains
///
/// Lists the drains by id, in pages: those in progress, and those that have ended within 24 hours, up to 1000
/// of them. With `scope_reads`, a principal sees those of which it sees all services.
#[utoipa::path(
    get, path = "/v1/drains", operation_id = "listDrains", tag = "drains and ramps",
    params(Query<ListDrainsQuery>, ConditionalRead),
    responses((status = 200, description = "A page of drains.", body = schema::DrainList))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListDrainsQuery>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let ListDrainsQuery {
        state,
        owner,
        label,
        page_size,
        page_token,
    } = query;
    let request = ListHolds {
        state: state.map(|DrainStateWord(state)| state),
        filter: kept_filter(owner, label),
        page_size,
        page_token,
    };
    let page = api.app.list_drains(&read.context, &request)?;
    let list = DrainList {
        drains: &page.entries,
        next_page_token: page.next_page_token(),
    };
    Ok(reply::resource(&read, Duration::ZERO, None, &list)?)
}

/// Get a drain
///
/// Gets a drain. The numbers of connections are those of the last look, usually at most a second old.
#[utoipa::path(
    get, path = "/v1/drains/{id}", operation_id = "getDrain", tag = "drains and ramps",
    params(HoldPath, ConditionalRead),
    responses(
        (status = 200, description = "The drain.", body = schema::Drain),
        schema::NotFound,
    )
)]
pub(super) async fn get(
    State(api): State<Api>,
    HoldPath(id): HoldPath,
    _: Query<NoParams>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let drain = api.app.drain(&read.context, id)?;
    Ok(reply::resource(&read, Duration::ZERO, None, &drain)?)
}

/// Drain servers
///
/// Drains a server, or all ports of an address: new connections go to the other servers of the service, and
/// existing ones continue. The servers have the weight 0 in the kernel (`effective_weight`) and keep the intended
/// one (`weight`), which they get again when the drain is deleted. Without `services`, servers that appear later
/// join. A drain with the same fields that is in progress is returned as it is.
#[utoipa::path(
    post, path = "/v1/drains", operation_id = "createDrain", tag = "drains and ramps",
    params(Write),
    request_body(
        content = schema::DrainRequest, content_type = "application/json", description = "What to drain.",
        examples(
            ("address" = (summary = "All ports of an address, in all services", value = json!({
                "server": "192.168.10.1"
            }))),
            ("server" = (summary = "A server of one service, and its removal after 5 minutes at most", value = json!({
                "server": "192.168.10.1-80", "services": ["tcp-192.0.2.1-80"], "deadline_seconds": 300,
                "then": "remove"
            })))
        )
    ),
    responses(
        (status = 200, description = "The same drain is in progress.", body = schema::Drain),
        (status = 201, description = "Created.", body = schema::Drain),
        schema::NotFound, schema::Conflict,
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    write: Write,
    _: Unconditional,
    Json(draft): Json<DrainDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let (drain, created) = api.app.create_drain(&context, draft.check()?).await?;
    let outcome = Outcome {
        // A dry run has created nothing.
        location: (!context.dry_run).then(|| format!("/v1/drains/{}", drain.id)),
        created,
        changed: created,
        ..Outcome::default()
    };
    Ok(reply::changed(&outcome, reply::json(&drain)?)?)
}

/// Delete a drain
///
/// Ends a drain: its servers get their intended weights, unless another drain or a ramp holds them. One that has
/// ended already is forgotten, and nothing else changes.
#[utoipa::path(
    delete, path = "/v1/drains/{id}", operation_id = "deleteDrain", tag = "drains and ramps",
    params(HoldPath, Write),
    responses(
        (status = 200, description = "The drain as it has ended.", body = schema::Drain),
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
    let ended = api.app.delete_drain(&context, id).await?;
    Ok(reply::plain(&ended)?)
}

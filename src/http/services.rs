//! `/v1/services`: virtual services.

use std::{collections::BTreeSet, sync::Arc};

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;

use super::{
    conditional::{ConditionalRead, IfMatch, IfMatchOrAbsent, Unconditional},
    context::Write,
    extract::{Json, Patch},
    parameters::{DeleteQuery, ServiceIncludeQuery},
    path::ServicePath,
    problem::Problem,
    query::{Query, query},
    reply::{self, Outcome},
    schema,
    service_page::{self, PageTags},
    state::Api,
    values::{
        Address, LabelTerms, ListSort, OwnerName, ServiceInclude, ServiceProtocol, kept_filter,
    },
};
use crate::{
    app::{self, Filter, ListServices, Written},
    model::{Error, Include, Owner, ServiceDraft, ServiceEntry, ServiceView},
};

query! {
    /// Query parameters of a list of services.
    ListServicesQuery {
        /// Only services with this protocol.
        protocol: ServiceProtocol = "tcp",
        /// Only services with this virtual address.
        address: Address = "192.0.2.1",
        /// Only services with this port.
        port: u16,
        /// Only services with this firewall mark.
        fwmark: u32,
        /// Only services with this scheduler.
        scheduler: String = "rr",
        /// Only services that the table of this owner declares; `_unmanaged`: those that no table declares.
        owner: OwnerName = "k8s",
        /// Only services with these labels: `team=web`, `env!=dev`, `team` (any value), `!team` (without it). All terms
        /// must hold, at most 32.
        label: LabelTerms = ["team=web", "env!=dev"],
        /// Parts to include beside the configuration. Default: `servers`.
        include: ServiceInclude = ["servers", "stats", "rates"],
        /// Sort key: `id`, `kernel` (the order of the kernel), a counter (`stats.connections`) or a
        /// rate (`rates.connections`); prefix with `-` for descending order. Equal entries are
        /// sorted by id. Default: `id`.
        sort: ListSort = ["-rates.connections"],
        /// Maximum page size; 0 stands for the default of 1000. Values above
        /// `limits.max_page_size` of the daemon's configuration (default 100000) are rejected.
        page_size: u32,
        /// `next_page_token` of the previous page, with otherwise the same parameters.
        page_token: String,
    }
}

query! {
    /// Query parameters of a deletion of all services.
    ClearQuery {
        /// Number of services to delete. The request is rejected with 412 if it is not the current
        /// number, so that no accidental request empties a director. Required.
        confirm: u64 = 3,
    }
}

/// The response to a deletion of all services.
#[derive(Serialize)]
struct Cleared<'a> {
    deleted: u64,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    reconcile_suspended: &'a BTreeSet<Owner>,
}

impl From<ListServicesQuery> for ListServices {
    fn from(query: ListServicesQuery) -> Self {
        let ListServicesQuery {
            protocol,
            address,
            port,
            fwmark,
            scheduler,
            owner,
            label,
            include,
            sort,
            page_size,
            page_token,
        } = query;
        Self {
            filter: Filter {
                protocol: protocol.map(|ServiceProtocol(protocol)| protocol),
                address: address.map(|Address(address)| address),
                port,
                fwmark,
                scheduler,
                kept: kept_filter(owner, label),
            },
            include: include.map_or_else(Include::default, |ServiceInclude(include)| include),
            order: sort.map(|ListSort(order)| order).unwrap_or_default(),
            page_size,
            page_token,
        }
    }
}

/// List services
///
/// Lists virtual services in pages (`ipvsadm -L`).
#[utoipa::path(
    get, path = "/v1/services", operation_id = "listServices", tag = "services",
    params(Query<ListServicesQuery>, ConditionalRead),
    responses((
        status = 200, description = "A page of services.", body = schema::ServiceList,
        example = json!({
            "services": [{
                "id": "tcp-192.0.2.1-80", "protocol": "tcp", "address": "192.0.2.1", "port": 80,
                "scheduler": "wlc", "scheduler_flags": [], "one_packet": false,
                "server_count": 1, "etag": "t-0123456789abcdef",
                "servers": [{
                    "id": "192.168.10.1-80", "address": "192.168.10.1", "port": 80,
                    "forwarding": "masquerade", "weight": 1, "upper_threshold": 0,
                    "lower_threshold": 0, "active_connections": 3, "inactive_connections": 1,
                    "persistent_connections": 0, "etag": "r-0123456789abcdef"
                }]
            }]
        })
    ))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListServicesQuery>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let answer = api.app.list_services(&read.context, query.into()).await?;
    let tags = service_page::tags(&answer.value).await;
    let entries = api.app.entries(&read.context, answer.value);
    let tag = tags.as_ref().map(PageTags::page);
    let mut shared = None;
    let body = async || {
        let part_timeout = api.options.request_timeout;
        let body = service_page::body(entries, tags, part_timeout, read.needs_length);
        let (body, parts) = body.await?;
        shared = parts;
        Ok(body)
    };
    let mut response = reply::listing(&read, answer.age, tag, body).await?;
    if let Some(shared) = shared {
        response.extensions_mut().insert(shared);
    }
    Ok(response)
}

/// Get a service
///
/// Gets one virtual service (`ipvsadm -L -t`).
#[utoipa::path(
    get, path = "/v1/services/{service}", operation_id = "getService", tag = "services",
    params(ServicePath, Query<ServiceIncludeQuery>, ConditionalRead),
    responses(
        (status = 200, description = "The service.", body = schema::Service),
        schema::NotFound,
    )
)]
pub(super) async fn get(
    State(api): State<Api>,
    ServicePath(key): ServicePath,
    Query(query): Query<ServiceIncludeQuery>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let include = query.include();
    let answer = api.app.service(&read.context, key, include).await?;
    let view = ServiceView::new(&answer.value, include);
    Ok(reply::resource(&read, answer.age, Some(view.etag), &view)?)
}

/// Create a service
///
/// Creates a virtual service, with its real servers if the body contains them (`ipvsadm -A`). Fails
/// with 409 if the service exists.
#[utoipa::path(
    post, path = "/v1/services", operation_id = "createService", tag = "services",
    params(Write),
    request_body(
        content = schema::Service, content_type = "application/json",
        description = "The service, identified by `id` or by the identifying fields.",
        examples(
            ("plain" = (summary = "TCP service", value = json!({
                "protocol": "tcp", "address": "192.0.2.1", "port": 80, "scheduler": "wrr"
            }))),
            ("servers" = (summary = "Service with real servers", value = json!({
                "id": "tcp-2001:db8::1-443", "scheduler": "mh", "scheduler_flags": ["mh-port"],
                "servers": [
                    {"address": "2001:db8::a", "forwarding": "masquerade", "weight": 2},
                    {"address": "2001:db8::b", "forwarding": "masquerade"}
                ]
            }))),
            ("fwmark" = (summary = "Persistent service of a firewall mark", value = json!({
                "fwmark": 7, "persistence": {"timeout_seconds": 600}
            })))
        )
    ),
    responses(
        (status = 201, description = "Created.", body = schema::Service),
        schema::Conflict, schema::Unprocessable,
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    write: Write,
    _: Unconditional,
    Json(draft): Json<ServiceDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let written = api.app.create_service(&context, draft).await?;
    Ok(respond(&written)?)
}

/// Create or replace a service
///
/// Creates or replaces a virtual service (`ipvsadm -A` or `-E`). Absent fields take their defaults.
/// With `servers`, the set of real servers is replaced too: new servers are added before others are
/// removed, and unchanged servers keep their connections and counters. Without `servers`, the set
/// is kept. Idempotent. The body of a GET can be sent unchanged: read-only fields are ignored.
#[utoipa::path(
    put, path = "/v1/services/{service}", operation_id = "replaceService", tag = "services",
    params(ServicePath, Write, IfMatchOrAbsent),
    request_body(
        content = schema::Service, content_type = "application/json",
        description = "The service. The id is optional.",
        example = json!({"scheduler": "wlc", "servers": [{"address": "192.168.10.1", "port": 80}]})
    ),
    responses(
        (status = 200, description = "Updated.", body = schema::Service),
        (status = 201, description = "Created.", body = schema::Service),
        schema::Unprocessable,
    )
)]
pub(super) async fn put(
    State(api): State<Api>,
    write: Write,
    ServicePath(key): ServicePath,
    IfMatchOrAbsent(guard): IfMatchOrAbsent,
    Json(draft): Json<ServiceDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let written = api.app.replace_service(&context, key, draft, guard).await?;
    Ok(respond(&written)?)
}

/// Update a service
///
/// Applies a JSON merge patch (RFC 7396) to a virtual service (`ipvsadm -E`): fields in the body are
/// changed, others are kept, and `null` resets a field to its default. `servers` is rejected.
/// A change that another program makes to another field at the same moment is kept, except within the
/// microsecond in which the kernel executes the write.
#[utoipa::path(
    patch, path = "/v1/services/{service}", operation_id = "updateService", tag = "services",
    params(ServicePath, Write, IfMatch),
    request_body(
        description = "Fields to change.",
        content(
            (schema::Service = "application/merge-patch+json",
                example = json!({"scheduler": "sh", "scheduler_flags": ["sh-port"], "persistence": null})),
            (schema::Service = "application/json", example = json!({"scheduler": "rr"})),
        ),
    ),
    responses(
        (status = 200, description = "Updated.", body = schema::Service),
        schema::NotFound, schema::Unprocessable,
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    write: Write,
    ServicePath(key): ServicePath,
    IfMatch(guard): IfMatch,
    Patch(draft): Patch<ServiceDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let app = &api.app;
    let written = app.update_service(&context, key, draft, guard, false);
    Ok(respond(&written.await?)?)
}

/// Delete a service
///
/// Deletes a virtual service and its real servers (`ipvsadm -D`).
#[utoipa::path(
    delete, path = "/v1/services/{service}", operation_id = "deleteService", tag = "services",
    params(ServicePath, Write<DeleteQuery>, IfMatch),
    responses((status = 204, description = "Deleted."), schema::NotFound)
)]
pub(super) async fn delete(
    State(api): State<Api>,
    write: Write<DeleteQuery>,
    ServicePath(key): ServicePath,
    IfMatch(guard): IfMatch,
) -> Result<StatusCode, Problem> {
    let (context, query) = write.start();
    let app = &api.app;
    let deleted = app.delete_service(&context, key, query.allow_missing(), guard);
    deleted.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete all services
///
/// Deletes all virtual services and their real servers (`ipvsadm -C`).
#[utoipa::path(
    delete, path = "/v1/services", operation_id = "clearServices", tag = "services",
    params(Write<ClearQuery>),
    responses(
        (status = 200, description = "Deleted.", body = schema::Cleared),
        schema::PreconditionFailed,
    )
)]
pub(super) async fn clear(
    State(api): State<Api>,
    write: Write<ClearQuery>,
    _: Unconditional,
) -> Result<Response, Problem> {
    let (context, query) = write.start();
    let cleared = api.app.clear_services(&context, query.confirm).await?;
    let app::Cleared {
        deleted,
        reconcile_suspended,
    } = &cleared;
    Ok(reply::plain(&Cleared {
        deleted: *deleted,
        reconcile_suspended,
    })?)
}

fn respond(written: &Written<Arc<ServiceEntry>>) -> Result<Response, Error> {
    let view = ServiceView::new(&written.value, Include::default());
    let outcome = Outcome {
        location: Some(format!("/v1/services/{}", view.id)),
        created: written.created,
        changed: written.changed,
        server_order_differs: written.server_order_differs,
    };
    reply::written(outcome, Some(view.etag), &view)
}

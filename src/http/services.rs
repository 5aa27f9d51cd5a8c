//! `/v1/services`: virtual services.

use std::{hash::Hash, sync::Arc};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use http::StatusCode;
use utoipa::IntoParams;

use super::{
    Api,
    body::{self, Services},
    conditional::{IfMatch, IfMatchOrAbsent, Reading, Unconditional},
    context::Caller,
    etag::{Tag, hash_service},
    extract::{InService, Json, Patch},
    problem::Problem,
    query::{FromQuery, NoQuery, Params, Query},
    reply::{self, Outcome},
    schema::{self, Deleted},
};
use crate::{
    app::{Filter, ListServices, Order, ServicePage, Written},
    model::{Error, Etag, Include, ServiceDraft, ServiceEntry, ServiceView},
};

const INCLUDE: [&str; 3] = ["servers", "stats", "rates"];

/// Which services, in what order, how many.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "read by the OpenAPI generator")]
pub(super) struct ListParams {
    /// Only services of this protocol: `tcp`, `udp`, `sctp`, or the number of one that only another
    /// program can have set.
    #[param(
        required = false,
        nullable = false,
        pattern = "^(tcp|udp|sctp|[0-9]{1,4})$",
        example = "tcp"
    )]
    protocol: Option<String>,
    /// Only services of this virtual address.
    #[param(required = false, nullable = false, example = "192.0.2.1")]
    address: Option<String>,
    /// Only services of this port.
    #[param(required = false, nullable = false, minimum = 0, maximum = 65535)]
    port: Option<i64>,
    /// Only the services of this firewall mark.
    #[param(
        required = false,
        nullable = false,
        minimum = 0,
        maximum = 4_294_967_295_i64
    )]
    fwmark: Option<i64>,
    /// Only services with this scheduler.
    #[param(required = false, nullable = false, example = "rr")]
    scheduler: Option<String>,
    /// In what order: `id`, `kernel`, or one of the counters; `-` before it turns it round.
    /// Default `id`.
    #[param(
        required = false,
        nullable = false,
        pattern = "^-?(id|kernel|(stats|rates)\\.(connections|packets_in|packets_out|bytes_in|bytes_out))$",
        example = "-rates.connections"
    )]
    sort: Option<String>,
    /// At most how many services; the daemon may give fewer. 0 is the default, 1000. The largest is a
    /// setting of the daemon.
    #[param(required = false, nullable = false, minimum = 0, maximum = 100_000)]
    page_size: Option<i64>,
    /// `next_page_token` of the page before, with the same parameters as there.
    #[param(required = false, nullable = false)]
    page_token: Option<String>,
}

/// What is told of a service.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "read by the OpenAPI generator")]
pub(super) struct IncludeParam {
    /// What is told beside the configuration: a list of `servers`, `stats`, `rates`, or `none`.
    /// Default `servers`.
    #[param(
        required = false,
        nullable = false,
        pattern = "^(none|(servers|stats|rates)(,(servers|stats|rates))*)$",
        example = "servers,stats,rates"
    )]
    include: Option<String>,
}

/// `include` of a read.
pub(super) struct OfInclude(Include);

/// `allow_missing` of a deletion.
pub(super) struct OfDelete {
    pub allow_missing: bool,
}

/// `confirm` of a clearance.
pub(super) struct OfClear {
    confirm: Option<u64>,
}

/// The tags of a page: of all of it, and of its services by their places.
#[derive(Clone)]
struct Tags {
    list: Tag,
    services: Arc<[Etag]>,
}

/// A page that many get, encoded.
#[derive(Clone)]
struct Whole(Option<Bytes>);

// === impl Tags ===

impl Tags {
    fn of(page: &ServicePage) -> Self {
        let of_entry = |entry: &ServiceEntry| match page.include.servers {
            true => entry.etag(),
            false => entry.service.etag(),
        };
        let mut services = Vec::with_capacity(page.len());
        let list = Tag::of_list(|hasher| {
            (page.next_page_token(), page.estimation, page.include).hash(hasher);
            // A large table is not in the processor's cache: each entry is gone through once.
            for entry in page.iter() {
                let etag = of_entry(entry);
                services.push(etag);
                hash_service(entry, etag, page.include, hasher);
            }
        });
        let services = services.into();
        Self { list, services }
    }
}

// === impl Whole ===

impl Whole {
    fn of(services: Services) -> Self {
        Self(body::whole(services).ok())
    }
}

// === impl FromQuery ===

impl FromQuery for ListServices {
    fn from_query(params: &mut Params) -> Self {
        let range = |number: u64| u32::try_from(number).ok();
        Self {
            filter: Filter {
                protocol: params.take("protocol"),
                address: params.take_with("address", |text| {
                    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
                    bare.unwrap_or(text)
                        .parse()
                        .map_err(|_| format!("{text:?} is not an IPv4 or IPv6 address"))
                }),
                port: params
                    .take_number("port", 0, u16::MAX.into())
                    .and_then(|port| u16::try_from(port).ok()),
                fwmark: params
                    .take_number("fwmark", 0, u32::MAX.into())
                    .and_then(range),
                scheduler: params.take_with("scheduler", |text| Ok(text.to_owned())),
            },
            include: params.take_include(&INCLUDE).unwrap_or_default(),
            order: params.take::<Order>("sort").unwrap_or_default(),
            page_size: params
                .take_number("page_size", 0, u32::MAX.into())
                .and_then(range),
            page_token: params.take_with("page_token", |text| Ok(text.to_owned())),
        }
    }
}

impl FromQuery for OfInclude {
    fn from_query(params: &mut Params) -> Self {
        Self(params.take_include(&INCLUDE).unwrap_or_default())
    }
}

impl FromQuery for OfDelete {
    fn from_query(params: &mut Params) -> Self {
        Self {
            allow_missing: params.take_bool("allow_missing").unwrap_or_default(),
        }
    }
}

impl FromQuery for OfClear {
    fn from_query(params: &mut Params) -> Self {
        Self {
            confirm: params.take_number("confirm", 0, u64::MAX),
        }
    }
}

// === the operations ===

/// List services
///
/// Virtual services, a page at a time (`ipvsadm -L`).
#[utoipa::path(
    get, path = "/v1/services", operation_id = "listServices", tag = "services",
    params(ListParams, IncludeParam, schema::ReadHeaders),
    responses((
        status = 200, description = "A page of services.", body = schema::ServiceList<'_>,
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
    Query(list): Query<ListServices>,
    reading: Reading,
) -> Result<Response, Problem> {
    let answer = api.app.list_services(&reading.context, list).await?;
    let page = answer.value;
    let Tags {
        list: tag,
        services,
    } = page.get_or_render(|| Tags::of(&page));
    let body = || {
        let pieces = || Services::new(page.clone(), services.clone());
        let whole = page
            .is_shared()
            .then(|| page.get_or_render(|| Whole::of(pieces())));
        match whole {
            Some(Whole(Some(bytes))) => Body::from(bytes),
            _ => body::body(pieces()),
        }
    };
    Ok(reply::listing(&reading, answer.age, tag, body)?)
}

/// Get a service
///
/// One virtual service (`ipvsadm -L -t`).
#[utoipa::path(
    get, path = "/v1/services/{service}", operation_id = "getService", tag = "services",
    params(
        ("service" = String, Path, description = "Id of the service.", example = "tcp-192.0.2.1-80"),
        IncludeParam, schema::ReadHeaders
    ),
    responses(
        (status = 200, description = "The service.", body = ServiceView<'_>),
        schema::NotFound,
    )
)]
pub(super) async fn get(
    State(api): State<Api>,
    InService(key): InService,
    Query(OfInclude(include)): Query<OfInclude>,
    reading: Reading,
) -> Result<Response, Problem> {
    let answer = api.app.service(&reading.context, key, include).await?;
    let view = ServiceView::new(&answer.value, include);
    Ok(reply::resource(
        &reading,
        answer.age,
        Some(view.etag),
        &view,
    )?)
}

/// Create a service
///
/// Creates a virtual service, with its servers if they are given; refused where it exists
/// (`ipvsadm -A`).
#[utoipa::path(
    post, path = "/v1/services", operation_id = "createService", tag = "services",
    request_body(
        content = ServiceDraft, content_type = "application/json",
        description = "The service: its `id`, or what it is made of.",
        examples(
            ("plain" = (summary = "A TCP service", value = json!({
                "protocol": "tcp", "address": "192.0.2.1", "port": 80, "scheduler": "wrr"
            }))),
            ("servers" = (summary = "With its servers", value = json!({
                "id": "tcp-2001:db8::1-443", "scheduler": "mh", "scheduler_flags": ["mh-port"],
                "servers": [
                    {"address": "2001:db8::a", "forwarding": "masquerade", "weight": 2},
                    {"address": "2001:db8::b", "forwarding": "masquerade"}
                ]
            }))),
            ("fwmark" = (summary = "A firewall mark, persistent", value = json!({
                "fwmark": 7, "persistence": {"timeout_seconds": 600}
            })))
        )
    ),
    responses(
        (status = 201, description = "It was created.", body = schema::WrittenService<'_>),
        schema::Conflict, schema::Unprocessable,
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    _: NoQuery,
    _: Unconditional,
    Json(draft): Json<ServiceDraft>,
) -> Result<Response, Problem> {
    let context = caller.context();
    let written = api.app.create_service(&context, draft).await?;
    Ok(respond(&written)?)
}

/// Put a service
///
/// Creates or replaces a virtual service (`ipvsadm -A` or `-E`). What is absent takes the default.
/// With `servers`, replaces the set too, adding before removing; without, the servers are left
/// alone. Doing it twice is doing it once.
#[utoipa::path(
    put, path = "/v1/services/{service}", operation_id = "putService", tag = "services",
    params(
        ("service" = String, Path, description = "Id of the service.", example = "tcp-192.0.2.1-80"),
        schema::IfMatchHeader, schema::IfNoneMatchHeader
    ),
    request_body(
        content = ServiceDraft, content_type = "application/json",
        description = "The service. Its id may be left out.",
        example = json!({"scheduler": "wlc", "servers": [{"address": "192.168.10.1", "port": 80}]})
    ),
    responses(
        (status = 200, description = "It is so now.", body = schema::WrittenService<'_>),
        (status = 201, description = "It was created.", body = schema::WrittenService<'_>),
        schema::Unprocessable,
    )
)]
pub(super) async fn put(
    State(api): State<Api>,
    caller: Caller,
    InService(key): InService,
    _: NoQuery,
    IfMatchOrAbsent(guard): IfMatchOrAbsent,
    Json(draft): Json<ServiceDraft>,
) -> Result<Response, Problem> {
    let context = caller.context();
    let written = api.app.replace_service(&context, key, draft, guard).await?;
    Ok(respond(&written)?)
}

/// Change a service
///
/// A merge patch (RFC 7396): changes what is named, keeps the rest; `null` goes back to the default
/// (`ipvsadm -E`).
#[utoipa::path(
    patch, path = "/v1/services/{service}", operation_id = "updateService", tag = "services",
    params(
        ("service" = String, Path, description = "Id of the service.", example = "tcp-192.0.2.1-80"),
        schema::IfMatchHeader
    ),
    request_body(
        description = "What is to change.",
        content(
            (ServiceDraft = "application/merge-patch+json",
                example = json!({"scheduler": "sh", "scheduler_flags": ["sh-port"], "persistence": null})),
            (ServiceDraft = "application/json", example = json!({"scheduler": "rr"})),
        ),
    ),
    responses(
        (status = 200, description = "It is so now.", body = schema::WrittenService<'_>),
        schema::NotFound, schema::Unprocessable,
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    InService(key): InService,
    _: NoQuery,
    IfMatch(guard): IfMatch,
    Patch(draft): Patch<ServiceDraft>,
) -> Result<Response, Problem> {
    let context = caller.context();
    let app = &api.app;
    let written = app.update_service(&context, key, draft, guard, false);
    Ok(respond(&written.await?)?)
}

/// Delete a service
///
/// Deletes a virtual service with its servers (`ipvsadm -D`).
#[utoipa::path(
    delete, path = "/v1/services/{service}", operation_id = "deleteService", tag = "services",
    params(
        ("service" = String, Path, description = "Id of the service.", example = "tcp-192.0.2.1-80"),
        schema::AllowMissingParam, schema::IfMatchHeader
    ),
    responses((status = 204, description = "It is gone."), schema::NotFound)
)]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    InService(key): InService,
    Query(OfDelete { allow_missing }): Query<OfDelete>,
    IfMatch(guard): IfMatch,
) -> Result<StatusCode, Problem> {
    let context = caller.context();
    let app = &api.app;
    let deleted = app.delete_service(&context, key, allow_missing, guard);
    deleted.await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete all services
///
/// Deletes every virtual service with its servers (`ipvsadm -C`). `confirm` must be how many there
/// are, so that no stray call empties a director.
#[utoipa::path(
    delete, path = "/v1/services", operation_id = "clearServices", tag = "services",
    params(("confirm" = u64, Query, description = "How many services there are.", minimum = 0, example = 3)),
    responses(
        (status = 200, description = "They are gone.", body = Deleted),
        schema::PreconditionFailed,
    )
)]
pub(super) async fn clear(
    State(api): State<Api>,
    caller: Caller,
    Query(OfClear { confirm }): Query<OfClear>,
    _: Unconditional,
) -> Result<Response, Problem> {
    let context = caller.context();
    let deleted = api.app.clear_services(&context, confirm).await?;
    Ok(reply::plain(&Deleted { deleted })?)
}

fn respond(written: &Written<Arc<ServiceEntry>>) -> Result<Response, Error> {
    let view = ServiceView::new(&written.value, Include::default());
    let outcome = Outcome {
        location: Some(format!("/v1/services/{}", view.id)),
        created: written.created,
        changed: written.changed,
    };
    reply::written(outcome, Some(view.etag), &view)
}

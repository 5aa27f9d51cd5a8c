//! `/v1/services/{service}/servers`: real servers.

use std::hash::Hash;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny};

use super::{
    body::{self, Servers},
    conditional::{ConditionalRead, IfMatch, IfMatchOrAbsent, Unconditional},
    context::Write,
    etag::{Tag, hash_server},
    extract::{self, Json, Patch, RawJson},
    parameters::{DeleteQuery, ServerIncludeQuery},
    path::{ServerPath, ServicePath},
    problem::Problem,
    query::{Query, query},
    reply::{self, Outcome},
    schema,
    state::Api,
    values::{ListSort, ServerInclude},
};
use crate::{
    app::{ListServers, Written},
    model::{Error, Include, Object, Server, ServerDraft, ServerKey, ServerView, ServiceKey},
};

query! {
    /// Query parameters of a list of servers.
    ListServersQuery {
        /// Parts to include beside the configuration. Default: `none`.
        include: ServerInclude = ["stats", "rates"],
        /// Sort key: `kernel` (the order that schedulers use), `id`, a counter
        /// (`stats.connections`) or a rate (`rates.connections`); prefix with `-` for descending
        /// order. Equal entries are sorted by id. Default: `kernel`.
        sort: ListSort = ["-stats.connections"],
        /// Maximum page size; 0 stands for the default of 1000. Values above
        /// `limits.max_page_size` of the daemon's configuration (default 100000) are rejected.
        page_size: u32,
        /// `next_page_token` of the previous page, with otherwise the same parameters.
        page_token: String,
    }
}

/// The body of a creation.
enum Creation {
    One(Box<ServerDraft>),
    Several(Vec<ServerDraft>),
}

/// Distinguishes a batch from a single server.
#[derive(Deserialize)]
struct Probe {
    servers: Option<IgnoredAny>,
}

/// Several servers in a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    servers: Vec<Object<ServerDraft>>,
    #[serde(rename = "changed")]
    _changed: Option<IgnoredAny>,
}

/// Several servers in a response.
#[derive(Serialize)]
struct Created<'a> {
    #[serde(serialize_with = "views")]
    servers: &'a [Server],
}

impl From<ListServersQuery> for ListServers {
    fn from(query: ListServersQuery) -> Self {
        let ListServersQuery {
            include,
            sort,
            page_size,
            page_token,
        } = query;
        Self {
            include: include.map_or_else(Include::default, |ServerInclude(include)| include),
            order: sort.map(|ListSort(order)| order).unwrap_or_default(),
            page_size,
            page_token,
        }
    }
}

// === impl Creation ===

impl Creation {
    fn parse(body: &[u8]) -> Result<Self, Error> {
        // Errors of the probe are reported by the parser of a single server, with field names.
        let several = extract::parse::<Probe>(body).is_ok_and(|probe| probe.servers.is_some());
        Ok(if several {
            let batch: Batch = extract::parse(body)?;
            if batch.servers.is_empty() {
                return Err(Error::invalid("servers", "at least one server is required"));
            }
            Self::Several(batch.servers.into_iter().map(|server| server.0).collect())
        } else {
            Self::One(Box::new(extract::parse(body)?))
        })
    }
}

/// List servers
///
/// Lists the real servers of a virtual service in pages.
#[utoipa::path(
    get, path = "/v1/services/{service}/servers", operation_id = "listServers", tag = "servers",
    params(ServicePath, Query<ListServersQuery>, ConditionalRead),
    responses(
        (status = 200, description = "A page of servers.", body = schema::ServerList),
        schema::NotFound,
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    ServicePath(service): ServicePath,
    Query(query): Query<ListServersQuery>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let list = api.app.list_servers(&read.context, service, query.into());
    let answer = list.await?;
    let page = answer.value;
    let tag = Tag::of_list(|hasher| {
        (page.next_page_token(), page.estimation, page.include).hash(hasher);
        for server in &page.servers {
            hash_server(server, page.include, hasher);
        }
    });
    let budget = api.app.budget_of(&read.context);
    let needs_length = read.needs_length;
    let body = async move || match needs_length {
        true => body::whole(Servers::from(page), &budget).await,
        false => body::body(Servers::from(page)).await,
    };
    Ok(reply::listing(&read, answer.age, Some(tag), body).await?)
}

/// Get a server
///
/// Gets one real server of a virtual service.
#[utoipa::path(
    get, path = "/v1/services/{service}/servers/{server}", operation_id = "getServer",
    tag = "servers",
    params(ServerPath, Query<ServerIncludeQuery>, ConditionalRead),
    responses(
        (status = 200, description = "The server.", body = schema::Server),
        schema::NotFound,
    )
)]
pub(super) async fn get(
    State(api): State<Api>,
    ServerPath(service, server): ServerPath,
    Query(query): Query<ServerIncludeQuery>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let answer = api.app.server(&read.context, service, server).await?;
    let view = ServerView::new(&answer.value, query.include());
    Ok(reply::resource(&read, answer.age, Some(view.etag), &view)?)
}

/// Create servers
///
/// Creates one real server, or several together or not at all (`ipvsadm -a`). Fails with 409 if a
/// server exists. The response has the form of the request.
#[utoipa::path(
    post, path = "/v1/services/{service}/servers", operation_id = "createServers", tag = "servers",
    params(ServicePath, Write),
    request_body(
        content = schema::ServerOrBatch, content_type = "application/json",
        description = "One server, or several as `servers`.",
        examples(
            ("one" = (summary = "One server", value = json!({
                "address": "192.168.10.1", "port": 8080, "forwarding": "masquerade", "weight": 2
            }))),
            ("several" = (summary = "Several servers", value = json!({
                "servers": [{"address": "192.168.10.1"}, {"address": "192.168.10.2"}]
            }))),
            ("gue" = (summary = "GUE tunnel", value = json!({
                "address": "192.168.10.3", "forwarding": "tunnel",
                "tunnel": {"type": "gue", "port": 6080}
            })))
        )
    ),
    responses(
        (status = 201, description = "Created.", body = schema::ServerOrBatch),
        schema::NotFound, schema::Conflict, schema::Unprocessable,
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    write: Write,
    ServicePath(service): ServicePath,
    _: Unconditional,
    RawJson(body): RawJson,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let app = &api.app;
    match Creation::parse(&body)? {
        Creation::One(draft) => {
            let written = app.create_server(&context, service, *draft).await?;
            Ok(respond(
                service,
                &written.value,
                written.created,
                written.changed,
            )?)
        }
        Creation::Several(drafts) => {
            let written = app.create_servers(&context, service, drafts).await?;
            let outcome = Outcome {
                location: None,
                created: written.created,
                changed: written.changed,
                ..Outcome::default()
            };
            let servers = &written.value;
            Ok(reply::changed(
                &outcome,
                reply::json(&Created { servers })?,
            )?)
        }
    }
}

/// Create or replace a server
///
/// Creates or replaces a real server (`ipvsadm -a` or `-e`). Absent fields take their defaults.
/// Idempotent. The body of a GET can be sent unchanged: read-only fields are ignored.
#[utoipa::path(
    put, path = "/v1/services/{service}/servers/{server}", operation_id = "replaceServer",
    tag = "servers",
    params(ServerPath, Write, IfMatchOrAbsent),
    request_body(
        content = schema::Server, content_type = "application/json",
        description = "The server. The id is optional.",
        example = json!({"forwarding": "masquerade", "weight": 2})
    ),
    responses(
        (status = 200, description = "Updated.", body = schema::Server),
        (status = 201, description = "Created.", body = schema::Server),
        schema::NotFound, schema::Unprocessable,
    )
)]
pub(super) async fn put(
    State(api): State<Api>,
    write: Write,
    ServerPath(service, server): ServerPath,
    IfMatchOrAbsent(guard): IfMatchOrAbsent,
    Json(draft): Json<ServerDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let app = &api.app;
    let written = app.replace_server(&context, service, server, draft, guard);
    Ok(single(service, written.await?)?)
}

/// Update a server
///
/// Applies a JSON merge patch (RFC 7396) to a real server (`ipvsadm -e`): fields in the body are
/// changed, others are kept, and `null` resets a field to its default. `{"weight": 0}` drains the
/// server: it keeps its connections and receives no new ones.
/// A change that another program makes to another field at the same moment is kept, except within the
/// microsecond in which the kernel executes the write; with more than 64 servers, while
/// the kernel lists them.
#[utoipa::path(
    patch, path = "/v1/services/{service}/servers/{server}", operation_id = "updateServer",
    tag = "servers",
    params(ServerPath, Write, IfMatch),
    request_body(
        description = "Fields to change.",
        content(
            (schema::Server = "application/merge-patch+json", example = json!({"weight": 0})),
            (schema::Server = "application/json", example = json!({"weight": 0})),
        ),
    ),
    responses(
        (status = 200, description = "Updated.", body = schema::Server),
        schema::NotFound, schema::Unprocessable,
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    write: Write,
    ServerPath(service, server): ServerPath,
    IfMatch(guard): IfMatch,
    Patch(draft): Patch<ServerDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let app = &api.app;
    let written = app.update_server(&context, service, server, draft, guard, false);
    Ok(single(service, written.await?)?)
}

/// Delete a server
///
/// Deletes a real server (`ipvsadm -d`). Its connections are closed at once if the setting
/// `expire_nodest_conn` is on; otherwise they end by timeout.
#[utoipa::path(
    delete, path = "/v1/services/{service}/servers/{server}", operation_id = "deleteServer",
    tag = "servers",
    params(ServerPath, Write<DeleteQuery>, IfMatch),
    responses((status = 204, description = "Deleted."), schema::NotFound)
)]
pub(super) async fn delete(
    State(api): State<Api>,
    write: Write<DeleteQuery>,
    ServerPath(service, server): ServerPath,
    IfMatch(guard): IfMatch,
) -> Result<StatusCode, Problem> {
    let (context, query) = write.start();
    let app = &api.app;
    let deleted = app.delete_server(&context, service, server, query.allow_missing(), guard);
    deleted.await?;
    Ok(StatusCode::NO_CONTENT)
}

fn single(service: ServiceKey, written: Written<Server>) -> Result<Response, Error> {
    respond(service, &written.value, written.created, written.changed)
}

fn respond(
    service: ServiceKey,
    server: &Server,
    created: bool,
    changed: bool,
) -> Result<Response, Error> {
    let view = ServerView::new(server, Include::default());
    let outcome = Outcome {
        location: Some(path(service, view.id)),
        created,
        changed,
        ..Outcome::default()
    };
    reply::written(outcome, Some(view.etag), &view)
}

fn path(service: ServiceKey, server: ServerKey) -> String {
    format!("/v1/services/{service}/servers/{server}")
}

fn views<S: Serializer>(servers: &[Server], serializer: S) -> Result<S::Ok, S::Error> {
    let views = servers
        .iter()
        .map(|s| ServerView::new(s, Include::default()));
    serializer.collect_seq(views)
}

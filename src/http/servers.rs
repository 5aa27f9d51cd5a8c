//! `/v1/services/{service}/servers`: real servers.

use std::hash::Hash;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny};
use utoipa::IntoParams;

use super::{
    Api,
    body::{self, Servers},
    conditional::{IfMatch, IfMatchOrAbsent, Reading, Unconditional},
    context::Caller,
    etag::{Tag, hash_server},
    extract::{self, InServer, InService, Json, Patch, RawJson},
    problem::Problem,
    query::{FromQuery, NoQuery, Params, Query},
    reply::{self, Outcome},
    schema,
    services::OfDelete,
};
use crate::{
    app::{ListServers, Order, Written},
    model::{Error, Include, Object, Server, ServerDraft, ServerKey, ServerView, ServiceKey},
};

const INCLUDE: [&str; 2] = ["stats", "rates"];

/// In what order servers are listed, how many.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "read by the OpenAPI generator")]
pub(super) struct ListParams {
    /// In what order: `kernel`, `id`, or one of the counters; `-` before it turns it round.
    /// Default `kernel`, the order that schedulers use.
    #[param(
        required = false,
        nullable = false,
        pattern = "^-?(id|kernel|(stats|rates)\\.(connections|packets_in|packets_out|bytes_in|bytes_out))$",
        example = "-stats.connections"
    )]
    sort: Option<String>,
    /// At most how many servers; the daemon may give fewer. 0 is the default, 1000. The largest is a
    /// setting of the daemon.
    #[param(required = false, nullable = false, minimum = 0, maximum = 100_000)]
    page_size: Option<i64>,
    /// `next_page_token` of the page before, with the same parameters as there.
    #[param(required = false, nullable = false)]
    page_token: Option<String>,
}

/// What is told of a server.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "read by the OpenAPI generator")]
pub(super) struct IncludeParam {
    /// What is told beside the configuration: a list of `stats`, `rates`, or `none`. Default
    /// `none`.
    #[param(
        required = false,
        nullable = false,
        pattern = "^(none|(stats|rates)(,(stats|rates))*)$",
        example = "stats,rates"
    )]
    include: Option<String>,
}

/// `include` of a read.
pub(super) struct OfInclude(Include);

/// The body of a creation.
enum Creation {
    One(ServerDraft),
    Several(Vec<ServerDraft>),
}

/// Tells a list from a single server.
#[derive(Deserialize)]
struct Probe {
    servers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    servers: Vec<Object<ServerDraft>>,
}

/// `{"servers": […]}`.
#[derive(Serialize)]
struct Created<'a> {
    #[serde(serialize_with = "views")]
    servers: &'a [Server],
}

// === impl FromQuery ===

impl FromQuery for ListServers {
    fn from_query(params: &mut Params) -> Self {
        Self {
            include: include(params),
            order: params.take::<Order>("sort").unwrap_or_default(),
            page_size: params
                .take_number("page_size", 0, u32::MAX.into())
                .and_then(|number| u32::try_from(number).ok()),
            page_token: params.take_with("page_token", |text| Ok(text.to_owned())),
        }
    }
}

impl FromQuery for OfInclude {
    fn from_query(params: &mut Params) -> Self {
        Self(include(params))
    }
}

fn include(params: &mut Params) -> Include {
    params.take_include(&INCLUDE).unwrap_or_default()
}

// === impl Creation ===

impl Creation {
    fn parse(body: &[u8]) -> Result<Self, Error> {
        // What this cannot read, the next attempt refuses with the field's name.
        let several = extract::parse::<Probe>(body).is_ok_and(|probe| probe.servers.is_some());
        Ok(if several {
            let batch: Batch = extract::parse(body)?;
            if batch.servers.is_empty() {
                return Err(Error::invalid("servers", "at least one server is needed"));
            }
            Self::Several(batch.servers.into_iter().map(|server| server.0).collect())
        } else {
            Self::One(extract::parse(body)?)
        })
    }
}

// === the operations ===

/// List servers
///
/// The real servers of a virtual service, a page at a time.
#[utoipa::path(
    get, path = "/v1/services/{service}/servers", operation_id = "listServers", tag = "servers",
    params(
        ("service" = String, Path, description = "Id of the service.", example = "tcp-192.0.2.1-80"),
        ListParams, IncludeParam, schema::ReadHeaders
    ),
    responses(
        (status = 200, description = "A page of servers.", body = schema::ServerList<'_>),
        schema::NotFound,
    )
)]
pub(super) async fn list(
    State(api): State<Api>,
    InService(service): InService,
    Query(list): Query<ListServers>,
    reading: Reading,
) -> Result<Response, Problem> {
    let answer = api
        .app
        .list_servers(&reading.context, service, list)
        .await?;
    let page = answer.value;
    let tag = Tag::of_list(|hasher| {
        (page.next_page_token(), page.estimation, page.include).hash(hasher);
        for server in &page.servers {
            hash_server(server, page.include, hasher);
        }
    });
    let body = || body::body(Servers::from(page));
    Ok(reply::listing(&reading, answer.age, tag, body)?)
}

/// Get a server
///
/// One real server of a virtual service.
#[utoipa::path(
    get, path = "/v1/services/{service}/servers/{server}", operation_id = "getServer",
    tag = "servers",
    params(
        ("service" = String, Path, description = "Id of the service.", example = "tcp-192.0.2.1-80"),
        ("server" = String, Path, description = "Id of the server.", example = "192.168.10.1-80"),
        IncludeParam, schema::ReadHeaders
    ),
    responses(
        (status = 200, description = "The server.", body = ServerView<'_>),
        schema::NotFound,
    )
)]
pub(super) async fn get(
    State(api): State<Api>,
    InServer(service, server): InServer,
    Query(OfInclude(include)): Query<OfInclude>,
    reading: Reading,
) -> Result<Response, Problem> {
    let answer = api.app.server(&reading.context, service, server).await?;
    let view = ServerView::new(&answer.value, include);
    Ok(reply::resource(
        &reading,
        answer.age,
        Some(view.etag),
        &view,
    )?)
}

/// Create servers
///
/// Creates a real server, or several, all or none; refused where one exists (`ipvsadm -a`). The
/// answer has the form of the request.
#[utoipa::path(
    post, path = "/v1/services/{service}/servers", operation_id = "createServers", tag = "servers",
    params(("service" = String, Path, description = "Id of the service.", example = "tcp-192.0.2.1-80")),
    request_body(
        content = schema::ServerInputOrList, content_type = "application/json",
        description = "The server, or `servers`.",
        examples(
            ("one" = (summary = "One server", value = json!({
                "address": "192.168.10.1", "port": 8080, "forwarding": "masquerade", "weight": 2
            }))),
            ("several" = (summary = "Several servers", value = json!({
                "servers": [{"address": "192.168.10.1"}, {"address": "192.168.10.2"}]
            }))),
            ("gue" = (summary = "A GUE tunnel", value = json!({
                "address": "192.168.10.3", "forwarding": "tunnel",
                "tunnel": {"type": "gue", "port": 6080}
            })))
        )
    ),
    responses(
        (status = 201, description = "They were created.", body = schema::WrittenServerOrServers<'_>),
        schema::NotFound, schema::Conflict, schema::Unprocessable,
    )
)]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    InService(service): InService,
    _: NoQuery,
    _: Unconditional,
    RawJson(body): RawJson,
) -> Result<Response, Problem> {
    let context = caller.context();
    let app = &api.app;
    match Creation::parse(&body)? {
        Creation::One(draft) => {
            let written = app.create_server(&context, service, draft).await?;
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
            };
            let servers = &written.value;
            Ok(reply::changed(
                &outcome,
                reply::json(&Created { servers })?,
            )?)
        }
    }
}

/// Put a server
///
/// Creates or replaces a real server (`ipvsadm -a` or `-e`). What is absent takes the default.
/// Doing it twice is doing it once.
#[utoipa::path(
    put, path = "/v1/services/{service}/servers/{server}", operation_id = "putServer",
    tag = "servers",
    params(
        ("service" = String, Path, description = "Id of the service.", example = "tcp-192.0.2.1-80"),
        ("server" = String, Path, description = "Id of the server.", example = "192.168.10.1-80"),
        schema::IfMatchHeader, schema::IfNoneMatchHeader
    ),
    request_body(
        content = ServerDraft, content_type = "application/json",
        description = "The server. Its id may be left out.",
        example = json!({"forwarding": "masquerade", "weight": 2})
    ),
    responses(
        (status = 200, description = "It is so now.", body = schema::WrittenServer<'_>),
        (status = 201, description = "It was created.", body = schema::WrittenServer<'_>),
        schema::NotFound, schema::Unprocessable,
    )
)]
pub(super) async fn put(
    State(api): State<Api>,
    caller: Caller,
    InServer(service, server): InServer,
    _: NoQuery,
    IfMatchOrAbsent(guard): IfMatchOrAbsent,
    Json(draft): Json<ServerDraft>,
) -> Result<Response, Problem> {
    let context = caller.context();
    let app = &api.app;
    let written = app.replace_server(&context, service, server, draft, guard);
    Ok(single(service, written.await?)?)
}

/// Change a server
///
/// A merge patch (RFC 7396): changes what is named, keeps the rest; `null` goes back to the default
/// (`ipvsadm -e`). `{"weight": 0}` lets a server run dry.
#[utoipa::path(
    patch, path = "/v1/services/{service}/servers/{server}", operation_id = "updateServer",
    tag = "servers",
    params(
        ("service" = String, Path, description = "Id of the service.", example = "tcp-192.0.2.1-80"),
        ("server" = String, Path, description = "Id of the server.", example = "192.168.10.1-80"),
        schema::IfMatchHeader
    ),
    request_body(
        description = "What is to change.",
        content(
            (ServerDraft = "application/merge-patch+json", example = json!({"weight": 0})),
            (ServerDraft = "application/json", example = json!({"weight": 0})),
        ),
    ),
    responses(
        (status = 200, description = "It is so now.", body = schema::WrittenServer<'_>),
        schema::NotFound, schema::Unprocessable,
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    caller: Caller,
    InServer(service, server): InServer,
    _: NoQuery,
    IfMatch(guard): IfMatch,
    Patch(draft): Patch<ServerDraft>,
) -> Result<Response, Problem> {
    let context = caller.context();
    let app = &api.app;
    let written = app.update_server(&context, service, server, draft, guard, false);
    Ok(single(service, written.await?)?)
}

/// Delete a server
///
/// Deletes a real server (`ipvsadm -d`). Its connections are cut, or end when they time out, as
/// the setting `expire_nodest_conn` says.
#[utoipa::path(
    delete, path = "/v1/services/{service}/servers/{server}", operation_id = "deleteServer",
    tag = "servers",
    params(
        ("service" = String, Path, description = "Id of the service.", example = "tcp-192.0.2.1-80"),
        ("server" = String, Path, description = "Id of the server.", example = "192.168.10.1-80"),
        schema::AllowMissingParam, schema::IfMatchHeader
    ),
    responses((status = 204, description = "It is gone."), schema::NotFound)
)]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    InServer(service, server): InServer,
    Query(OfDelete { allow_missing }): Query<OfDelete>,
    IfMatch(guard): IfMatch,
) -> Result<StatusCode, Problem> {
    let context = caller.context();
    let app = &api.app;
    let deleted = app.delete_server(&context, service, server, allow_missing, guard);
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

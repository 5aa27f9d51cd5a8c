//! `/v1/tables`: declared tables.

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Serialize;

use super::{
    applied::{self, Applied, Operation},
    conditional::{ConditionalRead, IfMatch, IfMatchOrAbsent},
    context::Write,
    extract::{Json, TableJson},
    path::{OwnerPath, ReadOwnerPath},
    problem::Problem,
    query::{NoParams, Query, query},
    reply, schema,
    state::Api,
    values::{AdoptWord, MaxDeletes, OnFailureWord, PlanDigest, RemovalWord},
};
use crate::{
    app::{ApplyOptions, Conflict, DeleteTableOptions, ListOperations, ListTables, offload},
    model::{
        ApplyOutcome, Director, Etag, LastApply, Owner, ServerConfigView, ServerKey, ServiceKey,
        ServiceView, SyncState, TableDraft, TableSettings, TableStatus, TableSummary,
        TargetService,
    },
};

query! {
    /// Query parameters of an apply.
    ApplyQuery {
        /// What to do when an operation fails: `rollback` undoes the others, `stop` executes no further
        /// ones, `continue` executes the others. Default: `rollback`.
        on_failure: OnFailureWord,
        /// How many services, and how many servers, may be deleted: a number, or a part of those that the
        /// owner has in the kernel, rounded up. A deleted service counts its servers too. Default: `30%`.
        max_deletes: MaxDeletes = "30%",
        /// Which services may be taken over: `none`, `unmanaged` (those that exist and belong to no
        /// table), or `any` (those of other owners, too; requires the role `admin`). Default: `none`.
        adopt: AdoptWord,
        /// `plan` of an earlier response, usually of a dry run: the request is rejected with 412
        /// `PLAN_CHANGED` if the operations are others now.
        expect_plan: PlanDigest = "p-0123456789abcdef",
    }
}

query! {
    /// Query parameters of a list of tables.
    ListTablesQuery {
        /// Maximum page size; 0 stands for the default of 1000. Values above
        /// `limits.max_page_size` of the daemon's configuration (default 100000) are rejected.
        page_size: u32,
        /// `next_page_token` of the previous page.
        page_token: String,
    }
}

query! {
    /// Query parameters of a list of operations.
    ListOperationsQuery {
        /// Maximum page size; 0 stands for the default of 1000. Values above
        /// `limits.max_page_size` of the daemon's configuration (default 100000) are rejected.
        page_size: u32,
        /// `next_page_token` of the previous page.
        page_token: String,
    }
}

query! {
    /// Query parameters of the deletion of a table.
    DeleteTableQuery {
        /// Number of services that the table declares. Required without `If-Match`.
        confirm: u64 = 3,
        /// If true, a table that does not exist is no error. Default: false.
        allow_missing: bool,
        /// What becomes of the servers: `now` deletes them, `drain` deletes each when it has no connections.
        /// Default: as the table has it.
        removal: RemovalWord,
    }
}

#[derive(Debug, Serialize)]
struct Tables<'a> {
    tables: Vec<Overview<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Debug, Serialize)]
struct Operations<'a> {
    apply_id: &'a str,
    outcome: ApplyOutcome,
    operations: Vec<Operation<'a>>,
    operations_total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// A table in a list and in events of a watch.
#[derive(Debug, Serialize)]
pub(super) struct Overview<'a> {
    owner: &'a Owner,
    generation: u64,
    service_count: usize,
    server_count: usize,
    #[serde(flatten)]
    settings: TableSettings,
    #[serde(flatten)]
    director: &'a Director,
    etag: Etag,
    status: Status<'a>,
}

/// A table.
#[derive(Debug, Serialize)]
struct Table<'a> {
    owner: &'a Owner,
    generation: u64,
    #[serde(flatten)]
    settings: TableSettings,
    #[serde(flatten)]
    director: &'a Director,
    services: Vec<DeclaredService<'a>>,
    etag: Etag,
    status: Status<'a>,
}

#[derive(Debug, Serialize)]
struct Status<'a> {
    state: TableStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_apply: Option<&'a LastApply>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    lost: &'a [ServiceKey],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conflicts: Vec<ConflictView>,
}

#[derive(Debug, Serialize)]
struct ConflictView {
    resource: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServiceKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sync_daemon: Option<SyncState>,
    repairs: u32,
    next_repair_time: String,
}

#[derive(Debug)]
struct DeclaredService<'a>(&'a TargetService);

/// List tables
///
/// Lists the declared tables by owner, in pages. Without `scope_reads`, a principal sees all of them; with it,
/// those of which it sees all services.
#[utoipa::path(
    get, path = "/v1/tables", operation_id = "listTables", tag = "tables",
    params(Query<ListTablesQuery>, ConditionalRead),
    responses((status = 200, description = "A page of tables.", body = schema::TableList))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListTablesQuery>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let ListTablesQuery {
        page_size,
        page_token,
    } = query;
    let request = ListTables {
        page_size,
        page_token,
    };
    let page = api.app.declared_tables(&read.context, &request).await?;
    let entries = page.entries.iter();
    let entries: Vec<_> = entries
        .map(|report| (report.summary(), &*report.conflicts))
        .collect();
    let tables = entries.iter();
    let list = Tables {
        tables: tables
            .map(|(summary, conflicts)| Overview::of(summary, conflicts))
            .collect(),
        next_page_token: page.next_page_token(),
    };
    Ok(reply::resource(&read, Duration::ZERO, None, &list)?)
}

/// Get a table
///
/// Gets the declared table of an owner, with defaults filled in, and its state. The body can be sent back
/// with PUT. `_unmanaged` has the services that no table declares; it is read-only.
#[utoipa::path(
    get, path = "/v1/tables/{owner}", operation_id = "getTable", tag = "tables",
    params(ReadOwnerPath, ConditionalRead),
    responses(
        (status = 200, description = "The table.", body = schema::Table),
        schema::NotFound,
    )
)]
pub(super) async fn get(
    State(api): State<Api>,
    ReadOwnerPath(owner): ReadOwnerPath,
    _: Query<NoParams>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let report = api.app.declared_table(&read.context, &owner).await?;
    let table = &*report.table;
    let services = table.services.values();
    let summary = report.summary();
    let view = Table {
        owner: &table.owner,
        generation: table.state.generation,
        settings: table.state.settings,
        director: &table.state.director,
        services: services.map(|service| DeclaredService(service)).collect(),
        etag: table.etag,
        status: Status::of(&summary, &report.conflicts),
    };
    let etag = Some(table.etag);
    Ok(offload(|| {
        reply::resource(&read, Duration::ZERO, etag, &view)
    })?)
}

/// Apply a table
///
/// Makes exactly these services, with exactly these servers, the part of the kernel's table that belongs to
/// the owner. Services and servers are created first, then edited in place, and deleted last; what is equal
/// is not touched. Services that belong to others are not changed: a table with one of them is rejected
/// with 409 `SERVICE_OWNED` unless `adopt` permits it. Once it has begun, an apply runs to its end.
#[utoipa::path(
    put, path = "/v1/tables/{owner}", operation_id = "applyTable", tag = "tables",
    params(OwnerPath, Write<ApplyQuery>, IfMatchOrAbsent),
    request_body(
        content = schema::Table, content_type = "application/json",
        description = "The table.",
        example = json!({"services": [{
            "id": "tcp-192.0.2.1-80", "scheduler": "wlc",
            "servers": [{"address": "192.168.10.1", "forwarding": "masquerade", "weight": 2}]
        }]})
    ),
    responses(
        (status = 200, description = "Applied, unchanged, or planned.", body = schema::Applied),
        schema::Conflict, schema::Unprocessable, schema::InsufficientStorage,
    )
)]
pub(super) async fn apply(
    State(api): State<Api>,
    write: Write<ApplyQuery>,
    OwnerPath(owner): OwnerPath,
    IfMatchOrAbsent(guard): IfMatchOrAbsent,
    TableJson(draft): TableJson<TableDraft>,
) -> Result<Response, Problem> {
    let (context, query) = write.start();
    let ApplyQuery {
        on_failure,
        max_deletes,
        adopt,
        expect_plan,
    } = query;
    let options = ApplyOptions {
        on_failure: on_failure.map_or_else(Default::default, |OnFailureWord(word)| word),
        max_deletes: max_deletes.map_or_else(Default::default, |MaxDeletes(max)| max),
        adopt: adopt.map_or_else(Default::default, |AdoptWord(word)| word),
        expect_plan: expect_plan.map(|PlanDigest(plan)| plan),
        removal: None,
        guard,
    };
    let report = api.app.apply_table(&context, owner, draft, options).await?;
    Ok(applied::respond(&report))
}

/// Update a table
///
/// Changes how the declared table of an owner is kept. Its services stay as they are: `services` is rejected.
/// Nothing is changed in the kernel; `reconcile` takes effect within seconds.
#[utoipa::path(
    patch, path = "/v1/tables/{owner}", operation_id = "updateTable", tag = "tables",
    params(OwnerPath, Write, IfMatch),
    request_body(
        content = schema::TableSettings, content_type = "application/json",
        description = "The settings to change.", example = json!({"reconcile": "repair"})
    ),
    responses(
        (status = 200, description = "The table without its services.", body = schema::TableOverview),
        schema::NotFound, schema::PreconditionFailed, schema::Unprocessable, schema::InsufficientStorage,
    )
)]
pub(super) async fn update(
    State(api): State<Api>,
    write: Write,
    OwnerPath(owner): OwnerPath,
    IfMatch(guard): IfMatch,
    Json(draft): Json<TableDraft>,
) -> Result<Response, Problem> {
    let (context, _) = write.start();
    let report = api.app.update_table(&context, owner, draft, guard).await?;
    let summary = report.summary();
    Ok(reply::plain(&Overview::of(&summary, &report.conflicts))?)
}

/// Delete a table
///
/// Deletes the declared table of an owner, and its services in the kernel.
#[utoipa::path(
    delete, path = "/v1/tables/{owner}", operation_id = "deleteTable", tag = "tables",
    params(OwnerPath, Write<DeleteTableQuery>, IfMatch),
    responses(
        (status = 200, description = "Deleted.", body = schema::Applied),
        (status = 204, description = "There is no such table, and `allow_missing` is true."),
        schema::NotFound, schema::PreconditionFailed, schema::InsufficientStorage,
    )
)]
pub(super) async fn delete(
    State(api): State<Api>,
    write: Write<DeleteTableQuery>,
    OwnerPath(owner): OwnerPath,
    IfMatch(guard): IfMatch,
) -> Result<Response, Problem> {
    let (context, query) = write.start();
    let options = DeleteTableOptions {
        confirm: query.confirm,
        allow_missing: query.allow_missing.unwrap_or_default(),
        removal: query.removal.map(|RemovalWord(word)| word),
        guard,
    };
    let deleted = api.app.delete_table(&context, owner, options);
    match deleted.await? {
        Some(report) => Ok(applied::respond(&report)),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// Get the drift of a table
///
/// The operations that would make the kernel's table what is declared: what an apply of the declared table
/// with `dry_run` would answer.
#[utoipa::path(
    get, path = "/v1/tables/{owner}/drift", operation_id = "getDrift", tag = "tables",
    params(OwnerPath, ConditionalRead),
    responses(
        (status = 200, description = "The operations.", body = schema::Applied),
        schema::NotFound,
    )
)]
pub(super) async fn drift(
    State(api): State<Api>,
    OwnerPath(owner): OwnerPath,
    _: Query<NoParams>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let report = api.app.drift(&read.context, owner).await?;
    let applied = Applied::of(&report);
    Ok(reply::resource(&read, Duration::ZERO, None, &applied)?)
}

/// List the operations of the last apply
///
/// Lists all operations of the last apply of a table, or of the one in progress, in the order of their execution and in
/// pages. (The response of an apply has up to 1000.) While it is `running`, the result of each is `planned`. They are kept
/// in memory: not over a restart, and in an eighth of `limits.max_memory_bytes` for all tables, which the latest applies
/// have. A token is rejected if the table has been applied since.
#[utoipa::path(
    get, path = "/v1/tables/{owner}/operations", operation_id = "listTableOperations", tag = "tables",
    params(OwnerPath, Query<ListOperationsQuery>, ConditionalRead),
    responses(
        (status = 200, description = "A page of operations.", body = schema::TableOperationList),
        schema::NotFound,
    )
)]
pub(super) async fn operations(
    State(api): State<Api>,
    OwnerPath(owner): OwnerPath,
    Query(query): Query<ListOperationsQuery>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let ListOperationsQuery {
        page_size,
        page_token,
    } = query;
    let request = ListOperations {
        page_size,
        page_token,
    };
    let listed = api.app.table_operations(&read.context, &owner, &request)?;
    let entries = listed.page.entries.iter();
    Ok(offload(|| {
        let list = Operations {
            apply_id: &listed.apply_id,
            outcome: listed.outcome,
            operations: entries.map(|one| Operation::of(&one.operation)).collect(),
            operations_total: listed.total,
            next_page_token: listed.page.next_page_token(),
        };
        reply::resource(&read, Duration::ZERO, None, &list)
    })?)
}

// === impl Overview ===

impl<'a> Overview<'a> {
    pub(super) fn of(table: &'a TableSummary, conflicts: &[Conflict]) -> Self {
        Self {
            owner: &table.owner,
            generation: table.generation,
            service_count: table.service_count,
            server_count: table.server_count,
            settings: table.settings,
            director: &table.director,
            etag: table.etag,
            status: Status::of(table, conflicts),
        }
    }
}

// === impl Status ===

impl<'a> Status<'a> {
    fn of(table: &'a TableSummary, conflicts: &[Conflict]) -> Self {
        Self {
            state: table.status,
            last_apply: table.last_apply.as_ref(),
            lost: &table.lost,
            conflicts: conflicts.iter().map(ConflictView::from).collect(),
        }
    }
}

// === impl ConflictView ===

impl From<&Conflict> for ConflictView {
    fn from(conflict: &Conflict) -> Self {
        Self {
            resource: conflict.object.resource(),
            service: conflict.object.service(),
            server: conflict.object.server(),
            sync_daemon: conflict.object.sync_daemon(),
            repairs: conflict.repairs,
            next_repair_time: conflict.next_time.to_string(),
        }
    }
}

// === impl DeclaredService ===

impl Serialize for DeclaredService<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct WithServers<'a> {
            #[serde(flatten)]
            service: ServiceView<'a>,
            servers: Vec<ServerConfigView>,
        }
        let servers = self.0.servers.iter();
        let servers = servers.map(|one| ServerConfigView::declared(one.key, &one.config));
        WithServers {
            service: ServiceView::declared(self.0),
            servers: servers.collect(),
        }
        .serialize(serializer)
    }
}

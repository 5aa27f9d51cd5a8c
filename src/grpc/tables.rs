//! Methods of declared tables.

use std::ops::Bound;

use futures_util::{Stream, stream};
use prost::Message;
use tonic::{Request, Streaming};

use super::{
    api::{Api, Reply},
    applied,
    convert::{self, Fields, ITEM_OVERHEAD, interrupted, non_empty, word},
    metadata::with_fields,
    service_message, sync_daemons, table_message, timeouts,
};
use crate::{
    app::{
        ApplyOptions, ApplyReport, DeleteTableOptions, Guard, ListOperations, ListTables,
        RequestContext, TableReport,
    },
    model::{
        Adopt, Deletions, Error, Etag, EtagScope, Field, Mask, OnFailure, Owner, Reason, Reconcile,
        Removal, ServiceDraft, ServiceKey, SyncDaemonDraft, TableDraft,
    },
    proto::v1::{self as pb, apply_table_request::Part as RequestPart, get_table_response::Part},
};

/// Length of the services of a message in bytes, about.
const PIECE: usize = 256 << 10;

pub(super) async fn apply(
    api: &Api,
    request: Request<Streaming<pb::ApplyTableRequest>>,
) -> Reply<pb::ApplyTableResponse> {
    let report = applied::reported(api, request, apply_pieces).await?;
    Ok(report.map(|report| pb::ApplyTableResponse { report }))
}

pub(super) async fn delete(
    api: &Api,
    request: Request<pb::DeleteTableRequest>,
) -> Reply<pb::DeleteTableResponse> {
    let report = applied::reported(api, request, delete_declared).await?;
    Ok(report.map(|report| pb::DeleteTableResponse { report }))
}

pub(super) async fn list(
    api: Api,
    request: pb::ListTablesRequest,
    context: RequestContext,
) -> Result<pb::ListTablesResponse, Error> {
    let pb::ListTablesRequest {
        page_size,
        page_token,
    } = request;
    let request = ListTables {
        page_size,
        page_token: non_empty(page_token),
    };
    let page = api.app.declared_tables(&context, &request).await?;
    let tables = page.entries.iter().map(table_message::of_report);
    let tables = convert::fitting(tables, api.options.max_response_bytes);
    let page = page.cut(tables.len());
    Ok(pb::ListTablesResponse {
        tables,
        next_page_token: page.next_page_token().unwrap_or_default(),
    })
}

pub(super) async fn update(
    api: Api,
    request: pb::UpdateTableRequest,
    context: RequestContext,
) -> Result<pb::UpdateTableResponse, Error> {
    let pb::UpdateTableRequest {
        owner,
        reconcile,
        keep_weights,
        etag,
        dry_run: _,
        removal,
        drain_deadline_seconds,
    } = request;
    let mut draft = TableDraft::default();
    draft.reconcile = word(reconcile, "reconcile", &Reconcile::WORDS)?;
    draft.keep_weights = keep_weights;
    draft.removal = word(removal, "removal", &Removal::WORDS)?;
    draft.drain_deadline_seconds = deadline(drain_deadline_seconds);
    let (owner, guard) = (owner.parse()?, Guard::of_field(&etag)?);
    let report = api.app.update_table(&context, owner, draft, guard).await?;
    Ok(pb::UpdateTableResponse {
        table: Some(table_message::of_report(&report)),
    })
}

/// The first message is small, and each other one has a part of the services, which is made as the client
/// consumes the stream.
pub(super) async fn get(
    api: Api,
    request: pb::GetTableRequest,
    context: RequestContext,
) -> Result<impl Stream<Item = Result<pb::GetTableResponse, Error>> + use<>, Error> {
    let pb::GetTableRequest { owner } = request;
    let owner = Owner::of_read(&owner)?;
    let report = api.app.declared_table(&context, &owner).await?;
    let head = pb::GetTableResponse {
        part: Some(Part::Table(table_message::of_report(&report))),
    };
    let head = fitting(head, "the table", &api)?;
    let pieces = Pieces {
        report,
        last: None,
        limit: api.options.max_response_bytes,
    };
    Ok(stream::iter(std::iter::once(Ok(head)).chain(pieces)))
}

pub(super) async fn drift(
    api: Api,
    request: pb::GetDriftRequest,
    context: RequestContext,
) -> Result<pb::GetDriftResponse, Error> {
    let pb::GetDriftRequest { owner } = request;
    let report = api.app.drift(&context, owner.parse()?).await?;
    Ok(pb::GetDriftResponse {
        report: Some(applied::message(&report)),
    })
}

pub(super) async fn operations(
    api: Api,
    request: pb::ListTableOperationsRequest,
    context: RequestContext,
) -> Result<pb::ListTableOperationsResponse, Error> {
    let pb::ListTableOperationsRequest {
        owner,
        page_size,
        page_token,
    } = request;
    let request = ListOperations {
        page_size,
        page_token: non_empty(page_token),
    };
    let listed = api
        .app
        .table_operations(&context, &owner.parse()?, &request)?;
    let entries = listed.page.entries.iter();
    let operations = entries.map(|one| pb::TableOperation::from(&one.operation));
    let operations = convert::fitting(operations, api.options.max_response_bytes);
    let page = listed.page.cut(operations.len());
    Ok(pb::ListTableOperationsResponse {
        apply_id: listed.apply_id,
        outcome: listed.outcome.as_str().to_owned(),
        operations,
        operations_total: convert::count(listed.total),
        next_page_token: page.next_page_token().unwrap_or_default(),
    })
}

async fn apply_pieces(
    api: Api,
    request: Streaming<pb::ApplyTableRequest>,
    context: RequestContext,
) -> Result<Option<ApplyReport>, Error> {
    let (options, services) = read(request, api.options.max_rules_bytes).await?;
    let context = with_fields(context, &options)?;
    let (owner, mut draft, options) = parsed(options)?;
    draft.services = services;
    let report = api.app.apply_table(&context, owner, draft, options).await?;
    Ok(Some(report))
}

async fn delete_declared(
    api: Api,
    request: pb::DeleteTableRequest,
    context: RequestContext,
) -> Result<Option<ApplyReport>, Error> {
    let pb::DeleteTableRequest {
        owner,
        confirm,
        etag,
        allow_missing,
        dry_run: _,
        removal,
    } = request;
    let options = DeleteTableOptions {
        confirm: confirm.map(u64::from),
        allow_missing,
        removal: word(removal, "removal", &Removal::WORDS)?,
        guard: Guard::of_field(&etag)?,
    };
    api.app
        .delete_table(&context, owner.parse()?, options)
        .await
}

/// Reads the options and all services, of at most `limit` bytes. Their memory is charged by the server,
/// which has the whole stream before it is decoded.
async fn read(
    mut request: Streaming<pb::ApplyTableRequest>,
    limit: usize,
) -> Result<(pb::ApplyTableOptions, Option<Vec<ServiceDraft>>), Error> {
    let mut options = None;
    let mut services: Option<Vec<_>> = None;
    let mut length = 0;
    while let Some(message) = request.message().await.map_err(interrupted)? {
        length += message.encoded_len();
        if length > limit {
            let detail = format!("the table exceeds the maximum of {limit} bytes");
            return Err(Error::new(Reason::TooLarge, detail));
        }
        match (message.part, options.is_some()) {
            (Some(RequestPart::Options(first)), false) => options = Some(first),
            (Some(RequestPart::Services(piece)), true) => {
                let drafts = piece.services.into_iter().map(draft);
                services.get_or_insert_default().extend(drafts);
            }
            (Some(RequestPart::Options(_)), true) => {
                let message = "must be in the first message only; nothing was changed";
                return Err(Error::invalid("options", message));
            }
            (Some(RequestPart::Services(_)) | None, _) => return Err(no_part()),
        }
    }
    Ok((options.ok_or_else(no_part)?, services))
}

fn no_part() -> Error {
    let message = "the first message must have the options, and each other one services";
    Error::invalid("options", message)
}

/// A service without servers is one that is to have none.
fn draft(service: pb::Service) -> ServiceDraft {
    let mut draft = service_message::draft(service, &Mask::Present);
    draft.servers.get_or_insert_default();
    draft
}

/// 0 stands for no limit.
fn deadline(seconds: Option<u32>) -> Field<i64> {
    match seconds {
        None => Field::Keep,
        Some(0) => Field::Clear,
        Some(seconds) => Field::Set(seconds.into()),
    }
}

fn parsed(options: pb::ApplyTableOptions) -> Result<(Owner, TableDraft, ApplyOptions), Error> {
    let pb::ApplyTableOptions {
        owner,
        keep_weights,
        on_failure,
        max_deletes,
        adopt,
        expect_plan,
        etag,
        must_not_exist,
        dry_run: _,
        reconcile,
        removal,
        drain_deadline_seconds,
        timeouts,
        sync_daemons,
    } = options;
    let guard = match (must_not_exist, etag.as_str()) {
        (true, "") => Guard::Absent,
        (true, _) => {
            let message = "cannot be combined with etag";
            return Err(Error::invalid("must_not_exist", message));
        }
        (false, etag) => Guard::of_field(etag)?,
    };
    let mut fields = Fields::default();
    let owner = fields.take(owner.parse::<Owner>());
    let max_deletes = max_deletes
        .map(|text| text.parse::<Deletions>())
        .transpose();
    let mut draft = TableDraft::default();
    draft.reconcile = fields
        .take(word(reconcile, "reconcile", &Reconcile::WORDS))
        .flatten();
    draft.keep_weights = keep_weights;
    draft.removal = fields
        .take(word(removal, "removal", &Removal::WORDS))
        .flatten();
    draft.drain_deadline_seconds = deadline(drain_deadline_seconds);
    draft.timeouts = timeouts.map(|timeouts| timeouts::draft(timeouts, &Mask::Present));
    draft.sync_daemons = sync_daemons.map(daemons);
    let options = ApplyOptions {
        on_failure: fields
            .take(word(on_failure, "on_failure", &OnFailure::WORDS))
            .flatten()
            .unwrap_or_default(),
        max_deletes: fields.take(max_deletes).flatten().unwrap_or_default(),
        adopt: fields
            .take(word(adopt, "adopt", &Adopt::WORDS))
            .flatten()
            .unwrap_or_default(),
        expect_plan: fields.take(plan(&expect_plan)).flatten(),
        removal: None,
        guard,
    };
    fields.finish()?;
    // Without one, `finish` returned the error.
    let owner = owner.ok_or_else(|| Error::invalid("owner", "is required"))?;
    Ok((owner, draft, options))
}

fn daemons(listed: pb::TableSyncDaemons) -> Vec<SyncDaemonDraft> {
    let draft = |mut daemon: pb::SyncDaemon| {
        let state = non_empty(std::mem::take(&mut daemon.state));
        let mut draft = sync_daemons::draft(daemon);
        draft.state = state;
        draft
    };
    listed.sync_daemons.into_iter().map(draft).collect()
}

fn plan(text: &str) -> Result<Option<Etag>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    let plan = text
        .parse()
        .ok()
        .filter(|plan: &Etag| plan.scope == EtagScope::Plan);
    plan.map(Some).ok_or_else(|| {
        let message = format!("{text:?} is not the plan of a response");
        Error::invalid("expect_plan", message)
    })
}

/// A message that must not exceed the longest response. Taken-over services have no bound of their own.
fn fitting<M: Message>(message: M, what: &str, api: &Api) -> Result<M, Error> {
    let limit = api.options.max_response_bytes;
    match message.encoded_len() <= limit {
        true => Ok(message),
        false => Err(too_large(what, limit)),
    }
}

fn too_large(what: &str, limit: usize) -> Error {
    let detail = format!("{what} exceeds the maximum response size of {limit} bytes");
    Error::new(Reason::TooLarge, detail).with_hint("use the HTTP API: GET /v1/tables")
}

/// The services of a table, in messages.
struct Pieces {
    report: TableReport,
    /// The last service that was returned.
    last: Option<ServiceKey>,
    limit: usize,
}

// === impl Pieces ===

impl Iterator for Pieces {
    type Item = Result<pb::GetTableResponse, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut services = Vec::new();
        let mut length = 0;
        let services_after = &self.report.table.services;
        for (key, service) in services_after.range((from, Bound::Unbounded)) {
            let message = table_message::service(service);
            length += message.encoded_len() + ITEM_OVERHEAD;
            let is_first = services.is_empty();
            if length > self.limit && is_first {
                self.last = Some(*key);
                return Some(Err(too_large(&format!("the service {key}"), self.limit)));
            }
            if length > PIECE.min(self.limit) && !is_first {
                break;
            }
            self.last = Some(*key);
            services.push(message);
        }
        let part = Part::Services(pb::TableServices { services });
        let is_last = length == 0;
        (!is_last).then_some(Ok(pb::GetTableResponse { part: Some(part) }))
    }
}

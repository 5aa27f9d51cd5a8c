//! The method of batches.

use tonic::Request;

use super::{
    api::{Api, Reply},
    applied,
    convert::{non_empty, word},
    server_message, service_message,
};
use crate::{
    app::{ApplyReport, RequestContext},
    model::{BatchDraft, BatchOp, Error, Mask, OnFailure, OperationDraft, ValueDraft, both},
    proto::v1::{self as pb, resource::Resource as Kind},
};

pub(super) async fn apply(
    api: &Api,
    request: Request<pb::ApplyBatchRequest>,
) -> Reply<pb::ApplyBatchResponse> {
    let report = applied::reported(api, request, apply_draft).await?;
    Ok(report.map(|report| pb::ApplyBatchResponse { report }))
}

async fn apply_draft(
    api: Api,
    request: pb::ApplyBatchRequest,
    context: RequestContext,
) -> Result<Option<ApplyReport>, Error> {
    let report = api.app.apply_batch(&context, draft(request)?).await?;
    Ok(Some(report))
}

fn draft(request: pb::ApplyBatchRequest) -> Result<BatchDraft, Error> {
    let pb::ApplyBatchRequest {
        on_failure,
        operations,
        dry_run: _,
    } = request;
    let on_failure = word(on_failure, "on_failure", &OnFailure::WORDS);
    let mut violations = Vec::new();
    let mut drafts = Vec::with_capacity(operations.len());
    for (index, message) in operations.into_iter().enumerate() {
        match operation(message) {
            Ok(draft) => drafts.push(draft),
            Err(error) => {
                violations.extend(error.below(&format!("operations[{index}]")).violations)
            }
        }
    }
    let operations = match violations.is_empty() {
        true => Ok(drafts),
        false => Err(Error::from_violations(violations)),
    };
    let (on_failure, operations) = both(on_failure, operations)?;
    Ok(BatchDraft {
        on_failure,
        operations: Some(operations),
    })
}

fn operation(message: pb::BatchOperation) -> Result<OperationDraft, Error> {
    let pb::BatchOperation {
        op,
        service,
        server,
        value,
        etag,
        allow_missing,
        update_mask,
    } = message;
    let op = word(non_empty(op), "op", &BatchOp::WORDS)?;
    let value = value
        .and_then(|value| value.resource)
        .map(|kind| match kind {
            Kind::Service(message) => Ok(ValueDraft {
                service: Some(service_message::draft(message, &Mask::Present)),
                server: None,
            }),
            Kind::Server(message) => Ok(ValueDraft {
                service: None,
                server: Some(server_message::draft(message, &Mask::Present)),
            }),
            _ => {
                let message = "must be a service or a server";
                Err(Error::invalid("value", message))
            }
        })
        .transpose()?;
    Ok(OperationDraft {
        op,
        service: non_empty(service),
        server: non_empty(server),
        value,
        etag: non_empty(etag),
        allow_missing: Some(allow_missing),
        update_mask: update_mask.map(|mask| mask.paths.join(",")),
    })
}

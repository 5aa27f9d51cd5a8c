//! SaveRules and RestoreRules: the table as ipvsadm command lines.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tonic::Streaming;

use super::{
    api::Api,
    convert::{count, interrupted, order_by_name},
    metadata::with_fields,
    text_stream::parts,
};
use crate::{
    app::{RequestContext, RestoreEvent, RestoreMode, RestoreOptions, RestoreSummary, RulesText},
    budget::{Charge, Charged},
    ipvsadm::Order,
    model::{DiffCounts, Error, Reason},
    proto::v1 as pb,
};

pub(super) async fn save(
    api: Api,
    request: pb::SaveRulesRequest,
    context: RequestContext,
) -> Result<impl Stream<Item = Result<pb::SaveRulesResponse, Error>> + use<>, Error> {
    let pb::SaveRulesRequest { order } = request;
    let order = order_by_name(order, Order::Restorable)?;
    let text = api.app.save_rules(&context, order).await?.value;
    Ok(parts(text)?.map(|text| Ok(pb::SaveRulesResponse { text })))
}

pub(super) async fn restore(
    api: Api,
    request: Streaming<pb::RestoreRulesRequest>,
    context: RequestContext,
) -> Result<impl Stream<Item = Result<pb::RestoreRulesResponse, Error>> + use<>, Error> {
    let charge = api.app.budget().empty();
    let (first, text) = read_text(request, api.options.max_rules_bytes, charge).await?;
    let context = with_fields(context, &first)?;
    let options = restore_options(&first)?;
    let events = api.app.restore_rules(&context, text, options).await?;
    Ok(events.map(|event| {
        Ok(pb::RestoreRulesResponse {
            event: Some(event?.into()),
        })
    }))
}

/// Reads all parts of a text of at most `limit` bytes. Returns the first message, which has the
/// options, and the text, whose memory is charged.
async fn read_text(
    mut request: Streaming<pb::RestoreRulesRequest>,
    limit: usize,
    mut charge: Charge,
) -> Result<(pb::RestoreRulesRequest, RulesText), Error> {
    let mut text = Vec::new();
    let mut first: Option<pb::RestoreRulesRequest> = None;
    while let Some(mut message) = request.message().await.map_err(interrupted)? {
        let part = std::mem::take(&mut message.text);
        let length = text.len() + part.len();
        if length > limit {
            let detail = format!("the text exceeds the maximum of {limit} bytes");
            return Err(Error::new(Reason::TooLarge, detail));
        }
        if length > text.capacity() {
            let capacity = length.max(2 * text.capacity()).min(limit);
            // Both buffers exist while the text is copied.
            charge.grow(capacity)?;
            text.reserve_exact(capacity - text.len());
            charge.shrink_to(capacity);
        }
        text.extend_from_slice(part.as_bytes());
        match &first {
            None => first = Some(message),
            Some(first) => check_later_options(first, &message)?,
        }
    }
    let text = RulesText::new(Bytes::from_owner(Charged::new(text, charge)))?;
    Ok((first.unwrap_or_default(), text))
}

/// The options of a message after the first one must be absent or repeat the first: to ignore a
/// `dry_run` would execute the text.
fn check_later_options(
    first: &pb::RestoreRulesRequest,
    later: &pb::RestoreRulesRequest,
) -> Result<(), Error> {
    let fields = [
        ("clear", later.clear.is_some() && later.clear != first.clear),
        (
            "on_error",
            later.on_error.is_some() && later.on_error != first.on_error,
        ),
        ("dry_run", later.dry_run && !first.dry_run),
        ("replace", later.replace && !first.replace),
    ];
    match fields.into_iter().find(|(_, differs)| *differs) {
        None => Ok(()),
        Some((field, _)) => Err(Error::invalid(
            field,
            "must be set in the first message; nothing was changed",
        )),
    }
}

fn restore_options(first: &pb::RestoreRulesRequest) -> Result<RestoreOptions, Error> {
    let stop = match first.on_error.as_deref() {
        None | Some("continue") => false,
        Some("stop") => true,
        Some(other) => {
            return Err(Error::invalid(
                "on_error",
                format!("{other:?} must be continue or stop"),
            ));
        }
    };
    let mode = match (first.clear.unwrap_or_default(), first.replace) {
        (false, false) => RestoreMode::Execute,
        (true, false) => RestoreMode::Clear,
        (false, true) => RestoreMode::Replace,
        (true, true) => {
            let message =
                "cannot be combined with clear: it replaces the table without clearing it";
            return Err(Error::invalid("replace", message));
        }
    };
    Ok(RestoreOptions { mode, stop })
}

// === pb::restore_rules_response::Event ===

impl From<RestoreEvent> for pb::restore_rules_response::Event {
    fn from(event: RestoreEvent) -> Self {
        match event {
            RestoreEvent::Progress { done, total } => Self::Progress(pb::RestoreProgress {
                done: count(done),
                total: count(total),
            }),
            RestoreEvent::Refused {
                line,
                command,
                error,
            } => Self::Refused(pb::RestoreRefusal {
                line: count(line),
                command,
                reason: error.reason.to_string(),
                detail: error.detail,
                errno: error
                    .errno
                    .map(|errno| errno.to_string())
                    .unwrap_or_default(),
                hint: error.hint.unwrap_or_default(),
            }),
            RestoreEvent::End(summary) => {
                let RestoreSummary {
                    commands,
                    done,
                    refused,
                    difference,
                    reconcile_suspended,
                } = summary;
                let suspended = reconcile_suspended.iter();
                Self::End(pb::RestoreSummary {
                    commands: count(commands),
                    done: count(done),
                    refused: count(refused),
                    difference: difference.map(pb::RestoreDifference::from),
                    reconcile_suspended: suspended.map(ToString::to_string).collect(),
                })
            }
        }
    }
}

// === pb::RestoreDifference ===

impl From<DiffCounts> for pb::RestoreDifference {
    fn from(counts: DiffCounts) -> Self {
        let DiffCounts {
            created,
            updated,
            deleted,
            unchanged,
        } = counts;
        Self {
            changed: counts.changed(),
            created: count(created),
            updated: count(updated),
            deleted: count(deleted),
            unchanged: count(unchanged),
        }
    }
}

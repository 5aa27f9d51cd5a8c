//! SaveRules and RestoreRules: the table as ipvsadm command lines.

use futures_util::{Stream, StreamExt};
use tonic::{Status, Streaming};

use super::{
    api::Api,
    convert::{count, order_by_name},
    metadata::with_fields,
    text_stream::parts,
};
use crate::{
    app::{RequestContext, RestoreEvent, RestoreMode, RestoreOptions, RestoreSummary},
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
    let read = read_text(request, api.options.max_rules_bytes);
    let (first, text) = tokio::time::timeout_at(context.deadline.into(), read)
        .await
        .map_err(|_| {
            Error::new(
                Reason::DeadlineExceeded,
                "the request stream did not end before the deadline; nothing was changed",
            )
        })??;
    let context = with_fields(context, &first)?;
    let options = restore_options(&first)?;
    let events = api.app.restore_rules(&context, &text, options).await?;
    Ok(events.map(|event| {
        Ok(pb::RestoreRulesResponse {
            event: Some(event?.into()),
        })
    }))
}

/// Reads all parts of a text of at most `limit` bytes. Returns the first message, which has the
/// options, and the text.
async fn read_text(
    mut request: Streaming<pb::RestoreRulesRequest>,
    limit: usize,
) -> Result<(pb::RestoreRulesRequest, String), Error> {
    let interrupted = |status: Status| {
        let message = format!("the request stream was interrupted: {}", status.message());
        Error::invalid("", message)
    };
    let mut text = String::new();
    let mut first = None;
    while let Some(message) = request.message().await.map_err(interrupted)? {
        text += &message.text;
        if first.is_none() {
            // Reject invalid options before the rest of the text arrives.
            restore_options(&message)?;
            first = Some(message);
        }
        if text.len() > limit {
            let detail = format!("the text exceeds the maximum of {limit} bytes");
            return Err(Error::new(Reason::TooLarge, detail));
        }
    }
    Ok((first.unwrap_or_default(), text))
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
                } = summary;
                Self::End(pb::RestoreSummary {
                    commands: count(commands),
                    done: count(done),
                    refused: count(refused),
                    difference: difference.map(pb::RestoreDifference::from),
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

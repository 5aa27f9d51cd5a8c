//! The table as text in ipvsadm's language.

use futures_util::{Stream, StreamExt, stream};
use tonic::{Status, Streaming};

use super::Api;
use crate::{
    app::{RequestContext, RestoreEvent, RestoreOptions, RestoreSummary},
    ipvsadm::{ListFormat, ListMode, Order},
    model::{Error, Reason},
    proto::v1 as pb,
};

/// About how long a part of a text is, in bytes.
const PART: usize = 256 << 10;

pub(super) async fn save(
    api: Api,
    request: pb::SaveRulesRequest,
    context: RequestContext,
) -> Result<impl Stream<Item = Result<pb::SaveRulesResponse, Error>> + use<>, Error> {
    let pb::SaveRulesRequest { order } = request;
    let order = order_named(order, Order::Restorable)?;
    let text = api.app.save_rules(&context, order).await?.value;
    Ok(parts(text)?.map(|text| Ok(pb::SaveRulesResponse { text })))
}

pub(super) async fn listing(
    api: Api,
    request: pb::GetListingRequest,
    context: RequestContext,
) -> Result<impl Stream<Item = Result<pb::GetListingResponse, Error>> + use<>, Error> {
    let pb::GetListingRequest {
        columns,
        exact,
        order,
    } = request;
    let mode = columns.as_deref().map(ListMode::named).transpose();
    let format = ListFormat {
        mode: mode
            .map_err(|fault| Error::invalid("columns", fault))?
            .unwrap_or_default(),
        exact: exact.unwrap_or_default(),
        numeric: true,
        unsorted: order_named(order, Order::Kernel)? == Order::Kernel,
    };
    let text = api.app.listing(&context, format).await?.value;
    Ok(parts(text)?.map(|text| Ok(pb::GetListingResponse { text })))
}

fn order_named(name: Option<String>, other: Order) -> Result<Order, Error> {
    let order = name.map(|name| Order::named(&name, other)).transpose();
    Ok(order
        .map_err(|fault| Error::invalid("order", fault))?
        .unwrap_or_default())
}

/// A text in parts of whole lines.
fn parts(text: Vec<u8>) -> Result<impl Stream<Item = String>, Error> {
    let text =
        String::from_utf8(text).map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
    Ok(stream::unfold(text, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        let end = rest.as_bytes().iter().skip(PART).position(|b| *b == b'\n');
        let next = match end {
            Some(end) => rest.split_off(PART + end + 1),
            None => String::new(),
        };
        Some((rest, next))
    }))
}

pub(super) async fn restore(
    api: Api,
    mut request: Streaming<pb::RestoreRulesRequest>,
    context: RequestContext,
) -> Result<impl Stream<Item = Result<pb::RestoreRulesResponse, Error>> + use<>, Error> {
    let broken =
        |status: Status| Error::invalid("", format!("the request broke off: {}", status.message()));
    let limit = api.options.max_rules_bytes;
    let mut text = String::new();
    let mut options = None;
    let read = async {
        while let Some(part) = request.message().await.map_err(broken)? {
            let pb::RestoreRulesRequest {
                text: part,
                clear,
                on_error,
                check_only,
            } = part;
            if options.is_none() {
                options = Some(restore_options(clear, on_error.as_deref(), check_only)?);
            }
            text += &part;
            if text.len() > limit {
                let detail = format!("the text is longer than {limit} bytes");
                return Err(Error::new(Reason::TooLarge, detail));
            }
        }
        Ok(())
    };
    tokio::time::timeout_at(context.deadline.into(), read)
        .await
        .map_err(|_| Error::new(Reason::DeadlineExceeded, "the text did not arrive in time"))??;
    let options = options.unwrap_or_default();
    let events = api.app.restore_rules(&context, &text, options).await?;
    Ok(events.map(|event| {
        Ok(pb::RestoreRulesResponse {
            event: Some(event?.into()),
        })
    }))
}

fn restore_options(
    clear: Option<bool>,
    on_error: Option<&str>,
    check_only: Option<bool>,
) -> Result<RestoreOptions, Error> {
    let stop = match on_error {
        None | Some("continue") => false,
        Some("stop") => true,
        Some(other) => {
            return Err(Error::invalid(
                "on_error",
                format!("{other:?}: continue or stop"),
            ));
        }
    };
    Ok(RestoreOptions {
        clear: clear.unwrap_or_default(),
        stop,
        check_only: check_only.unwrap_or_default(),
    })
}

// === pb::restore_rules_response::Event ===

impl From<RestoreEvent> for pb::restore_rules_response::Event {
    fn from(event: RestoreEvent) -> Self {
        match event {
            RestoreEvent::Progress { done, total } => Self::Progress(pb::RestoreProgress {
                done: done as u64,
                total: total as u64,
            }),
            RestoreEvent::Refused {
                line,
                command,
                error,
            } => {
                let Error {
                    reason,
                    detail,
                    errno,
                    violations: _,
                    hint,
                    cause: _,
                } = error;
                Self::Refused(pb::RestoreRefusal {
                    line: line as u64,
                    command,
                    reason: reason.to_string(),
                    detail,
                    errno: errno.map(|errno| errno.to_string()).unwrap_or_default(),
                    hint: hint.unwrap_or_default(),
                })
            }
            RestoreEvent::End(summary) => {
                let RestoreSummary {
                    commands,
                    done,
                    refused,
                } = summary;
                Self::End(pb::RestoreSummary {
                    commands: commands as u64,
                    done: done as u64,
                    refused: refused as u64,
                })
            }
        }
    }
}

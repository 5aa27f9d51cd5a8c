//! `/v1/rules`: the table as ipvsadm commands.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;

use super::{
    conditional::{ConditionalRead, Unconditional},
    context::Write,
    extract,
    problem::Problem,
    query::{Query, query},
    reply, schema,
    state::Api,
    values::{OnError, RulesOrder},
};
use crate::{
    app::{
        RequestContext, RestoreEvent, RestoreMode, RestoreOptions, RestoreStream, RestoreSummary,
        RulesText, executed,
    },
    model::{DiffCounts, Error, Owner, Progress, Reason, Violation},
};

query! {
    /// Query parameters of saved rules.
    SaveQuery {
        /// `sorted`: the order of `ipvsadm -S`. `restorable`: servers are printed so that restoring
        /// the text yields the kernel's current order, which schedulers use. Default: `sorted`.
        order: RulesOrder,
    }
}

query! {
    /// Query parameters of restored rules.
    RestoreQuery {
        /// If true, the table is cleared after validation, before the first command. Default: false.
        clear: bool,
        /// Behaviour after a command that the kernel rejects: `continue` with the next command, as
        /// `ipvsadm -R` does, or `stop`. Default: `continue`.
        on_error: OnError,
    }
}

query! {
    /// Query parameters of replaced rules.
    ReplaceQuery {
        /// Behaviour after a creation or an edit that the kernel rejects: `continue` with the other
        /// creations and edits, or `stop`. In both cases nothing is deleted. Default: `continue`.
        on_error: OnError,
    }
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Restored {
    commands: usize,
    done: usize,
    refused: usize,
    #[serde(flatten)]
    difference: Option<Difference>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    reconcile_suspended: BTreeSet<Owner>,
}

/// The difference that a replacement has found.
#[derive(Clone, Copy, Debug, Serialize)]
struct Difference {
    changed: bool,
    created: usize,
    updated: usize,
    deleted: usize,
    unchanged: usize,
}

/// A line of the event stream.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase", tag = "event")]
enum Event<'a> {
    Progress {
        done: usize,
        total: usize,
    },
    Refused {
        line: usize,
        command: &'a str,
        reason: &'a str,
        detail: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        errno: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<&'a str>,
    },
    End(Restored),
    /// The work was aborted; the stream ends.
    Failed {
        reason: &'a str,
        detail: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<&'a str>,
        #[serde(flatten)]
        progress: Option<&'a Progress>,
    },
}

/// A body of commands.
#[derive(Debug)]
pub(super) struct Text(Bytes);

const NDJSON: &str = "application/x-ndjson";
/// The last is the default of `curl --data-binary`.
const TYPES: [&str; 3] = [
    "text/plain",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
];
/// Maximum number of rejected commands in an error.
const MAX_VIOLATIONS: usize = 100;

/// Save the rules
///
/// Returns the table as ipvsadm commands: the output of `ipvsctl -S -n`.
#[utoipa::path(
    get, path = "/v1/rules", operation_id = "saveRules", tag = "rules",
    params(Query<SaveQuery>, ConditionalRead),
    responses((
        status = 200, description = "The commands.", body = String,
        content_type = "text/plain",
        example = "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 1\n"
    ))
)]
pub(super) async fn save(
    State(api): State<Api>,
    Query(query): Query<SaveQuery>,
    read: ConditionalRead,
) -> Result<Response, Problem> {
    let order = query
        .order
        .map(|RulesOrder(order)| order)
        .unwrap_or_default();
    let answer = api.app.save_rules(&read.context, order).await?;
    Ok(reply::text(&read, answer.age, answer.value)?)
}

/// Restore rules
///
/// Executes ipvsadm commands, one per line, in order (`ipvsadm -R`). The whole text is validated
/// before the first command runs: errors are reported as `lines[N]`, and nothing is changed. A
/// command that the kernel rejects does not undo the others; the response is then an error with each
/// rejected line. Only commands that change the table are allowed, with numeric addresses and ports.
/// `Accept: application/x-ndjson` streams events: `progress`, `refused`, and finally `end`, or
/// `failed` if the work was aborted. The size limit of the text is 64 times that of other bodies.
#[utoipa::path(
    post, path = "/v1/rules", operation_id = "restoreRules", tag = "rules",
    params(Write<RestoreQuery>),
    request_body(
        description = "Commands.", content_type = "text/plain", content = String,
        example = json!("-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 192.168.10.1 -m\n")
    ),
    responses(
        (status = 200, description = "All commands were executed; or a stream of events.", content(
            (schema::Restored = "application/json"),
            (String = "application/x-ndjson"),
        )),
        schema::NotFound, schema::Conflict, schema::Unprocessable,
    )
)]
pub(super) async fn restore(
    State(api): State<Api>,
    write: Write<RestoreQuery>,
    _: Unconditional,
    headers: HeaderMap,
    Text(body): Text,
) -> Result<Response, Problem> {
    let (context, query) = write.start();
    let options = RestoreOptions {
        mode: match query.clear {
            Some(true) => RestoreMode::Clear,
            _ => RestoreMode::Execute,
        },
        stop: query.on_error == Some(OnError(true)),
    };
    respond(&api, &context, options, &headers, body).await
}

/// Replace the rules
///
/// Makes the kernel's table equal to the one that the commands make of an empty table, by the fewest
/// operations: what is equal keeps its counters and connections, and what can be edited is not deleted
/// and created again. Services and servers are created first, then edited, then deleted; if the kernel
/// rejects a creation or an edit, nothing is deleted. The order of the servers of a service is not
/// compared. The commands -A, -a, -E, -e, -D, -d and -C are allowed. The whole text is validated
/// before the first operation: errors are reported as `lines[N]`, and nothing is changed. A text without
/// commands is refused. `dry_run=true` returns the difference without a change. `Accept:
/// application/x-ndjson` streams the events of `POST /v1/rules`. If another program changes the table
/// meanwhile, the difference is computed again, up to three times.
#[utoipa::path(
    put, path = "/v1/rules", operation_id = "replaceRules", tag = "rules",
    params(Write<ReplaceQuery>),
    request_body(
        description = "Commands.", content_type = "text/plain", content = String,
        example = json!("-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 192.168.10.1 -m\n")
    ),
    responses(
        (status = 200, description = "The table is as the text says; or a stream of events.", content(
            (schema::Replaced = "application/json"),
            (String = "application/x-ndjson"),
        )),
        schema::NotFound, schema::Conflict, schema::Unprocessable,
    )
)]
pub(super) async fn replace(
    State(api): State<Api>,
    write: Write<ReplaceQuery>,
    _: Unconditional,
    headers: HeaderMap,
    Text(body): Text,
) -> Result<Response, Problem> {
    let (context, query) = write.start();
    let options = RestoreOptions {
        mode: RestoreMode::Replace,
        stop: query.on_error == Some(OnError(true)),
    };
    respond(&api, &context, options, &headers, body).await
}

/// Starts a restore and returns its result, or the stream of its events.
async fn respond(
    api: &Api,
    context: &RequestContext,
    options: RestoreOptions,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let text = RulesText::new(body)?;
    let mut events = api.app.restore_rules(context, text, options).await?;
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    if accepts.is_some_and(|accepts| accepts.contains(NDJSON)) {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(NDJSON)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        // The head is sent with the first events, which are all of a short text.
        let first = stream::iter(events.next().await);
        let body = Body::from_stream(lines(first.chain(events)));
        return Ok((headers, body).into_response());
    }
    Ok(reply::plain(&sum(events).await?)?)
}

/// The events, one per line.
fn lines(
    events: impl Stream<Item = Result<RestoreEvent, Error>>,
) -> impl Stream<Item = Result<Bytes, Error>> {
    events.map(|event| {
        let mut line = match &event {
            Ok(event) => reply::json(&Event::of(event)),
            Err(error) => reply::json(&Event::Failed {
                reason: error.reason.as_str(),
                detail: &error.detail,
                hint: error.hint.as_deref(),
                progress: error.progress.as_deref(),
            }),
        }?;
        line.push(b'\n');
        Ok(line.into())
    })
}

/// The error for a restore in which the kernel rejected commands.
fn refused(mut first: Error, refusals: Vec<Violation>, summary: RestoreSummary) -> Error {
    let RestoreSummary {
        commands,
        done,
        refused,
        ..
    } = summary;
    let counts = executed(commands, done, refused);
    first.detail = format!("{counts}; first error: {}", first.detail);
    first.violations = refusals;
    first.with_progress(Progress {
        commands,
        done,
        refused,
        unknown_lines: Vec::new(),
    })
}

/// Waits for the end, and combines the rejected commands into one error.
async fn sum(mut events: RestoreStream) -> Result<Restored, Error> {
    let mut first: Option<Error> = None;
    let mut refusals = Vec::new();
    while let Some(event) = events.next().await {
        match event? {
            RestoreEvent::Progress { .. } => {}
            RestoreEvent::Refused {
                line,
                command,
                error,
            } => {
                if refusals.len() < MAX_VIOLATIONS {
                    let field = format!("lines[{line}]");
                    let message = format!("{}: {command}", error.detail);
                    refusals.push(Violation::new(field, message));
                }
                first.get_or_insert(error);
            }
            RestoreEvent::End(summary) => {
                return match first {
                    Some(first) => Err(refused(first, refusals, summary)),
                    None => Ok(summary.into()),
                };
            }
        }
    }
    Err(Error::new(
        Reason::Internal,
        "restore aborted; read the table to see which commands were executed",
    ))
}

// === impl Event ===

impl<'a> Event<'a> {
    fn of(event: &'a RestoreEvent) -> Self {
        match event {
            RestoreEvent::Progress { done, total } => Self::Progress {
                done: *done,
                total: *total,
            },
            RestoreEvent::Refused {
                line,
                command,
                error,
            } => Self::Refused {
                line: *line,
                command,
                reason: error.reason.as_str(),
                detail: &error.detail,
                errno: error.errno.map(|errno| errno.to_string()),
                hint: error.hint.as_deref(),
            },
            RestoreEvent::End(summary) => Self::End(summary.clone().into()),
        }
    }
}

// === impl Restored ===

impl From<RestoreSummary> for Restored {
    fn from(summary: RestoreSummary) -> Self {
        let RestoreSummary {
            commands,
            done,
            refused,
            difference,
            reconcile_suspended,
        } = summary;
        Self {
            commands,
            done,
            refused,
            difference: difference.map(Difference::from),
            reconcile_suspended,
        }
    }
}

// === impl Difference ===

impl From<DiffCounts> for Difference {
    fn from(counts: DiffCounts) -> Self {
        let DiffCounts {
            created,
            updated,
            deleted,
            unchanged,
        } = counts;
        Self {
            changed: counts.changed(),
            created,
            updated,
            deleted,
            unchanged,
        }
    }
}

// === impl Text ===

impl FromRequest<Api> for Text {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        extract::text(request, api, &TYPES).await.map(Self)
    }
}

//! `/v1/rules`: the table as text in ipvsadm's language.

use axum::{
    body::Body,
    extract::{FromRequest, Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    conditional::{Reading, Unconditional},
    context::Caller,
    extract,
    problem::Problem,
    query::{FromQuery, Params, Query},
    reply, schema,
};
use crate::{
    app::{RestoreEvent, RestoreOptions, RestoreStream, RestoreSummary},
    ipvsadm::Order,
    model::{Error, Reason, Violation},
};

/// In what order.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "read by the OpenAPI generator")]
pub(super) struct SaveParams {
    /// `sorted`, as `ipvsadm -S` has it, or `restorable`: the servers of each service so that
    /// restoring the text gives the kernel's own order, which schedulers use. Default `sorted`.
    #[param(required = false, nullable = false, pattern = "^(sorted|restorable)$")]
    order: Option<String>,
}

/// How a text is carried out.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "read by the OpenAPI generator")]
pub(super) struct RestoreParams {
    /// Clears the table first, once the text is checked. Default false.
    #[param(required = false, nullable = false)]
    clear: Option<bool>,
    /// When the kernel refuses a command: `continue` with the next, as `ipvsadm -R` does, or
    /// `stop`. Default `continue`.
    #[param(required = false, nullable = false, pattern = "^(continue|stop)$")]
    on_error: Option<String>,
    /// Only checks the text. Default false.
    #[param(required = false, nullable = false)]
    check_only: Option<bool>,
}

/// What came of a text.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct Restored {
    /// Commands in the text.
    #[schema(example = 3)]
    commands: usize,
    /// Those that were carried out.
    #[schema(example = 3)]
    done: usize,
    /// Those that the kernel refused.
    #[schema(example = 0)]
    refused: usize,
}

/// One line of the stream that `Accept: application/x-ndjson` asks for.
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
    /// Nothing more will come.
    Failed {
        reason: &'a str,
        detail: &'a str,
    },
}

/// A body of command lines.
#[derive(Debug)]
pub(super) struct Text(Bytes);

/// `order` of a save.
pub(super) struct OfSave(Order);

const NDJSON: &str = "application/x-ndjson";
/// `curl --data-binary` says the last unless it is told better.
const TYPES: [&str; 3] = [
    "text/plain",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
];
/// How many refusals a problem lists.
const MOST_REFUSALS: usize = 100;

// === impl FromQuery ===

impl FromQuery for OfSave {
    fn from_query(params: &mut Params) -> Self {
        let order = params.take_with("order", |text| Order::named(text, Order::Restorable));
        Self(order.unwrap_or_default())
    }
}

impl FromQuery for RestoreOptions {
    fn from_query(params: &mut Params) -> Self {
        let stop = params.take_with("on_error", |text| match text {
            "continue" => Ok(false),
            "stop" => Ok(true),
            _ => Err(format!("{text:?}: continue or stop")),
        });
        Self {
            clear: params.take_bool("clear").unwrap_or_default(),
            stop: stop.unwrap_or_default(),
            check_only: params.take_bool("check_only").unwrap_or_default(),
        }
    }
}

/// Save the rules
///
/// The table as command lines of ipvsadm, numeric: what `ipvsadm -S -n` prints, and thresholds.
#[utoipa::path(
    get, path = "/v1/rules", operation_id = "saveRules", tag = "rules",
    params(SaveParams, schema::ReadHeaders),
    responses((
        status = 200, description = "The command lines.", body = String,
        content_type = "text/plain",
        example = "-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 192.168.10.1:80 -m -w 1\n"
    ))
)]
pub(super) async fn save(
    State(api): State<Api>,
    Query(OfSave(order)): Query<OfSave>,
    reading: Reading,
) -> Result<Response, Problem> {
    let answer = api.app.save_rules(&reading.context, order).await?;
    Ok(reply::text(&reading, answer.age, answer.value)?)
}

/// Restore rules
///
/// Carries out command lines of ipvsadm, one a line, in their order (`ipvsadm -R`). The whole text
/// is checked before the first is carried out: faults are told as `lines[N]`, and nothing has
/// changed. A command that the kernel refuses later undoes nothing; then the answer is a problem
/// that names each such line. Only commands that change something are taken, and no names.
/// `Accept: application/x-ndjson` streams what happens: events `progress`, `refused`, and at last
/// `end`, or `failed` where it broke off. The text may be 64 times as long as another request's body.
#[utoipa::path(
    post, path = "/v1/rules", operation_id = "restoreRules", tag = "rules",
    params(RestoreParams),
    request_body(
        description = "Command lines.", content_type = "text/plain", content = String,
        example = json!("-A -t 192.0.2.1:80 -s wlc\n-a -t 192.0.2.1:80 -r 192.168.10.1 -m\n")
    ),
    responses(
        (status = 200, description = "Every command was carried out; or what happens, as a stream.", content(
            (Restored = "application/json"),
            (String = "application/x-ndjson"),
        )),
        schema::NotFound, schema::Conflict, schema::Unprocessable,
    )
)]
pub(super) async fn restore(
    State(api): State<Api>,
    caller: Caller,
    Query(options): Query<RestoreOptions>,
    _: Unconditional,
    headers: HeaderMap,
    Text(body): Text,
) -> Result<Response, Problem> {
    let context = caller.context();
    let text = std::str::from_utf8(&body)
        .map_err(|error| Error::invalid("", format!("the text is not UTF-8: {error}")))?;
    let events = api.app.restore_rules(&context, text, options).await?;
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    if accepts.is_some_and(|accepts| accepts.contains(NDJSON)) {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(NDJSON)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        return Ok((headers, Body::from_stream(lines(events))).into_response());
    }
    Ok(reply::plain(&sum(events).await?)?)
}

/// The events as lines.
fn lines(events: RestoreStream) -> impl Stream<Item = Result<Bytes, Error>> {
    events.map(|event| {
        let mut line = match &event {
            Ok(event) => reply::json(&Event::of(event)),
            Err(error) => reply::json(&Event::Failed {
                reason: error.reason.as_str(),
                detail: &error.detail,
            }),
        }?;
        line.push(b'\n');
        Ok(line.into())
    })
}

/// Waits for the end; refusals become one error.
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
                if refusals.len() < MOST_REFUSALS {
                    let field = format!("lines[{line}]");
                    let message = format!("{}: {command}", error.detail);
                    refusals.push(Violation::new(field, message));
                }
                first.get_or_insert(error);
            }
            RestoreEvent::End(summary) => {
                let Some(mut error) = first else {
                    return Ok(summary.into());
                };
                let RestoreSummary {
                    commands,
                    done,
                    refused,
                } = summary;
                error.detail = format!(
                    "{done} of {commands} commands were carried out, {refused} refused; the \
                     first refusal: {}",
                    error.detail
                );
                error.violations = refusals;
                return Err(error);
            }
        }
    }
    Err(Error::new(
        Reason::Internal,
        "the work broke off; read the table to see how far it came",
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
            RestoreEvent::End(summary) => Self::End((*summary).into()),
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
        } = summary;
        Self {
            commands,
            done,
            refused,
        }
    }
}

// === impl Text ===

impl FromRequest<Api> for Text {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let headers = request.headers();
        // A page of another site can send text without asking first.
        if let Some(origin) = headers.get(header::ORIGIN) {
            let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
            let site = origin.as_bytes().splitn(2, |b| *b == b'/').last();
            let site = site.map(|site| site.strip_prefix(b"/").unwrap_or(site));
            if host.is_none() || site != host {
                return Err(Error::new(
                    Reason::PermissionDenied,
                    "rules are not taken from pages of other sites",
                )
                .into());
            }
        }
        extract::text(request, api, &TYPES).await.map(Self)
    }
}

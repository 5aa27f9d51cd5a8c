//! `/v1/watch`: changes of services, servers, drains, ramps and declared tables, as server-sent events.

use std::io::Write;

use axum::{extract, response::Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use utoipa::openapi::{Array, RefOr, Schema};

use super::{
    context::Caller,
    problem::Problem,
    query::{Query, QueryValue, query},
    shape::choice,
    state::Api,
    tables::Overview,
    values::{Address, LabelTerms, OwnerName, ServiceProtocol, kept_filter},
};
use crate::{
    app::{Filter, WatchChange, WatchMessage, WatchRequest, WatchResources, WatchStream},
    model::{
        Drain, Error, Ramp, ServerConfigView, ServerHealthReport, ServerKey, ServiceKey,
        ServiceView,
    },
    watch::{Resource, Revision},
};

query! {
    /// Query parameters of a watch.
    WatchQuery {
        /// Events after this revision, which a list or an event had. If the changes since are not known,
        /// the event `resync` precedes the whole state. `Last-Event-ID` takes precedence. Default: events
        /// after now.
        from_revision: String = "5f3a9c0e71d2b846-1a",
        /// true: the state comes first, one event `added` per object, and then a `bookmark`. Ignored when
        /// the watch resumes from a revision. Default: false.
        initial: bool,
        /// Kinds of objects: `service`, `server`, `drain`, `ramp`, `table`, `health`. Default: `service,server`.
        resources: Resources = ["service", "server"],
        /// Only services with this protocol, and their servers, drains and ramps. Rejected with the resource `table`, and
        /// so are `address`, `port`, `fwmark` and `label`.
        protocol: ServiceProtocol = "tcp",
        /// Only services with this virtual address, and their servers, drains and ramps.
        address: Address = "192.0.2.1",
        /// Only services with this port, and their servers, drains and ramps.
        port: u16,
        /// Only services with this firewall mark, and their servers, drains and ramps.
        fwmark: u32,
        /// Only services with this scheduler, and their servers. Rejected with the resources `drain`, `ramp`, `table` and `health`.
        scheduler: String = "rr",
        /// Only the table of this owner, the services that it declares, and their servers, drains and ramps;
        /// `_unmanaged`: services that no table declares.
        owner: OwnerName = "k8s",
        /// Only services with these labels, and their servers, drains and ramps: `team=web`, `env!=dev`, `team` (any value), `!team` (without it). All terms
        /// must hold, at most 32.
        label: LabelTerms = ["team=web", "env!=dev"],
    }
}

/// Kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resources(WatchResources);

/// The data of an event.
#[derive(Serialize)]
struct Data<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServiceKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<State<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<State<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

/// An object, under its kind.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum State<'a> {
    Service(Box<ServiceView<'a>>),
    Server(ServerConfigView),
    Drain(DrainEntry<'a>),
    Ramp(&'a Ramp),
    Table(Box<Overview<'a>>),
    Health(&'a ServerHealthReport),
}

/// A drain with its first members.
#[derive(Serialize)]
struct DrainEntry<'a> {
    #[serde(flatten)]
    drain: &'a Drain,
    members_total: usize,
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Space for an event.
const USUAL_EVENT: usize = 768;

/// Watch services, servers, drains, ramps and tables
///
/// Streams changes as server-sent events, of services and servers by default: those of this daemon and of other programs.
/// A client lists, and watches from the `revision` of the list; when it has lost the connection, it resumes
/// from the last id. Each event has the configuration `before` and `after`, without counters. A service in an event has no
/// `servers`. A `bookmark` comes at least every 15 seconds. After `resync` the client must forget what it
/// knows: the whole state follows, and then a `bookmark`. The event `end` says that the credential is not
/// valid any more. Changes of other programs are found by reading the table, every second by default.
#[utoipa::path(
    get, path = "/v1/watch", operation_id = "watch", tag = "services",
    params(
        Query<WatchQuery>,
        ("Last-Event-ID" = Option<String>, Header,
            description = "The id of the last event. Browsers send it when they connect again."),
    ),
    responses((
        status = 200, description = "Events. The schema of the `data` of each is `WatchEvent`.",
        body = String, content_type = "text/event-stream",
        example = json!(concat!(
            "id: 5f3a9c0e71d2b846-1a\nevent: modified\n",
            "data: {\"type\":\"modified\",\"resource\":\"server\",\"service\":\"tcp-192.0.2.1-80\",…}\n\n"
        ))
    ))
)]
pub(super) async fn watch(
    extract::State(api): extract::State<Api>,
    caller: Caller,
    Query(query): Query<WatchQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let request = query.request(&headers)?;
    let watch = api.app.watch(&caller.context(), request).await?;
    Ok(super::events::response(events(watch)))
}

/// The events as text.
fn events(watch: WatchStream) -> impl Stream<Item = serde_json::Result<Bytes>> {
    stream::unfold(watch, |mut watch| async move {
        let messages = watch.next().await?;
        Some((messages, watch))
    })
    .map(|messages| {
        let mut text = Vec::with_capacity(messages.len() * USUAL_EVENT);
        for message in &messages {
            write_event(&mut text, message)?;
        }
        Ok(text.into())
    })
}

/// Appends an event. Its id is the revision from which the client can resume.
fn write_event(text: &mut Vec<u8>, message: &WatchMessage) -> serde_json::Result<()> {
    let id = match message {
        WatchMessage::Change(change) => change.revision(),
        WatchMessage::Bookmark(revision) => Some(*revision),
        _ => None,
    };
    // Writing into memory does not fail.
    if let Some(id) = id {
        drop(writeln!(text, "id: {id}"));
    }
    super::events::write(text, message.kind(), &Data::of(message))
}

// === impl WatchQuery ===

impl WatchQuery {
    fn request(self, headers: &HeaderMap) -> Result<WatchRequest, Error> {
        let Self {
            from_revision,
            initial,
            resources,
            protocol,
            address,
            port,
            fwmark,
            scheduler,
            owner,
            label,
        } = self;
        let last = headers.get(LAST_EVENT_ID).map(HeaderValue::to_str);
        let last = last.map(|id| id.unwrap_or("?").to_owned());
        // An EventSource that has seen no id sends none, or an empty one.
        let from = last.filter(|id| !id.is_empty()).or(from_revision);
        let from: Option<Revision> = from.map(|text| text.parse()).transpose()?;
        Ok(WatchRequest {
            from,
            initial: initial.unwrap_or_default(),
            resources: resources.map_or_else(Default::default, |Resources(resources)| resources),
            filter: Filter {
                protocol: protocol.map(|ServiceProtocol(protocol)| protocol),
                address: address.map(|Address(address)| address),
                port,
                fwmark,
                scheduler,
                kept: kept_filter(owner, label),
            },
        })
    }
}

// === impl Resources ===

impl QueryValue for Resources {
    const IS_LIST: bool = true;

    fn schema() -> RefOr<Schema> {
        let items = choice(&WatchResources::NAMES);
        Schema::from(Array::builder().items(items).min_items(Some(1)).build()).into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        WatchResources::named(text.split(',')).map(Self)
    }
}

// === impl Data ===

impl<'a> Data<'a> {
    fn of(message: &'a WatchMessage) -> Self {
        let data = Self {
            kind: message.kind(),
            resource: None,
            service: None,
            server: None,
            before: None,
            after: None,
            origin: None,
            principal: None,
            request_id: None,
            reason: None,
            revision: None,
            time: None,
        };
        match message {
            WatchMessage::Change(change) => data.with(change),
            WatchMessage::Bookmark(revision) => Self {
                revision: Some(revision.to_string()),
                ..data
            },
            WatchMessage::Resync(reason) => Self {
                reason: Some(reason.as_str()),
                ..data
            },
            WatchMessage::End(error) => Self {
                reason: Some(WatchMessage::end_reason(error).as_str()),
                ..data
            },
        }
    }

    fn with(self, change: &'a WatchChange) -> Self {
        let resource = change.resource();
        let author = change.author();
        let event = change.event.as_ref();
        Self {
            resource: resource.map(|resource| resource.kind()),
            service: resource.and_then(|resource| resource.service()),
            server: resource.and_then(|resource| resource.server()),
            before: change.before.as_ref().map(State::of),
            after: change.after.as_ref().map(State::of),
            origin: event.map(|event| event.origin.as_str()),
            principal: author.map(|author| author.principal.name.as_str()),
            request_id: author.map(|author| &*author.request_id),
            revision: change.revision().map(|revision| revision.to_string()),
            time: event.map(|event| format!("{:.3}", event.time)),
            ..self
        }
    }
}

// === impl State ===

impl<'a> State<'a> {
    fn of(resource: &'a Resource) -> Self {
        match resource {
            Resource::Service(key, config, kept) => {
                Self::Service(Box::new(ServiceView::with_kept(*key, config, kept)))
            }
            Resource::Server(_, key, config) => Self::Server(ServerConfigView::new(*key, config)),
            Resource::Drain(drain, members_total) => Self::Drain(DrainEntry {
                drain,
                members_total: *members_total,
            }),
            Resource::Ramp(ramp) => Self::Ramp(ramp),
            Resource::Table(table) => Self::Table(Box::new(Overview::of(table, &[]))),
            Resource::Health(_, health) => Self::Health(health),
        }
    }
}

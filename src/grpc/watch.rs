//! Watch: changes of services, servers, drains, ramps and declared tables.

use futures_util::{Stream, StreamExt, stream};

use super::{
    api::Api,
    convert::{Fields, non_empty, service_filter, timestamp},
    drains, server_message, service_message, table_message,
};
use crate::{
    app::{RequestContext, WatchChange, WatchMessage, WatchRequest, WatchResources, WatchStream},
    model::{Error, ServiceView},
    proto::v1 as pb,
    watch::{Resource, Revision},
};

pub(super) async fn watch(
    api: Api,
    request: pb::WatchRequest,
    context: RequestContext,
) -> Result<impl Stream<Item = Result<pb::WatchResponse, Error>> + use<>, Error> {
    let pb::WatchRequest {
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
    } = request;
    let mut fields = Fields::default();
    let from = non_empty(from_revision).map(|text| text.parse::<Revision>());
    let from = fields.take(from.transpose()).flatten();
    let filter = service_filter(
        &mut fields,
        protocol,
        address,
        port,
        fwmark,
        scheduler,
        (owner, label),
    );
    let names = resources.iter().map(String::as_str);
    let resources = match resources.is_empty() {
        true => Ok(WatchResources::default()),
        false => WatchResources::named(names),
    };
    let resources = resources.map_err(|message| Error::invalid("resources", message));
    let resources = fields.take(resources);
    fields.finish()?;
    let request = WatchRequest {
        from,
        initial,
        resources: resources.unwrap_or_default(),
        filter,
    };
    Ok(events(api.app.watch(&context, request).await?))
}

/// One message per event. After "end", the status says why.
fn events(watch: WatchStream) -> impl Stream<Item = Result<pb::WatchResponse, Error>> {
    stream::unfold(watch, |mut watch| async move {
        let messages = watch.next().await?;
        Some((messages, watch))
    })
    .flat_map(|messages| {
        let responses = messages.into_iter().flat_map(|message| {
            let response = response(&message);
            let end = match message {
                WatchMessage::End(error) => Some(Err(error)),
                _ => None,
            };
            [Ok(response)].into_iter().chain(end)
        });
        stream::iter(responses.collect::<Vec<_>>())
    })
}

fn response(message: &WatchMessage) -> pb::WatchResponse {
    let response = pb::WatchResponse {
        r#type: message.kind().to_owned(),
        ..pb::WatchResponse::default()
    };
    match message {
        WatchMessage::Change(change) => with_change(response, change),
        WatchMessage::Bookmark(revision) => pb::WatchResponse {
            revision: revision.to_string(),
            ..response
        },
        WatchMessage::Resync(reason) => pb::WatchResponse {
            reason: reason.as_str().to_owned(),
            ..response
        },
        WatchMessage::End(error) => pb::WatchResponse {
            reason: WatchMessage::end_reason(error).to_string(),
            ..response
        },
    }
}

fn with_change(response: pb::WatchResponse, change: &WatchChange) -> pb::WatchResponse {
    let Some(resource) = change.resource() else {
        return response;
    };
    let event = change.event.as_ref();
    let author = change.author();
    pb::WatchResponse {
        resource: resource.kind().to_owned(),
        service: resource
            .service()
            .map(|key| key.to_string())
            .unwrap_or_default(),
        server: resource
            .server()
            .map(|key| key.to_string())
            .unwrap_or_default(),
        before: change.before.as_ref().map(pb::Resource::from),
        after: change.after.as_ref().map(pb::Resource::from),
        origin: event
            .map(|event| event.origin.as_str().to_owned())
            .unwrap_or_default(),
        principal: author
            .map(|author| author.principal.name.clone())
            .unwrap_or_default(),
        request_id: author
            .map(|author| author.request_id.to_string())
            .unwrap_or_default(),
        revision: change
            .revision()
            .map(|revision| revision.to_string())
            .unwrap_or_default(),
        time: event.map(|event| timestamp(event.time)),
        ..response
    }
}

// === pb::Resource ===

impl From<&Resource> for pb::Resource {
    fn from(resource: &Resource) -> Self {
        use pb::resource::Resource as Kind;
        let kind = match resource {
            Resource::Service(key, config, kept) => {
                let view = ServiceView::with_kept(*key, config, kept);
                Kind::Service(service_message::without_servers(&view))
            }
            Resource::Server(_, key, config) => {
                Kind::Server(server_message::of_config(*key, *config))
            }
            Resource::Drain(drain, members_total) => {
                Kind::Drain(drains::with_members_of(drain, *members_total))
            }
            Resource::Ramp(ramp) => Kind::Ramp((&**ramp).into()),
            Resource::Table(table) => Kind::Table(table_message::table(table, &[])),
            Resource::Health(_, health) => Kind::Health((&**health).into()),
        };
        Self {
            resource: Some(kind),
        }
    }
}

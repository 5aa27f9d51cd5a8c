//! Methods of real servers.

use prost::Message;

use super::{
    api::Api,
    convert::{Fields, age, fitting, include, mask, non_empty, order, server_key, service_key},
    server_message::{draft, message},
};
use crate::{
    app::{Guard, ListServers, Order, RequestContext, Written},
    model::{
        Error, Family, Include, Mask, Server, ServerDraft, ServerKey, ServerView, ServiceKey, both,
    },
    proto::v1 as pb,
};

/// Stands for an invalid service while the other fields of the request are checked.
const ANY_SERVICE: ServiceKey = ServiceKey::Fwmark {
    family: Family::Ipv4,
    mark: 1,
};

/// The default of `include`, without counters and rates.
const NO_OPTIONAL_PARTS: Include = Include {
    servers: true,
    stats: false,
    rates: false,
};

pub(super) async fn list(
    api: Api,
    request: pb::ListServersRequest,
    context: RequestContext,
) -> Result<pb::ListServersResponse, Error> {
    let pb::ListServersRequest {
        service,
        page_size,
        page_token,
        include: names,
        sort,
        max_age: _,
    } = request;
    let mut fields = Fields::default();
    let service = service_key(&service, "service");
    let include = fields.take(include(&names, NO_OPTIONAL_PARTS));
    let order = fields.take(order(&sort, Order::default()));
    let (service, ()) = both(service, fields.finish())?;
    let list = ListServers {
        include: include.unwrap_or_default(),
        order: order.unwrap_or_default(),
        page_size,
        page_token: non_empty(page_token),
    };
    let answer = api.app.list_servers(&context, service, list).await?;
    let age = age(&answer);
    let page = answer.value;
    let view = |server| message(ServerView::new(server, page.include));
    let servers = page.servers.iter().map(view);
    let servers = fitting(servers, api.options.max_response_bytes);
    let page = page.cut(servers.len());
    Ok(pb::ListServersResponse {
        servers,
        next_page_token: page.next_page_token().unwrap_or_default(),
        age,
        estimation: page.estimation,
        revision: page.revision.to_string(),
    })
}

pub(super) async fn get(
    api: Api,
    request: pb::GetServerRequest,
    context: RequestContext,
) -> Result<pb::GetServerResponse, Error> {
    let pb::GetServerRequest {
        service,
        id,
        include: names,
        max_age: _,
    } = request;
    let keys = both(service_key(&service, "service"), server_key(&id, "id"));
    let ((service, key), include) = both(keys, include(&names, NO_OPTIONAL_PARTS))?;
    let answer = api.app.server(&context, service, key).await?;
    Ok(pb::GetServerResponse {
        server: Some(message(ServerView::new(&answer.value, include))),
        age: age(&answer),
    })
}

pub(super) async fn create(
    api: Api,
    request: pb::CreateServerRequest,
    context: RequestContext,
) -> Result<pb::CreateServerResponse, Error> {
    let pb::CreateServerRequest {
        service,
        server,
        dry_run: _,
    } = request;
    let draft = draft(required(server)?, &Mask::Present);
    let (service, _) = keys(&service, &draft)?;
    let written = api.app.create_server(&context, service, draft).await?;
    let (server, created, changed) = written_server(&written);
    Ok(pb::CreateServerResponse {
        server,
        created,
        changed,
    })
}

pub(super) async fn create_many(
    api: Api,
    request: pb::CreateServersRequest,
    context: RequestContext,
) -> Result<pb::CreateServersResponse, Error> {
    let pb::CreateServersRequest {
        service,
        servers,
        dry_run: _,
    } = request;
    let service = service_key(&service, "service")?;
    if servers.is_empty() {
        return Err(Error::invalid("servers", "is required: at least 1 server"));
    }
    let drafts = servers
        .into_iter()
        .map(|server| draft(server, &Mask::Present))
        .collect();
    let written = api.app.create_servers(&context, service, drafts).await?;
    let mut response = pb::CreateServersResponse {
        servers: written.value.iter().map(written_message).collect(),
        created: written.created,
        changed: written.changed,
    };
    // Leave out servers that do not fit the response, because the write has succeeded.
    if response.encoded_len() > api.options.max_response_bytes {
        response.servers.clear();
    }
    Ok(response)
}

pub(super) async fn update(
    api: Api,
    request: pb::UpdateServerRequest,
    context: RequestContext,
) -> Result<pb::UpdateServerResponse, Error> {
    let pb::UpdateServerRequest {
        service,
        server,
        update_mask,
        allow_missing,
        etag,
        dry_run: _,
    } = request;
    let service = service_key(&service, "service");
    let mask = mask(update_mask, &ServerDraft::FIELDS);
    let draft = draft(required(server)?, mask.as_ref().unwrap_or(&Mask::Present));
    let key = draft.key(*service.as_ref().unwrap_or(&ANY_SERVICE));
    let key = key.and_then(|key| key.ok_or_else(missing_key));
    let ((service, _), key) = both(both(service, mask), key)?;
    let written = api
        .app
        .update_server(
            &context,
            service,
            key,
            draft,
            Guard::of_field(&etag)?,
            allow_missing,
        )
        .await?;
    let (server, created, changed) = written_server(&written);
    Ok(pb::UpdateServerResponse {
        server,
        created,
        changed,
    })
}

pub(super) async fn replace(
    api: Api,
    request: pb::ReplaceServerRequest,
    context: RequestContext,
) -> Result<pb::ReplaceServerResponse, Error> {
    let pb::ReplaceServerRequest {
        service,
        server,
        etag,
        dry_run: _,
    } = request;
    let draft = draft(required(server)?, &Mask::Present);
    let (service, key) = keys(&service, &draft)?;
    let written = api
        .app
        .replace_server(&context, service, key, draft, Guard::of_field(&etag)?)
        .await?;
    let (server, created, changed) = written_server(&written);
    Ok(pb::ReplaceServerResponse {
        server,
        created,
        changed,
    })
}

pub(super) async fn delete(
    api: Api,
    request: pb::DeleteServerRequest,
    context: RequestContext,
) -> Result<pb::DeleteServerResponse, Error> {
    let pb::DeleteServerRequest {
        service,
        id,
        allow_missing,
        etag,
        dry_run: _,
    } = request;
    let (service, key) = both(service_key(&service, "service"), server_key(&id, "id"))?;
    let changed = api
        .app
        .delete_server(
            &context,
            service,
            key,
            allow_missing,
            Guard::of_field(&etag)?,
        )
        .await?;
    Ok(pb::DeleteServerResponse { changed })
}

fn required(server: Option<pb::Server>) -> Result<pb::Server, Error> {
    server.ok_or_else(|| Error::invalid("server", "is required"))
}

/// The keys of a new or replaced server. An error contains all fields at fault.
fn keys(service: &str, draft: &ServerDraft) -> Result<(ServiceKey, ServerKey), Error> {
    let service = service_key(service, "service");
    let checked = *service.as_ref().unwrap_or(&ANY_SERVICE);
    let key = match draft.key(checked) {
        Ok(Some(key)) if service.is_ok() => Ok(key),
        Ok(None) => Err(missing_key()),
        _ => draft.new_server(checked).map(|(key, _)| key),
    };
    both(service, key)
}

fn missing_key() -> Error {
    let message = "is required: the id of the server, or address and port";
    Error::invalid("id", message)
}

fn written_server(written: &Written<Server>) -> (Option<pb::Server>, bool, bool) {
    (
        Some(written_message(&written.value)),
        written.created,
        written.changed,
    )
}

fn written_message(server: &Server) -> pb::Server {
    message(ServerView::new(server, NO_OPTIONAL_PARTS))
}

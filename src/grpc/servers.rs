//! Real servers.

use prost::Message;

use super::{
    Api,
    convert::{age, aged, guard, include, order, page_size, server_key, service_key, text},
    mask::Mask,
};
use crate::{
    app::{ListServers, Order, RequestContext, Written},
    model::{
        Error, Include, Server, ServerDraft, ServerKey, ServerView, ServiceKey, TunnelDraft,
        TunnelView,
    },
    proto::v1 as pb,
};

/// What a mask for a server may name. Names of what names the server and of what is output only are
/// known too, so that a client can name all that it got.
pub(super) const FIELDS: [&str; 17] = [
    "id",
    "address",
    "port",
    "forwarding",
    "weight",
    "upper_threshold",
    "lower_threshold",
    "tunnel",
    "tunnel.type",
    "tunnel.port",
    "tunnel.checksum",
    "active_connections",
    "inactive_connections",
    "persistent_connections",
    "stats",
    "rates",
    "etag",
];

/// What an answer about a server tells unless asked for more.
const BARE: Include = Include {
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
        page_size: size,
        page_token,
        include: names,
        sort,
        max_age,
    } = request;
    let service = service_key(&service, "service")?;
    let list = ListServers {
        include: include(&names, BARE)?,
        order: order(&sort, Order::default())?,
        page_size: page_size(size)?,
        page_token: text(page_token),
    };
    let answer = api
        .app
        .list_servers(&aged(context, max_age)?, service, list)
        .await?;
    let age = age(&answer);
    let page = answer.value;
    let mut servers = Vec::new();
    let mut room = api.options.max_response_bytes;
    for server in &page.servers {
        let server = message(ServerView::new(server, page.include));
        // A tag and a length of at most 5 bytes go before it.
        match room.checked_sub(server.encoded_len() + 6) {
            Some(left) => room = left,
            None if servers.is_empty() => room = 0,
            None => break,
        }
        servers.push(server);
    }
    let page = page.cut(servers.len());
    Ok(pb::ListServersResponse {
        servers,
        next_page_token: page.next_page_token().unwrap_or_default(),
        age,
        estimation: page.estimation,
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
        max_age,
    } = request;
    let service = service_key(&service, "service")?;
    let key = server_key(&id)?;
    let include = include(&names, BARE)?;
    let answer = api
        .app
        .server(&aged(context, max_age)?, service, key)
        .await?;
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
    let pb::CreateServerRequest { service, server } = request;
    let service = service_key(&service, "service")?;
    let draft = draft(required(server)?, &Mask::Present);
    named(&draft, service)?;
    let written = api.app.create_server(&context, service, draft).await?;
    let (server, created, changed) = told(&written);
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
    let pb::CreateServersRequest { service, servers } = request;
    let service = service_key(&service, "service")?;
    if servers.is_empty() {
        return Err(Error::invalid("servers", "is required: 1 server or more"));
    }
    let drafts = servers
        .into_iter()
        .map(|server| draft(server, &Mask::Present))
        .collect();
    let written = api.app.create_servers(&context, service, drafts).await?;
    let mut answer = pb::CreateServersResponse {
        servers: written.value.iter().map(bare).collect(),
        created: written.created,
        changed: written.changed,
    };
    // What was done must not look like a failure.
    if answer.encoded_len() > api.options.max_response_bytes {
        answer.servers.clear();
    }
    Ok(answer)
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
    } = request;
    let service = service_key(&service, "service")?;
    let mask = Mask::parse(update_mask, &FIELDS)?;
    let draft = draft(required(server)?, &mask);
    let key = named(&draft, service)?;
    let written = api
        .app
        .update_server(&context, service, key, draft, guard(&etag)?, allow_missing)
        .await?;
    let (server, created, changed) = told(&written);
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
    } = request;
    let service = service_key(&service, "service")?;
    let draft = draft(required(server)?, &Mask::Present);
    let key = named(&draft, service)?;
    let written = api
        .app
        .replace_server(&context, service, key, draft, guard(&etag)?)
        .await?;
    let (server, created, changed) = told(&written);
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
    } = request;
    let service = service_key(&service, "service")?;
    let key = server_key(&id)?;
    let changed = api
        .app
        .delete_server(&context, service, key, allow_missing, guard(&etag)?)
        .await?;
    Ok(pb::DeleteServerResponse { changed })
}

fn required(server: Option<pb::Server>) -> Result<pb::Server, Error> {
    server.ok_or_else(|| Error::invalid("server", "is required"))
}

fn named(draft: &ServerDraft, service: ServiceKey) -> Result<ServerKey, Error> {
    draft.key(service)?.ok_or_else(|| {
        Error::invalid(
            "id",
            "is required: the id of the server, or address and port",
        )
    })
}

fn told(written: &Written<Server>) -> (Option<pb::Server>, bool, bool) {
    (Some(bare(&written.value)), written.created, written.changed)
}

fn bare(server: &Server) -> pb::Server {
    message(ServerView::new(server, BARE))
}

// === pb::Server ===

/// A server as a message.
pub(super) fn message(view: ServerView<'_>) -> pb::Server {
    let ServerView {
        id,
        address,
        port,
        forwarding,
        weight,
        upper_threshold,
        lower_threshold,
        tunnel,
        active_connections,
        inactive_connections,
        persistent_connections,
        stats,
        rates,
        etag,
    } = view;
    pb::Server {
        id: id.to_string(),
        address: Some(address.to_string()),
        port: Some(port.into()),
        forwarding: Some(forwarding.to_string()),
        weight: Some(weight.into()),
        upper_threshold: Some(upper_threshold.into()),
        lower_threshold: Some(lower_threshold.into()),
        tunnel: tunnel.map(pb::Tunnel::from),
        active_connections: active_connections.into(),
        inactive_connections: inactive_connections.into(),
        persistent_connections: persistent_connections.into(),
        stats: stats.map(pb::Stats::from),
        rates: rates.map(pb::Rates::from),
        etag: etag.to_string(),
    }
}

impl From<TunnelView> for pb::Tunnel {
    fn from(tunnel: TunnelView) -> Self {
        let TunnelView {
            kind,
            port,
            checksum,
        } = tunnel;
        Self {
            r#type: Some(kind.to_string()),
            port: port.map(i64::from),
            checksum: Some(checksum.to_string()),
        }
    }
}

/// What a message says of a server, as far as the mask goes.
pub(super) fn draft(server: pb::Server, mask: &Mask) -> ServerDraft {
    let pb::Server {
        id,
        address,
        port,
        forwarding,
        weight,
        upper_threshold,
        lower_threshold,
        tunnel,
        active_connections: _,
        inactive_connections: _,
        persistent_connections: _,
        stats: _,
        rates: _,
        etag: _,
    } = server;
    let mut draft = ServerDraft::default();
    draft.id = text(id);
    draft.address = address;
    draft.port = port;
    draft.forwarding = mask.field("forwarding", forwarding);
    draft.weight = mask.field("weight", weight);
    draft.upper_threshold = mask.field("upper_threshold", upper_threshold);
    draft.lower_threshold = mask.field("lower_threshold", lower_threshold);
    draft.tunnel = mask.message("tunnel", tunnel, tunnel_draft);
    draft
}

fn tunnel_draft(tunnel: pb::Tunnel, mask: &Mask) -> TunnelDraft {
    let pb::Tunnel {
        r#type,
        port,
        checksum,
    } = tunnel;
    TunnelDraft {
        kind: mask.field("type", r#type),
        port: mask.field("port", port),
        checksum: mask.field("checksum", checksum),
    }
}

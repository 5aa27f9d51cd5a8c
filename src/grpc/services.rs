//! Virtual services.

use std::sync::Arc;

use prost::Message;

use super::{
    Api,
    convert::{age, aged, count, guard, include, number, order, page_size, service_key, text},
    listing::{Listed, too_large},
    mask::Mask,
    servers,
};
use crate::{
    app::{Filter, ListServices, Order, RequestContext, Written},
    model::{
        Error, Field, Include, MaskText, Persistence, PersistenceDraft, ServiceDraft, ServiceEntry,
        ServiceKey, ServiceView,
    },
    proto::v1 as pb,
};

/// What a mask for a service may name. Names of what names the service and of what is output only
/// are known too, so that a client can name all that it got.
pub(super) const FIELDS: [&str; 19] = [
    "id",
    "protocol",
    "address",
    "port",
    "fwmark",
    "family",
    "scheduler",
    "scheduler_flags",
    "one_packet",
    "persistence",
    "persistence.timeout_seconds",
    "persistence.netmask",
    "netmask",
    "persistence_engine",
    "servers",
    "server_count",
    "stats",
    "rates",
    "etag",
];

pub(super) async fn list(
    api: Api,
    request: pb::ListServicesRequest,
    context: RequestContext,
) -> Result<Listed, Error> {
    let pb::ListServicesRequest {
        page_size: size,
        page_token,
        include: names,
        sort,
        protocol,
        address,
        port,
        fwmark,
        scheduler,
        max_age,
    } = request;
    let port = port.map(|port| number(port, "port", 0, u16::MAX.into()));
    let fwmark = fwmark.map(|mark| number(mark, "fwmark", 0, u32::MAX.into()));
    let protocol = protocol.map(|text| text.parse().map_err(|e: Error| e.below("protocol")));
    let address = address.map(|text| {
        text.parse().map_err(|_| {
            let message = format!("{text:?} is not an IPv4 or IPv6 address");
            Error::invalid("address", message)
        })
    });
    let list = ListServices {
        filter: Filter {
            protocol: protocol.transpose()?,
            address: address.transpose()?,
            port: port.transpose()?,
            fwmark: fwmark.transpose()?,
            scheduler,
        },
        include: include(&names, Include::default())?,
        order: order(&sort, Order::default())?,
        page_size: page_size(size)?,
        page_token: text(page_token),
    };
    let answer = api
        .app
        .list_services(&aged(context, max_age)?, list)
        .await?;
    Listed::of(&answer.value, age(&answer), api.options.max_response_bytes)
}

pub(super) async fn get(
    api: Api,
    request: pb::GetServiceRequest,
    context: RequestContext,
) -> Result<pb::GetServiceResponse, Error> {
    let pb::GetServiceRequest {
        id,
        include: names,
        max_age,
    } = request;
    let key = service_key(&id, "id")?;
    let include = include(&names, Include::default())?;
    let answer = api
        .app
        .service(&aged(context, max_age)?, key, include)
        .await?;
    let service = message(&answer.value, include);
    if service.encoded_len() > api.options.max_response_bytes {
        let room = api.options.max_response_bytes;
        return Err(too_large(&answer.value, room));
    }
    Ok(pb::GetServiceResponse {
        service: Some(service),
        age: age(&answer),
    })
}

pub(super) async fn create(
    api: Api,
    request: pb::CreateServiceRequest,
    context: RequestContext,
) -> Result<pb::CreateServiceResponse, Error> {
    let pb::CreateServiceRequest { service } = request;
    let draft = draft(required(service)?, &Mask::Present);
    let written = api.app.create_service(&context, draft).await?;
    let (service, created, changed) = told(&written, &api);
    Ok(pb::CreateServiceResponse {
        service,
        created,
        changed,
    })
}

pub(super) async fn update(
    api: Api,
    request: pb::UpdateServiceRequest,
    context: RequestContext,
) -> Result<pb::UpdateServiceResponse, Error> {
    let pb::UpdateServiceRequest {
        service,
        update_mask,
        allow_missing,
        etag,
    } = request;
    let mask = Mask::parse(update_mask, &FIELDS)?;
    let draft = draft(required(service)?, &mask);
    let key = named(&draft)?;
    let written = api
        .app
        .update_service(&context, key, draft, guard(&etag)?, allow_missing)
        .await?;
    let (service, created, changed) = told(&written, &api);
    Ok(pb::UpdateServiceResponse {
        service,
        created,
        changed,
    })
}

pub(super) async fn replace(
    api: Api,
    request: pb::ReplaceServiceRequest,
    context: RequestContext,
) -> Result<pb::ReplaceServiceResponse, Error> {
    let pb::ReplaceServiceRequest {
        service,
        replace_servers,
        etag,
    } = request;
    let mut draft = draft(required(service)?, &Mask::Present);
    if replace_servers {
        draft.servers.get_or_insert_default();
    }
    let key = named(&draft)?;
    let written = api
        .app
        .replace_service(&context, key, draft, guard(&etag)?)
        .await?;
    let (service, created, changed) = told(&written, &api);
    Ok(pb::ReplaceServiceResponse {
        service,
        created,
        changed,
    })
}

pub(super) async fn delete(
    api: Api,
    request: pb::DeleteServiceRequest,
    context: RequestContext,
) -> Result<pb::DeleteServiceResponse, Error> {
    let pb::DeleteServiceRequest {
        id,
        allow_missing,
        etag,
    } = request;
    let key = service_key(&id, "id")?;
    let changed = api
        .app
        .delete_service(&context, key, allow_missing, guard(&etag)?)
        .await?;
    Ok(pb::DeleteServiceResponse { changed })
}

pub(super) async fn clear(
    api: Api,
    request: pb::ClearServicesRequest,
    context: RequestContext,
) -> Result<pb::ClearServicesResponse, Error> {
    let pb::ClearServicesRequest { confirm } = request;
    let deleted = api.app.clear_services(&context, confirm).await?;
    Ok(pb::ClearServicesResponse { deleted })
}

fn required(service: Option<pb::Service>) -> Result<pb::Service, Error> {
    service.ok_or_else(|| Error::invalid("service", "is required"))
}

fn named(draft: &ServiceDraft) -> Result<ServiceKey, Error> {
    draft.key()?.ok_or_else(|| {
        Error::invalid(
            "id",
            "is required: the id of the service, or protocol, address and port, or fwmark",
        )
    })
}

/// What a write answers with. A service whose servers do not fit is told without them: what was
/// done must not look like a failure.
fn told(written: &Written<Arc<ServiceEntry>>, api: &Api) -> (Option<pb::Service>, bool, bool) {
    let mut service = message(&written.value, Include::default());
    if service.encoded_len() > api.options.max_response_bytes {
        service.servers.clear();
    }
    (Some(service), written.created, written.changed)
}

// === pb::Service ===

/// A service as a message.
pub(super) fn message(entry: &ServiceEntry, include: Include) -> pb::Service {
    let view = ServiceView::new(entry, include);
    pb::Service {
        id: view.id.to_string(),
        protocol: view.protocol.map(|protocol| protocol.to_string()),
        address: view.address.map(|address| address.to_string()),
        port: view.port.map(i64::from),
        fwmark: view.fwmark.map(i64::from),
        family: view.family.map(|family| family.to_string()),
        scheduler: Some(view.scheduler.to_string()),
        scheduler_flags: view.scheduler_flags().map(str::to_owned).collect(),
        one_packet: Some(view.one_packet),
        persistence: view.persistence.map(pb::Persistence::from),
        netmask: view.netmask.map(|netmask| netmask.to_string()),
        persistence_engine: view.persistence_engine.map(|engine| engine.to_string()),
        servers: view
            .servers()
            .into_iter()
            .flatten()
            .map(servers::message)
            .collect(),
        server_count: view.server_count.map(count),
        stats: view.stats.map(pb::Stats::from),
        rates: view.rates.map(pb::Rates::from),
        etag: view.etag.to_string(),
    }
}

impl From<Persistence> for pb::Persistence {
    fn from(persistence: Persistence) -> Self {
        let Persistence {
            timeout_seconds,
            netmask,
        } = persistence;
        Self {
            timeout_seconds: Some(timeout_seconds.into()),
            netmask: Some(netmask.to_string()),
        }
    }
}

/// What a message says of a service, as far as the mask goes.
pub(super) fn draft(service: pb::Service, mask: &Mask) -> ServiceDraft {
    let pb::Service {
        id,
        protocol,
        address,
        port,
        fwmark,
        family,
        scheduler,
        scheduler_flags,
        one_packet,
        persistence,
        netmask,
        persistence_engine,
        servers,
        server_count: _,
        stats: _,
        rates: _,
        etag: _,
    } = service;
    let flags = (!scheduler_flags.is_empty()).then_some(scheduler_flags);
    // An empty list does not tell "no servers" from "not said"; only its name in a mask does.
    let with_servers = match mask {
        Mask::Only(_) => mask.names("servers"),
        Mask::Present | Mask::All => !servers.is_empty(),
    };
    let servers = servers
        .into_iter()
        .map(|server| servers::draft(server, &Mask::Present))
        .collect();
    let mut draft = ServiceDraft::default();
    draft.id = text(id);
    draft.protocol = protocol;
    draft.address = address;
    draft.port = port;
    draft.fwmark = fwmark;
    draft.family = family;
    draft.scheduler = mask.field("scheduler", scheduler);
    draft.scheduler_flags = mask.field("scheduler_flags", flags);
    draft.one_packet = mask.field("one_packet", one_packet);
    draft.persistence = mask.message("persistence", persistence, persistence_draft);
    draft.netmask = match (mask, netmask) {
        // `persistence` has gone back to its default, and the netmask with it; and a persistent
        // service has no netmask but that one.
        (Mask::All, None) => Field::Keep,
        (mask, netmask) => mask.field("netmask", netmask.map(MaskText::Text)),
    };
    draft.persistence_engine = mask.field("persistence_engine", persistence_engine);
    draft.servers = with_servers.then_some(servers);
    draft
}

fn persistence_draft(persistence: pb::Persistence, mask: &Mask) -> PersistenceDraft {
    let pb::Persistence {
        timeout_seconds,
        netmask,
    } = persistence;
    PersistenceDraft {
        timeout_seconds: mask.field("timeout_seconds", timeout_seconds),
        netmask: mask.field("netmask", netmask.map(MaskText::Text)),
    }
}

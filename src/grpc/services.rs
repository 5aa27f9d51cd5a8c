//! Methods of virtual services, except ListServices.

use std::sync::Arc;

use prost::Message;

use super::{
    api::Api,
    convert::{age, count, include, mask, service_key},
    service_message::{draft, message, too_large},
};
use crate::{
    app::{self, Guard, RequestContext, Written},
    model::{Error, Include, Mask, ServiceDraft, ServiceEntry, both},
    proto::v1 as pb,
};

pub(super) async fn get(
    api: Api,
    request: pb::GetServiceRequest,
    context: RequestContext,
) -> Result<pb::GetServiceResponse, Error> {
    let pb::GetServiceRequest {
        id,
        include: names,
        max_age: _,
    } = request;
    let (key, include) = both(service_key(&id, "id"), include(&names, Include::default()))?;
    let answer = api.app.service(&context, key, include).await?;
    let limit = api.options.max_response_bytes;
    let service = message(&answer.value, include);
    if service.encoded_len() > limit {
        let entry = &answer.value;
        return Err(too_large(entry.service.key, entry.servers.len(), limit));
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
    let pb::CreateServiceRequest {
        service,
        dry_run: _,
    } = request;
    let draft = draft(required(service)?, &Mask::Present);
    let written = api.app.create_service(&context, draft).await?;
    let (service, created, changed) = written_service(&written, &api);
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
        dry_run: _,
    } = request;
    let mask = mask(update_mask, &ServiceDraft::FIELDS);
    let draft = draft(required(service)?, mask.as_ref().unwrap_or(&Mask::Present));
    let key = draft.key().and_then(|key| key.ok_or_else(missing_key));
    let (_, key) = both(mask, key)?;
    let written = api
        .app
        .update_service(&context, key, draft, Guard::of_field(&etag)?, allow_missing)
        .await?;
    let (service, created, changed) = written_service(&written, &api);
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
        dry_run: _,
    } = request;
    let mut draft = draft(required(service)?, &Mask::Present);
    if replace_servers {
        draft.servers.get_or_insert_default();
    }
    let key = app::service_key(&draft, missing_key())?;
    let written = api
        .app
        .replace_service(&context, key, draft, Guard::of_field(&etag)?)
        .await?;
    let (service, created, changed) = written_service(&written, &api);
    Ok(pb::ReplaceServiceResponse {
        service,
        created,
        changed,
        server_order_differs: written.server_order_differs,
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
        dry_run: _,
    } = request;
    let key = service_key(&id, "id")?;
    let changed = api
        .app
        .delete_service(&context, key, allow_missing, Guard::of_field(&etag)?)
        .await?;
    Ok(pb::DeleteServiceResponse { changed })
}

pub(super) async fn clear(
    api: Api,
    request: pb::ClearServicesRequest,
    context: RequestContext,
) -> Result<pb::ClearServicesResponse, Error> {
    let pb::ClearServicesRequest {
        confirm,
        dry_run: _,
    } = request;
    let confirm = confirm.map(u64::from);
    let cleared = api.app.clear_services(&context, confirm).await?;
    let suspended = cleared.reconcile_suspended.iter();
    Ok(pb::ClearServicesResponse {
        deleted: count(cleared.deleted),
        reconcile_suspended: suspended.map(ToString::to_string).collect(),
    })
}

fn required(service: Option<pb::Service>) -> Result<pb::Service, Error> {
    service.ok_or_else(|| Error::invalid("service", "is required"))
}

fn missing_key() -> Error {
    Error::invalid(
        "id",
        "is required: the id of the service; or protocol, address and port; or fwmark",
    )
}

/// The result of a write. Servers that do not fit the response are left out, because the write has
/// succeeded.
fn written_service(
    written: &Written<Arc<ServiceEntry>>,
    api: &Api,
) -> (Option<pb::Service>, bool, bool) {
    let mut service = message(&written.value, Include::default());
    if service.encoded_len() > api.options.max_response_bytes {
        service.servers.clear();
    }
    (Some(service), written.created, written.changed)
}

//! Methods of drains and ramps.

use prost::Message;

use super::{
    api::Api,
    convert::{Fields, count, fitting, kept_filter, non_empty, timestamp, word},
};
use crate::{
    app::{ListHolds, RequestContext},
    model::{
        Drain, DrainDraft, DrainMember, DrainState, Error, HoldId, InvalidHoldId, Ramp, RampDraft,
        RampState,
    },
    proto::v1 as pb,
};

// === drains ===

pub(super) async fn create_drain(
    api: Api,
    request: pb::CreateDrainRequest,
    context: RequestContext,
) -> Result<pb::CreateDrainResponse, Error> {
    let pb::CreateDrainRequest {
        server,
        services,
        deadline_seconds,
        then,
        dry_run: _,
    } = request;
    let draft = DrainDraft {
        server: non_empty(server),
        services: Some(services).filter(|services| !services.is_empty()),
        deadline_seconds: deadline_seconds.map(i64::from),
        then,
    };
    let (drain, created) = api.app.create_drain(&context, draft.check()?).await?;
    Ok(pb::CreateDrainResponse {
        drain: Some(drain_message(&drain, &api)),
        created,
    })
}

pub(super) async fn get_drain(
    api: Api,
    request: pb::GetDrainRequest,
    context: RequestContext,
) -> Result<pb::GetDrainResponse, Error> {
    let pb::GetDrainRequest { id } = request;
    let drain = api.app.drain(&context, hold_id(&id)?)?;
    Ok(pb::GetDrainResponse {
        drain: Some(drain_message(&drain, &api)),
    })
}

pub(super) async fn list_drains(
    api: Api,
    request: pb::ListDrainsRequest,
    context: RequestContext,
) -> Result<pb::ListDrainsResponse, Error> {
    let pb::ListDrainsRequest {
        page_size,
        page_token,
        state,
        owner,
        label,
    } = request;
    let mut fields = Fields::default();
    let state = fields.take(word(state, "state", &DrainState::WORDS));
    let filter = kept_filter(&mut fields, owner, label);
    fields.finish()?;
    let list = ListHolds {
        state: state.flatten(),
        filter,
        page_size,
        page_token: non_empty(page_token),
    };
    let page = api.app.list_drains(&context, &list)?;
    let drains = page.entries.iter().map(|drain| drain_message(drain, &api));
    let drains = fitting(drains, api.options.max_response_bytes);
    let page = page.cut(drains.len());
    Ok(pb::ListDrainsResponse {
        drains,
        next_page_token: page.next_page_token().unwrap_or_default(),
    })
}

pub(super) async fn delete_drain(
    api: Api,
    request: pb::DeleteDrainRequest,
    context: RequestContext,
) -> Result<pb::DeleteDrainResponse, Error> {
    let pb::DeleteDrainRequest { id, dry_run: _ } = request;
    let drain = api.app.delete_drain(&context, hold_id(&id)?).await?;
    Ok(pb::DeleteDrainResponse {
        drain: Some(drain_message(&drain, &api)),
    })
}

// === ramps ===

pub(super) async fn create_ramp(
    api: Api,
    request: pb::CreateRampRequest,
    context: RequestContext,
) -> Result<pb::CreateRampResponse, Error> {
    let pb::CreateRampRequest {
        service,
        server,
        to,
        over_seconds,
        steps,
        dry_run: _,
    } = request;
    let draft = RampDraft {
        service: non_empty(service),
        server: non_empty(server),
        to: to.map(i64::from),
        over_seconds: over_seconds.map(i64::from),
        steps: steps.map(i64::from),
    };
    let ramp = api.app.create_ramp(&context, draft.check()?).await?;
    Ok(pb::CreateRampResponse {
        ramp: Some((&ramp).into()),
    })
}

pub(super) async fn get_ramp(
    api: Api,
    request: pb::GetRampRequest,
    context: RequestContext,
) -> Result<pb::GetRampResponse, Error> {
    let pb::GetRampRequest { id } = request;
    let ramp = api.app.ramp(&context, hold_id(&id)?)?;
    Ok(pb::GetRampResponse {
        ramp: Some((&ramp).into()),
    })
}

pub(super) async fn list_ramps(
    api: Api,
    request: pb::ListRampsRequest,
    context: RequestContext,
) -> Result<pb::ListRampsResponse, Error> {
    let pb::ListRampsRequest {
        page_size,
        page_token,
        state,
        owner,
        label,
    } = request;
    let mut fields = Fields::default();
    let state = fields.take(word(state, "state", &RampState::WORDS));
    let filter = kept_filter(&mut fields, owner, label);
    fields.finish()?;
    let list = ListHolds {
        state: state.flatten(),
        filter,
        page_size,
        page_token: non_empty(page_token),
    };
    let page = api.app.list_ramps(&context, &list)?;
    let ramps = page.entries.iter().map(pb::Ramp::from);
    let ramps = fitting(ramps, api.options.max_response_bytes);
    let page = page.cut(ramps.len());
    Ok(pb::ListRampsResponse {
        ramps,
        next_page_token: page.next_page_token().unwrap_or_default(),
    })
}

pub(super) async fn delete_ramp(
    api: Api,
    request: pb::DeleteRampRequest,
    context: RequestContext,
) -> Result<pb::DeleteRampResponse, Error> {
    let pb::DeleteRampRequest { id, dry_run: _ } = request;
    let ramp = api.app.delete_ramp(&context, hold_id(&id)?).await?;
    Ok(pb::DeleteRampResponse {
        ramp: Some((&ramp).into()),
    })
}

// === messages ===

/// The id of a drain or ramp, which the request has in `id`.
fn hold_id(id: &str) -> Result<HoldId, Error> {
    id.parse().map_err(|error: InvalidHoldId| error.into())
}

/// A drain, with as many of its members as fit a response.
fn drain_message(drain: &Drain, api: &Api) -> pb::Drain {
    let mut message = without_members(drain);
    let available = api.options.max_response_bytes;
    let available = available.saturating_sub(message.encoded_len());
    message.members = fitting(drain.members.iter().map(pb::DrainMember::from), available);
    message
}

/// A drain with the members that it is shown with, of which there are more.
pub(super) fn with_members_of(drain: &Drain, members_total: usize) -> pb::Drain {
    pb::Drain {
        members: drain.members.iter().map(pb::DrainMember::from).collect(),
        members_total: count(members_total),
        ..without_members(drain)
    }
}

fn without_members(drain: &Drain) -> pb::Drain {
    let Drain {
        id,
        server,
        services,
        deadline_seconds,
        then,
        table,
        state,
        members,
        blockers,
        create_time,
        end_time,
    } = drain;
    pb::Drain {
        id: id.to_string(),
        server: server.to_string(),
        services: services.iter().flatten().map(ToString::to_string).collect(),
        deadline_seconds: *deadline_seconds,
        then: then.as_str().to_owned(),
        state: state.as_str().to_owned(),
        members: Vec::new(),
        blockers: blockers.clone(),
        create_time: Some(timestamp(*create_time)),
        end_time: end_time.map(timestamp),
        members_total: count(members.len()),
        table: table.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

impl From<&DrainMember> for pb::DrainMember {
    fn from(member: &DrainMember) -> Self {
        let DrainMember {
            service,
            server,
            weight,
            effective_weight,
            active_connections,
            inactive_connections,
            persistent_connections,
            state,
        } = *member;
        Self {
            service: service.to_string(),
            server: server.to_string(),
            weight,
            effective_weight,
            active_connections,
            inactive_connections,
            persistent_connections,
            state: state.as_str().to_owned(),
        }
    }
}

impl From<&Ramp> for pb::Ramp {
    fn from(ramp: &Ramp) -> Self {
        let Ramp {
            id,
            service,
            server,
            from,
            to,
            over_seconds,
            steps,
            weight,
            state,
            create_time,
            end_time,
        } = *ramp;
        Self {
            id: id.to_string(),
            service: service.to_string(),
            server: server.to_string(),
            from,
            to,
            over_seconds,
            steps,
            weight,
            state: state.as_str().to_owned(),
            create_time: Some(timestamp(create_time)),
            end_time: end_time.map(timestamp),
        }
    }
}

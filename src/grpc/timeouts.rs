//! Timeouts of idle connections.

use super::{
    Api,
    convert::{age, aged, guard},
    mask::Mask,
};
use crate::{
    app::RequestContext,
    model::{Error, Timeouts, TimeoutsDraft},
    proto::v1 as pb,
};

/// What a mask for the timeouts may name.
pub(super) const FIELDS: [&str; 4] = ["tcp_seconds", "tcp_fin_seconds", "udp_seconds", "etag"];

pub(super) async fn get(
    api: Api,
    request: pb::GetTimeoutsRequest,
    context: RequestContext,
) -> Result<pb::GetTimeoutsResponse, Error> {
    let pb::GetTimeoutsRequest { max_age } = request;
    let answer = api.app.timeouts(&aged(context, max_age)?).await?;
    Ok(pb::GetTimeoutsResponse {
        timeouts: Some(answer.value.into()),
        age: age(&answer),
    })
}

pub(super) async fn set(
    api: Api,
    request: pb::SetTimeoutsRequest,
    context: RequestContext,
) -> Result<pb::SetTimeoutsResponse, Error> {
    let pb::SetTimeoutsRequest {
        timeouts,
        update_mask,
        etag,
    } = request;
    let mask = Mask::parse(update_mask, &FIELDS)?;
    let timeouts = timeouts.ok_or_else(|| Error::invalid("timeouts", "is required"))?;
    let written = api
        .app
        .update_timeouts(&context, draft(timeouts, &mask), guard(&etag)?)
        .await?;
    Ok(pb::SetTimeoutsResponse {
        timeouts: Some(written.value.into()),
        changed: written.changed,
    })
}

// === pb::Timeouts ===

impl From<Timeouts> for pb::Timeouts {
    fn from(timeouts: Timeouts) -> Self {
        let Timeouts {
            tcp_seconds,
            tcp_fin_seconds,
            udp_seconds,
        } = timeouts;
        Self {
            tcp_seconds: Some(tcp_seconds.into()),
            tcp_fin_seconds: Some(tcp_fin_seconds.into()),
            udp_seconds: Some(udp_seconds.into()),
            etag: timeouts.etag().to_string(),
        }
    }
}

/// What a message says of the timeouts, as far as the mask goes.
pub(super) fn draft(timeouts: pb::Timeouts, mask: &Mask) -> TimeoutsDraft {
    let pb::Timeouts {
        tcp_seconds,
        tcp_fin_seconds,
        udp_seconds,
        etag: _,
    } = timeouts;
    let mut draft = TimeoutsDraft::default();
    draft.tcp_seconds = mask.field("tcp_seconds", tcp_seconds);
    draft.tcp_fin_seconds = mask.field("tcp_fin_seconds", tcp_fin_seconds);
    draft.udp_seconds = mask.field("udp_seconds", udp_seconds);
    draft
}

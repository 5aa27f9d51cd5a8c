//! Methods of the timeouts of idle connections.

use super::{
    api::Api,
    convert::{age, mask},
};
use crate::{
    app::{Guard, RequestContext},
    model::{Error, Mask, Timeouts, TimeoutsDraft},
    proto::v1 as pb,
};

/// Fields that a mask for the timeouts can name.
pub(super) const FIELDS: [&str; 4] = ["tcp_seconds", "tcp_fin_seconds", "udp_seconds", "etag"];

pub(super) async fn get(
    api: Api,
    request: pb::GetTimeoutsRequest,
    context: RequestContext,
) -> Result<pb::GetTimeoutsResponse, Error> {
    let pb::GetTimeoutsRequest { max_age: _ } = request;
    let answer = api.app.timeouts(&context).await?;
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
        dry_run: _,
    } = request;
    let mask = mask(update_mask, &FIELDS)?;
    let timeouts = timeouts.ok_or_else(|| Error::invalid("timeouts", "is required"))?;
    let written = api
        .app
        .update_timeouts(&context, draft(timeouts, &mask), Guard::of_field(&etag)?)
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
            tcp_seconds: Some(tcp_seconds),
            tcp_fin_seconds: Some(tcp_fin_seconds),
            udp_seconds: Some(udp_seconds),
            etag: timeouts.etag().to_string(),
        }
    }
}

/// Converts the masked fields of a message to a draft.
pub(super) fn draft(timeouts: pb::Timeouts, mask: &Mask) -> TimeoutsDraft {
    let pb::Timeouts {
        tcp_seconds,
        tcp_fin_seconds,
        udp_seconds,
        etag: _,
    } = timeouts;
    let mut draft = TimeoutsDraft::default();
    draft.tcp_seconds = mask.field("tcp_seconds", tcp_seconds.map(i64::from));
    draft.tcp_fin_seconds = mask.field("tcp_fin_seconds", tcp_fin_seconds.map(i64::from));
    draft.udp_seconds = mask.field("udp_seconds", udp_seconds.map(i64::from));
    draft
}

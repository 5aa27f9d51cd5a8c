//! Zeroing of counters.

use super::{Face, convert::service_key};
use crate::{director::Call, model::Error, proto::v1 as pb};

pub(super) async fn zero(
    face: Face,
    request: pb::ZeroCountersRequest,
    call: Call,
) -> Result<pb::ZeroCountersResponse, Error> {
    let pb::ZeroCountersRequest { service } = request;
    let service = if service.is_empty() {
        None
    } else {
        Some(service_key(&service, "service")?)
    };
    face.director.zero(service, call).await?;
    Ok(pb::ZeroCountersResponse {})
}

//! ZeroCounters.

use super::{api::Api, convert::service_key};
use crate::{app::RequestContext, model::Error, proto::v1 as pb};

pub(super) async fn zero(
    api: Api,
    request: pb::ZeroCountersRequest,
    context: RequestContext,
) -> Result<pb::ZeroCountersResponse, Error> {
    let pb::ZeroCountersRequest {
        service,
        dry_run: _,
    } = request;
    let service = if service.is_empty() {
        None
    } else {
        Some(service_key(&service, "service")?)
    };
    api.app.zero(&context, service).await?;
    Ok(pb::ZeroCountersResponse {})
}

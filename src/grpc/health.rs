//! The service `grpc.health.v1.Health`: SERVING while the kernel answers and the daemon does not shut
//! down.

use std::{pin::Pin, sync::Arc};

use futures_util::{FutureExt, Stream, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tonic::{Extensions, Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};

use super::{api::Api, metadata, status};
use crate::{
    identity::Session,
    model::{Error, Reason},
    proto::SERVICE,
};

/// The part of the watches that clients without a valid credential may use: a half.
const ANONYMOUS_PART: usize = 2;

/// The health service.
#[derive(Clone, Debug)]
pub(super) struct HealthService {
    api: Api,
    watches: Arc<Semaphore>,
    /// The part of them that clients without a valid credential may use.
    anonymous_watches: Arc<Semaphore>,
}

/// State of one watch.
struct Watch {
    api: Api,
    known: bool,
    /// The status sent last.
    sent: Option<ServingStatus>,
    /// Whether the stream ends after the status sent last.
    ended: bool,
    _permits: Permits,
}

/// The permit of a watch, and of one without a valid credential.
type Permits = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

// === impl HealthService ===

impl HealthService {
    pub(super) fn new(api: Api) -> Self {
        let limit = api.options.max_health_watches;
        Self {
            api,
            watches: Arc::new(Semaphore::new(limit)),
            anonymous_watches: Arc::new(Semaphore::new(limit / ANONYMOUS_PART)),
        }
    }

    /// Admits a watch. Without a valid credential, which no watch needs, a client gets one of a half of
    /// the watches, so that the others remain for those who have one.
    fn admit(&self, extensions: &Extensions) -> Result<Permits, Error> {
        let refused = |limit: usize, whose: &str| {
            let detail = format!("the limit of {limit} concurrent watches{whose} is reached");
            Error::new(Reason::RateLimited, detail).with_hint("poll with Check instead")
        };
        let limit = self.api.options.max_health_watches;
        let session = extensions.get::<Session>();
        let anonymous = match session.is_some_and(|session| session.principal.grant.is_some()) {
            true => None,
            false => {
                let permit = self.anonymous_watches.clone().try_acquire_owned();
                let limit = limit / ANONYMOUS_PART;
                Some(permit.map_err(|_| refused(limit, " without a valid credential"))?)
            }
        };
        let permit = self.watches.clone().try_acquire_owned();
        Ok((permit.map_err(|_| refused(limit, ""))?, anonymous))
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let HealthCheckRequest { service } = request.get_ref();
        if !is_known(service) {
            return Err(Status::not_found(format!("unknown service {service:?}")));
        }
        let status = serving(&self.api).await;
        Ok(Response::new(HealthCheckResponse {
            status: status.into(),
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let permits = self.admit(request.extensions()).map_err(|error| {
            let id = metadata::request_id(request.metadata().as_ref());
            status::status(&error, id)
        })?;
        let watch = Watch {
            api: self.api.clone(),
            known: is_known(&request.get_ref().service),
            sent: None,
            ended: false,
            _permits: permits,
        };
        Ok(Response::new(Box::pin(stream::unfold(watch, Watch::next))))
    }
}

// === impl Watch ===

impl Watch {
    /// Waits for a status that differs from the one sent last. The stream ends when the daemon shuts
    /// down, so that watches do not delay the shutdown.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            if self.ended {
                return None;
            }
            self.ended = is_draining(&self.api);
            let status = if self.known {
                serving(&self.api).await
            } else {
                ServingStatus::ServiceUnknown
            };
            if self.sent.replace(status) != Some(status) {
                let response = HealthCheckResponse {
                    status: status.into(),
                };
                return Some((Ok(response), self));
            }
            tokio::select! {
                () = sleep(self.api.options.health_interval) => {}
                () = self.api.options.draining.clone() => {}
            }
        }
    }
}

fn is_known(service: &str) -> bool {
    service.is_empty() || service == SERVICE
}

fn is_draining(api: &Api) -> bool {
    api.options.draining.clone().now_or_never().is_some()
}

async fn serving(api: &Api) -> ServingStatus {
    if is_draining(api) {
        return ServingStatus::NotServing;
    }
    match timeout(api.options.request_timeout, api.app.ready()).await {
        Ok(Ok(())) => ServingStatus::Serving,
        Ok(Err(_)) | Err(_) => ServingStatus::NotServing,
    }
}

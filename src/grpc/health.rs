//! The service `grpc.health.v1.Health`: SERVING while the kernel answers and the daemon does not shut
//! down.

use std::{pin::Pin, sync::Arc};

use futures_util::{FutureExt, Stream, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};

use super::{api::Api, metadata, status};
use crate::{
    model::{Error, Reason},
    proto::SERVICE,
};

/// The health service.
#[derive(Clone, Debug)]
pub(super) struct HealthService {
    api: Api,
    watches: Arc<Semaphore>,
}

/// State of one watch.
struct Watch {
    api: Api,
    known: bool,
    /// The status sent last.
    sent: Option<ServingStatus>,
    /// Whether the stream ends after the status sent last.
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

// === impl HealthService ===

impl HealthService {
    pub(super) fn new(api: Api) -> Self {
        let watches = Arc::new(Semaphore::new(api.options.max_health_watches));
        Self { api, watches }
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
        let Ok(permit) = self.watches.clone().try_acquire_owned() else {
            let limit = self.api.options.max_health_watches;
            let error = Error::new(
                Reason::RateLimited,
                format!("the limit of {limit} concurrent watches is reached"),
            )
            .with_hint("poll with Check instead");
            let id = metadata::request_id(request.metadata().as_ref());
            return Err(status::status(&error, id));
        };
        let watch = Watch {
            api: self.api.clone(),
            known: is_known(&request.get_ref().service),
            sent: None,
            ended: false,
            _permit: permit,
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

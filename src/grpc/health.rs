//! `grpc.health.v1`: whether the kernel answers, as the director says when asked.

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

use super::{Face, call, status};
use crate::{
    model::{Error, Reason},
    proto::SERVICE,
};

/// The health service.
#[derive(Clone, Debug)]
pub(super) struct HealthService {
    face: Face,
    watches: Arc<Semaphore>,
}

/// One client that watches.
struct Watch {
    face: Face,
    known: bool,
    told: Option<ServingStatus>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

// === impl HealthService ===

impl HealthService {
    pub(super) fn new(face: Face) -> Self {
        let watches = Arc::new(Semaphore::new(face.options.max_health_watches));
        Self { face, watches }
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
            return Err(Status::not_found(format!(
                "there is no service {service:?}"
            )));
        }
        let status = serving(&self.face).await;
        Ok(Response::new(HealthCheckResponse {
            status: status.into(),
        }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let Ok(place) = self.watches.clone().try_acquire_owned() else {
            let limit = self.face.options.max_health_watches;
            let error = Error::new(
                Reason::RateLimited,
                format!("{limit} clients watch the health already"),
            )
            .with_hint("check it from time to time instead");
            let id = call::request_id(request.metadata().as_ref());
            return Err(status::status(&error, id));
        };
        let watch = Watch {
            face: self.face.clone(),
            known: is_known(&request.get_ref().service),
            told: None,
            ended: false,
            _place: place,
        };
        Ok(Response::new(Box::pin(stream::unfold(watch, Watch::next))))
    }
}

// === impl Watch ===

impl Watch {
    /// The next status that differs from the one told last. At the end of the daemon that is the
    /// last one, so that watchers do not hold it up.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            if self.ended {
                return None;
            }
            self.ended = is_draining(&self.face);
            let status = if self.known {
                serving(&self.face).await
            } else {
                ServingStatus::ServiceUnknown
            };
            if self.told.replace(status) != Some(status) {
                let response = HealthCheckResponse {
                    status: status.into(),
                };
                return Some((Ok(response), self));
            }
            tokio::select! {
                () = sleep(self.face.options.health_interval) => {}
                () = self.face.options.draining.clone() => {}
            }
        }
    }
}

fn is_known(service: &str) -> bool {
    service.is_empty() || service == SERVICE
}

fn is_draining(face: &Face) -> bool {
    face.options.draining.clone().now_or_never().is_some()
}

async fn serving(face: &Face) -> ServingStatus {
    if is_draining(face) {
        return ServingStatus::NotServing;
    }
    match timeout(face.options.request_timeout, face.director.ready()).await {
        Ok(Ok(())) => ServingStatus::Serving,
        Ok(Err(_)) | Err(_) => ServingStatus::NotServing,
    }
}

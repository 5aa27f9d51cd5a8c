//! Which method is answered by which function, and what all of them have in common.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, TryStreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::{
    GrpcOptions, connections, info, metadata, rules, servers, services, settings, stats, status,
    sync_daemons, timeouts, zero,
};
use crate::{
    app::{App, RequestContext},
    model::Error,
    proto::v1::{self as pb, ipvs_server::Ipvs},
};

/// What every method works with. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) app: App,
    pub(super) options: Arc<GrpcOptions>,
}

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

// === impl Api ===

impl Api {
    /// Answers a request with what a function makes of it.
    pub(super) async fn answer<Q, A, F>(
        &self,
        request: Request<Q>,
        method: impl FnOnce(Self, Q, RequestContext) -> F,
    ) -> Answer<A>
    where
        F: Future<Output = Result<A, Error>>,
    {
        let (metadata, extensions, message) = request.into_parts();
        let headers = metadata.as_ref();
        let context = metadata::context(headers, &extensions, self.options.request_timeout);
        method(self.clone(), message, context)
            .await
            .map(Response::new)
            .map_err(|error| status::status(&error, metadata::request_id(headers)))
    }

    /// The same with what comes in parts, each of which may be the error that ends it.
    async fn stream<Q, A, S, F>(
        &self,
        request: Request<Q>,
        method: impl FnOnce(Self, Q, RequestContext) -> F,
    ) -> Answer<Streamed<A>>
    where
        S: Stream<Item = Result<A, Error>> + Send + 'static,
        F: Future<Output = Result<S, Error>>,
    {
        let id = metadata::request_id(request.metadata().as_ref()).map(str::to_owned);
        let parts = self.answer(request, method).await?;
        Ok(parts.map(|parts| -> Streamed<A> {
            Box::pin(parts.map_err(move |error| status::status(&error, id.as_deref())))
        }))
    }
}

#[tonic::async_trait]
impl Ipvs for Api {
    async fn list_services(
        &self,
        request: Request<pb::ListServicesRequest>,
    ) -> Answer<pb::ListServicesResponse> {
        // Over the wire, `listing` answers.
        let list = |api, request, context| async move {
            services::list(api, request, context).await?.message()
        };
        self.answer(request, list).await
    }

    async fn get_service(
        &self,
        request: Request<pb::GetServiceRequest>,
    ) -> Answer<pb::GetServiceResponse> {
        self.answer(request, services::get).await
    }

    async fn create_service(
        &self,
        request: Request<pb::CreateServiceRequest>,
    ) -> Answer<pb::CreateServiceResponse> {
        self.answer(request, services::create).await
    }

    async fn update_service(
        &self,
        request: Request<pb::UpdateServiceRequest>,
    ) -> Answer<pb::UpdateServiceResponse> {
        self.answer(request, services::update).await
    }

    async fn replace_service(
        &self,
        request: Request<pb::ReplaceServiceRequest>,
    ) -> Answer<pb::ReplaceServiceResponse> {
        self.answer(request, services::replace).await
    }

    async fn delete_service(
        &self,
        request: Request<pb::DeleteServiceRequest>,
    ) -> Answer<pb::DeleteServiceResponse> {
        self.answer(request, services::delete).await
    }

    async fn clear_services(
        &self,
        request: Request<pb::ClearServicesRequest>,
    ) -> Answer<pb::ClearServicesResponse> {
        self.answer(request, services::clear).await
    }

    async fn list_servers(
        &self,
        request: Request<pb::ListServersRequest>,
    ) -> Answer<pb::ListServersResponse> {
        self.answer(request, servers::list).await
    }

    async fn get_server(
        &self,
        request: Request<pb::GetServerRequest>,
    ) -> Answer<pb::GetServerResponse> {
        self.answer(request, servers::get).await
    }

    async fn create_server(
        &self,
        request: Request<pb::CreateServerRequest>,
    ) -> Answer<pb::CreateServerResponse> {
        self.answer(request, servers::create).await
    }

    async fn create_servers(
        &self,
        request: Request<pb::CreateServersRequest>,
    ) -> Answer<pb::CreateServersResponse> {
        self.answer(request, servers::create_many).await
    }

    async fn update_server(
        &self,
        request: Request<pb::UpdateServerRequest>,
    ) -> Answer<pb::UpdateServerResponse> {
        self.answer(request, servers::update).await
    }

    async fn replace_server(
        &self,
        request: Request<pb::ReplaceServerRequest>,
    ) -> Answer<pb::ReplaceServerResponse> {
        self.answer(request, servers::replace).await
    }

    async fn delete_server(
        &self,
        request: Request<pb::DeleteServerRequest>,
    ) -> Answer<pb::DeleteServerResponse> {
        self.answer(request, servers::delete).await
    }

    async fn zero_counters(
        &self,
        request: Request<pb::ZeroCountersRequest>,
    ) -> Answer<pb::ZeroCountersResponse> {
        self.answer(request, zero::zero).await
    }

    async fn get_timeouts(
        &self,
        request: Request<pb::GetTimeoutsRequest>,
    ) -> Answer<pb::GetTimeoutsResponse> {
        self.answer(request, timeouts::get).await
    }

    async fn set_timeouts(
        &self,
        request: Request<pb::SetTimeoutsRequest>,
    ) -> Answer<pb::SetTimeoutsResponse> {
        self.answer(request, timeouts::set).await
    }

    async fn list_sync_daemons(
        &self,
        request: Request<pb::ListSyncDaemonsRequest>,
    ) -> Answer<pb::ListSyncDaemonsResponse> {
        self.answer(request, sync_daemons::list).await
    }

    async fn start_sync_daemon(
        &self,
        request: Request<pb::StartSyncDaemonRequest>,
    ) -> Answer<pb::StartSyncDaemonResponse> {
        self.answer(request, sync_daemons::start).await
    }

    async fn stop_sync_daemon(
        &self,
        request: Request<pb::StopSyncDaemonRequest>,
    ) -> Answer<pb::StopSyncDaemonResponse> {
        self.answer(request, sync_daemons::stop).await
    }

    async fn count_connections(
        &self,
        request: Request<pb::CountConnectionsRequest>,
    ) -> Answer<pb::CountConnectionsResponse> {
        self.answer(request, connections::count).await
    }

    async fn get_stats(
        &self,
        request: Request<pb::GetStatsRequest>,
    ) -> Answer<pb::GetStatsResponse> {
        self.answer(request, stats::get).await
    }

    async fn get_info(&self, request: Request<pb::GetInfoRequest>) -> Answer<pb::GetInfoResponse> {
        self.answer(request, info::get).await
    }

    async fn get_settings(
        &self,
        request: Request<pb::GetSettingsRequest>,
    ) -> Answer<pb::GetSettingsResponse> {
        self.answer(request, settings::get).await
    }

    async fn update_settings(
        &self,
        request: Request<pb::UpdateSettingsRequest>,
    ) -> Answer<pb::UpdateSettingsResponse> {
        self.answer(request, settings::update).await
    }

    type GetListingStream = Streamed<pb::GetListingResponse>;

    async fn get_listing(
        &self,
        request: Request<pb::GetListingRequest>,
    ) -> Answer<Self::GetListingStream> {
        self.stream(request, rules::listing).await
    }

    type SaveRulesStream = Streamed<pb::SaveRulesResponse>;

    async fn save_rules(
        &self,
        request: Request<pb::SaveRulesRequest>,
    ) -> Answer<Self::SaveRulesStream> {
        self.stream(request, rules::save).await
    }

    type RestoreRulesStream = Streamed<pb::RestoreRulesResponse>;

    async fn restore_rules(
        &self,
        request: Request<Streaming<pb::RestoreRulesRequest>>,
    ) -> Answer<Self::RestoreRulesStream> {
        self.stream(request, rules::restore).await
    }

    type ListConnectionsStream = Streamed<pb::Connection>;

    async fn list_connections(
        &self,
        request: Request<pb::ListConnectionsRequest>,
    ) -> Answer<Self::ListConnectionsStream> {
        self.stream(request, connections::list).await
    }
}

//! Maps each method of `IpvsService` to its handler.

use tonic::{Request, Streaming};

use super::{
    access,
    api::{Api, Reply, ResponseStream},
    audit, batch, connections, drains, info, list_services, listing, rules, server_health, servers,
    services, settings, stats, stats_stream, sync_daemons, tables, timeouts, watch, zero,
};
use crate::{
    budget::StreamBytes,
    proto::v1::{self as pb, ipvs_service_server::IpvsService},
};

#[tonic::async_trait]
impl IpvsService for Api {
    async fn list_services(
        &self,
        request: Request<pb::ListServicesRequest>,
    ) -> Reply<pb::ListServicesResponse> {
        // The router serves this method by `list_services::route`.
        let list = |api, request, context| async move {
            list_services::list(api, request, context).await?.decode()
        };
        self.unary(request, list).await
    }

    async fn get_service(
        &self,
        request: Request<pb::GetServiceRequest>,
    ) -> Reply<pb::GetServiceResponse> {
        self.unary(request, services::get).await
    }

    async fn create_service(
        &self,
        request: Request<pb::CreateServiceRequest>,
    ) -> Reply<pb::CreateServiceResponse> {
        self.unary(request, services::create).await
    }

    async fn update_service(
        &self,
        request: Request<pb::UpdateServiceRequest>,
    ) -> Reply<pb::UpdateServiceResponse> {
        self.unary(request, services::update).await
    }

    async fn replace_service(
        &self,
        request: Request<pb::ReplaceServiceRequest>,
    ) -> Reply<pb::ReplaceServiceResponse> {
        self.unary(request, services::replace).await
    }

    async fn delete_service(
        &self,
        request: Request<pb::DeleteServiceRequest>,
    ) -> Reply<pb::DeleteServiceResponse> {
        self.unary(request, services::delete).await
    }

    async fn clear_services(
        &self,
        request: Request<pb::ClearServicesRequest>,
    ) -> Reply<pb::ClearServicesResponse> {
        self.unary(request, services::clear).await
    }

    async fn list_servers(
        &self,
        request: Request<pb::ListServersRequest>,
    ) -> Reply<pb::ListServersResponse> {
        self.unary(request, servers::list).await
    }

    async fn get_server(
        &self,
        request: Request<pb::GetServerRequest>,
    ) -> Reply<pb::GetServerResponse> {
        self.unary(request, servers::get).await
    }

    async fn create_server(
        &self,
        request: Request<pb::CreateServerRequest>,
    ) -> Reply<pb::CreateServerResponse> {
        self.unary(request, servers::create).await
    }

    async fn create_servers(
        &self,
        request: Request<pb::CreateServersRequest>,
    ) -> Reply<pb::CreateServersResponse> {
        self.unary(request, servers::create_many).await
    }

    async fn update_server(
        &self,
        request: Request<pb::UpdateServerRequest>,
    ) -> Reply<pb::UpdateServerResponse> {
        self.unary(request, servers::update).await
    }

    async fn replace_server(
        &self,
        request: Request<pb::ReplaceServerRequest>,
    ) -> Reply<pb::ReplaceServerResponse> {
        self.unary(request, servers::replace).await
    }

    async fn delete_server(
        &self,
        request: Request<pb::DeleteServerRequest>,
    ) -> Reply<pb::DeleteServerResponse> {
        self.unary(request, servers::delete).await
    }

    async fn zero_counters(
        &self,
        request: Request<pb::ZeroCountersRequest>,
    ) -> Reply<pb::ZeroCountersResponse> {
        self.unary(request, zero::zero).await
    }

    async fn get_timeouts(
        &self,
        request: Request<pb::GetTimeoutsRequest>,
    ) -> Reply<pb::GetTimeoutsResponse> {
        self.unary(request, timeouts::get).await
    }

    async fn set_timeouts(
        &self,
        request: Request<pb::SetTimeoutsRequest>,
    ) -> Reply<pb::SetTimeoutsResponse> {
        self.unary(request, timeouts::set).await
    }

    async fn list_sync_daemons(
        &self,
        request: Request<pb::ListSyncDaemonsRequest>,
    ) -> Reply<pb::ListSyncDaemonsResponse> {
        self.unary(request, sync_daemons::list).await
    }

    async fn start_sync_daemon(
        &self,
        request: Request<pb::StartSyncDaemonRequest>,
    ) -> Reply<pb::StartSyncDaemonResponse> {
        self.unary(request, sync_daemons::start).await
    }

    async fn stop_sync_daemon(
        &self,
        request: Request<pb::StopSyncDaemonRequest>,
    ) -> Reply<pb::StopSyncDaemonResponse> {
        self.unary(request, sync_daemons::stop).await
    }

    async fn count_connections(
        &self,
        request: Request<pb::CountConnectionsRequest>,
    ) -> Reply<pb::CountConnectionsResponse> {
        self.unary(request, connections::count).await
    }

    async fn get_stats(
        &self,
        request: Request<pb::GetStatsRequest>,
    ) -> Reply<pb::GetStatsResponse> {
        self.unary(request, stats::get).await
    }

    async fn get_info(&self, request: Request<pb::GetInfoRequest>) -> Reply<pb::GetInfoResponse> {
        self.unary(request, info::get).await
    }

    async fn get_settings(
        &self,
        request: Request<pb::GetSettingsRequest>,
    ) -> Reply<pb::GetSettingsResponse> {
        self.unary(request, settings::get).await
    }

    async fn update_settings(
        &self,
        request: Request<pb::UpdateSettingsRequest>,
    ) -> Reply<pb::UpdateSettingsResponse> {
        self.unary(request, settings::update).await
    }

    async fn list_audit_records(
        &self,
        request: Request<pb::ListAuditRecordsRequest>,
    ) -> Reply<pb::ListAuditRecordsResponse> {
        self.unary(request, audit::list).await
    }

    type GetListingStream = ResponseStream<pb::GetListingResponse>;

    async fn get_listing(
        &self,
        request: Request<pb::GetListingRequest>,
    ) -> Reply<Self::GetListingStream> {
        self.streaming(request, listing::get).await
    }

    async fn get_principal(
        &self,
        request: Request<pb::GetPrincipalRequest>,
    ) -> Reply<pb::GetPrincipalResponse> {
        self.unary(request, access::principal).await
    }

    async fn check_permission(
        &self,
        request: Request<pb::CheckPermissionRequest>,
    ) -> Reply<pb::CheckPermissionResponse> {
        self.unary(request, access::permission).await
    }

    type SaveRulesStream = ResponseStream<pb::SaveRulesResponse>;

    async fn save_rules(
        &self,
        request: Request<pb::SaveRulesRequest>,
    ) -> Reply<Self::SaveRulesStream> {
        self.streaming(request, rules::save).await
    }

    type RestoreRulesStream = ResponseStream<pb::RestoreRulesResponse>;

    async fn restore_rules(
        &self,
        request: Request<Streaming<pb::RestoreRulesRequest>>,
    ) -> Reply<Self::RestoreRulesStream> {
        self.streaming(request, rules::restore).await
    }

    type ListConnectionsStream = ResponseStream<pb::ListConnectionsResponse>;

    async fn list_connections(
        &self,
        request: Request<pb::ListConnectionsRequest>,
    ) -> Reply<Self::ListConnectionsStream> {
        self.streaming(request, connections::list).await
    }

    type WatchStream = ResponseStream<pb::WatchResponse>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Reply<Self::WatchStream> {
        let mut response = self.streaming(request, watch::watch).await?;
        response.extensions_mut().insert(StreamBytes::OF_WATCH);
        Ok(response)
    }

    type StreamStatsStream = ResponseStream<pb::StreamStatsResponse>;

    async fn stream_stats(
        &self,
        request: Request<pb::StreamStatsRequest>,
    ) -> Reply<Self::StreamStatsStream> {
        let mut response = self.streaming(request, stats_stream::stream_stats).await?;
        response.extensions_mut().insert(StreamBytes::OF_WATCH);
        Ok(response)
    }

    async fn get_stats_history(
        &self,
        request: Request<pb::GetStatsHistoryRequest>,
    ) -> Reply<pb::GetStatsHistoryResponse> {
        self.unary(request, stats_stream::history).await
    }

    async fn apply_table(
        &self,
        request: Request<Streaming<pb::ApplyTableRequest>>,
    ) -> Reply<pb::ApplyTableResponse> {
        tables::apply(self, request).await
    }

    type GetTableStream = ResponseStream<pb::GetTableResponse>;

    async fn get_table(
        &self,
        request: Request<pb::GetTableRequest>,
    ) -> Reply<Self::GetTableStream> {
        self.streaming(request, tables::get).await
    }

    async fn list_tables(
        &self,
        request: Request<pb::ListTablesRequest>,
    ) -> Reply<pb::ListTablesResponse> {
        self.unary(request, tables::list).await
    }

    async fn update_table(
        &self,
        request: Request<pb::UpdateTableRequest>,
    ) -> Reply<pb::UpdateTableResponse> {
        self.unary(request, tables::update).await
    }

    async fn delete_table(
        &self,
        request: Request<pb::DeleteTableRequest>,
    ) -> Reply<pb::DeleteTableResponse> {
        tables::delete(self, request).await
    }

    async fn get_drift(
        &self,
        request: Request<pb::GetDriftRequest>,
    ) -> Reply<pb::GetDriftResponse> {
        self.unary(request, tables::drift).await
    }

    async fn list_table_operations(
        &self,
        request: Request<pb::ListTableOperationsRequest>,
    ) -> Reply<pb::ListTableOperationsResponse> {
        self.unary(request, tables::operations).await
    }

    async fn list_health(
        &self,
        request: Request<pb::ListHealthRequest>,
    ) -> Reply<pb::ListHealthResponse> {
        self.unary(request, server_health::list_health).await
    }

    async fn get_health(
        &self,
        request: Request<pb::GetHealthRequest>,
    ) -> Reply<pb::GetHealthResponse> {
        self.unary(request, server_health::get_health).await
    }

    async fn set_health_override(
        &self,
        request: Request<pb::SetHealthOverrideRequest>,
    ) -> Reply<pb::SetHealthOverrideResponse> {
        self.unary(request, server_health::set_health_override)
            .await
    }

    async fn delete_health_override(
        &self,
        request: Request<pb::DeleteHealthOverrideRequest>,
    ) -> Reply<pb::DeleteHealthOverrideResponse> {
        self.unary(request, server_health::delete_health_override)
            .await
    }

    async fn report_health(
        &self,
        request: Request<pb::ReportHealthRequest>,
    ) -> Reply<pb::ReportHealthResponse> {
        self.unary(request, server_health::report_health).await
    }

    async fn create_drain(
        &self,
        request: Request<pb::CreateDrainRequest>,
    ) -> Reply<pb::CreateDrainResponse> {
        self.unary(request, drains::create_drain).await
    }

    async fn get_drain(
        &self,
        request: Request<pb::GetDrainRequest>,
    ) -> Reply<pb::GetDrainResponse> {
        self.unary(request, drains::get_drain).await
    }

    async fn list_drains(
        &self,
        request: Request<pb::ListDrainsRequest>,
    ) -> Reply<pb::ListDrainsResponse> {
        self.unary(request, drains::list_drains).await
    }

    async fn delete_drain(
        &self,
        request: Request<pb::DeleteDrainRequest>,
    ) -> Reply<pb::DeleteDrainResponse> {
        self.unary(request, drains::delete_drain).await
    }

    async fn create_ramp(
        &self,
        request: Request<pb::CreateRampRequest>,
    ) -> Reply<pb::CreateRampResponse> {
        self.unary(request, drains::create_ramp).await
    }

    async fn get_ramp(&self, request: Request<pb::GetRampRequest>) -> Reply<pb::GetRampResponse> {
        self.unary(request, drains::get_ramp).await
    }

    async fn list_ramps(
        &self,
        request: Request<pb::ListRampsRequest>,
    ) -> Reply<pb::ListRampsResponse> {
        self.unary(request, drains::list_ramps).await
    }

    async fn delete_ramp(
        &self,
        request: Request<pb::DeleteRampRequest>,
    ) -> Reply<pb::DeleteRampResponse> {
        self.unary(request, drains::delete_ramp).await
    }

    async fn apply_batch(
        &self,
        request: Request<pb::ApplyBatchRequest>,
    ) -> Reply<pb::ApplyBatchResponse> {
        batch::apply(self, request).await
    }
}

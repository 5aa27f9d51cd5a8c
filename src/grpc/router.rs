//! Assembles the gRPC services into a router.

use std::sync::Arc;

use axum::{Router, routing::Route};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::Builder;
use tonic_web::GrpcWebLayer;
use tower::{Layer, layer::layer_fn, service_fn};

use super::{
    api::Api, health::HealthService, lazy::Lazy, list_services, options::GrpcOptions, protocol,
};
use crate::{
    app::App,
    proto::{DESCRIPTORS, METHODS, SERVICE, v1::ipvs_service_server::IpvsServiceServer},
};

/// Serves [`SERVICE`](crate::proto::SERVICE), `grpc.health.v1.Health` and server reflection (v1 and
/// v1alpha) over gRPC and grpc-web.
///
/// The router has no fallback, so that it can be merged with other routes. The caller passes only
/// POST requests with a [`media_type`](super::media_type) of gRPC. It passes requests for unknown
/// services, which [`is_grpc`](super::is_grpc) detects, to
/// [`unimplemented_fallback`](super::unimplemented_fallback).
pub fn router(app: App, options: GrpcOptions) -> Router {
    app.metrics().requests().set_grpc_routes(methods());
    let max_request_bytes = options.max_request_bytes;
    let api = Api {
        app,
        options: Arc::new(options),
    };
    let web = GrpcWebLayer::new();
    let health = HealthServer::new(HealthService::new(api.clone()));
    let list_services = list_services::route(api.clone());
    let ipvs = IpvsServiceServer::new(api).max_decoding_message_size(max_request_bytes);
    // The decoded definitions with their comments take half of the time of the start, and memory for what few
    // clients ask for.
    let reflection = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = Lazy::new(move || reflection().build_v1());
    let v1alpha = Lazy::new(move || reflection().build_v1alpha());
    Routes::new(web.layer(ipvs))
        .add_service(web.layer(health))
        .add_service(web.layer(v1))
        .add_service(web.layer(v1alpha))
        .prepare()
        .into_axum_router()
        .reset_fallback()
        .merge(list_services)
        .layer(layer_fn(|route: Route| {
            service_fn(move |request| protocol::complete(request, route.clone()))
        }))
}

/// The paths of all methods.
fn methods() -> Vec<String> {
    let sets = [
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let sets = sets
        .into_iter()
        .filter_map(|set| FileDescriptorSet::decode(set).ok());
    let own = METHODS.lines().map(|name| format!("/{SERVICE}/{name}"));
    let mut paths: Vec<_> = own.collect();
    for file in sets.flat_map(|set| set.file) {
        for service in &file.service {
            for method in &service.method {
                let (package, service) = (file.package(), service.name());
                paths.push(format!("/{package}.{service}/{}", method.name()));
            }
        }
    }
    paths
}

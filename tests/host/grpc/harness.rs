//! Starts the gRPC front end on a free port, with the fake kernel, and connects a client.

use std::{sync::Arc, time::Duration};

use ipvsd::{
    app::{App, AppOptions},
    executor::{Executor, ExecutorLimits},
    grpc::{GrpcOptions, router, unimplemented_fallback},
    kernel::FakeKernel,
    proto::v1::{self as pb, ipvs_service_client::IpvsServiceClient},
    server::Limits,
};
use prost_types::FieldMask;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

/// More than any step takes on a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A running front end with its fake kernel and a client.
pub struct Daemon {
    pub kernel: FakeKernel,
    pub channel: Channel,
    pub client: IpvsServiceClient<Channel>,
    pub address: String,
}

pub async fn start_daemon() -> Daemon {
    let options = GrpcOptions {
        request_timeout: TIMEOUT,
        ..Limits::default().grpc_options()
    };
    start_daemon_with(options, AppOptions::default()).await
}

pub async fn start_daemon_with(options: GrpcOptions, app: AppOptions) -> Daemon {
    let limits = ExecutorLimits::default();
    start_daemon_over(FakeKernel::new(), limits, options, app).await
}

pub async fn start_daemon_over(
    kernel: FakeKernel,
    limits: ExecutorLimits,
    options: GrpcOptions,
    app: AppOptions,
) -> Daemon {
    let executor = Executor::start(Arc::new(kernel.clone()), limits).unwrap();
    let app = App::new(executor, app);
    let router = router(app, options).fallback(unimplemented_fallback);
    let router = router.layer(axum::Extension(ipvsd::identity::Session::system()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let channel = Channel::from_shared(address.clone())
        .unwrap()
        .connect_lazy();
    Daemon {
        kernel,
        client: IpvsServiceClient::new(channel.clone()),
        channel,
        address,
    }
}

/// Awaits a future for at most [`TIMEOUT`].
pub async fn within_timeout<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(TIMEOUT, future)
        .await
        .expect("timed out")
}

pub fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub fn mask(paths: &[&str]) -> Option<FieldMask> {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    Some(FieldMask { paths })
}

/// A service with this id and defaults.
pub fn service(id: &str) -> pb::Service {
    pb::Service {
        id: id.to_owned(),
        ..pb::Service::default()
    }
}

/// A server with this id and forwarding method masquerade.
pub fn server(id: &str) -> pb::Server {
    pb::Server {
        id: id.to_owned(),
        forwarding: some("masquerade"),
        ..pb::Server::default()
    }
}

impl Daemon {
    /// Creates a service with masqueraded servers.
    pub async fn create_service(&mut self, id: &str, servers: &[&str]) -> pb::Service {
        let service = pb::Service {
            servers: servers.iter().map(|id| server(id)).collect(),
            ..service(id)
        };
        let request = pb::CreateServiceRequest {
            service: Some(service),
            ..pb::CreateServiceRequest::default()
        };
        let created = self.client.create_service(request).await.unwrap();
        created.into_inner().service.unwrap()
    }

    /// Reads a service with its servers.
    pub async fn get_service(&mut self, id: &str) -> pb::Service {
        let request = pb::GetServiceRequest {
            id: id.to_owned(),
            ..pb::GetServiceRequest::default()
        };
        let response = self.client.get_service(request).await.unwrap();
        response.into_inner().service.unwrap()
    }
}

/// Asserts that a call failed with this code, reason and fields at fault.
#[track_caller]
pub fn assert_rejected<T: std::fmt::Debug>(
    outcome: Result<T, Status>,
    code: Code,
    reason: &str,
    fields: &[&str],
) -> Status {
    let status = outcome.expect_err("the call should fail");
    let details = status.get_error_details();
    let info = details.error_info().expect("has an ErrorInfo");
    assert_eq!(
        (status.code(), info.reason.as_str()),
        (code, reason),
        "{status:?}"
    );
    assert_eq!(info.domain, "ipvsd");
    let violations: Vec<_> = details
        .bad_request()
        .map(|bad| {
            bad.field_violations
                .iter()
                .map(|v| v.field.as_str())
                .collect()
        })
        .unwrap_or_default();
    assert_eq!(violations, fields, "{status:?}");
    status
}

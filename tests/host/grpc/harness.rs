//! A daemon's gRPC face on a free port with a fake kernel below it, and a client.

use std::{sync::Arc, time::Duration};

use ipvsd::{
    app::{App, AppOptions},
    executor::{Executor, ExecutorLimits},
    grpc::{GrpcOptions, router, unimplemented_fallback},
    kernel::FakeKernel,
    proto::v1::{self as pb, ipvs_client::IpvsClient},
    server::Limits,
};
use prost_types::FieldMask;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// What a test plays with.
pub struct Stage {
    pub kernel: FakeKernel,
    pub channel: Channel,
    pub client: IpvsClient<Channel>,
    pub address: String,
}

pub async fn stage() -> Stage {
    stage_with(Limits::default().grpc_options(), AppOptions::default()).await
}

pub async fn stage_with(options: GrpcOptions, app: AppOptions) -> Stage {
    let kernel = FakeKernel::new();
    let executor = Executor::start(Arc::new(kernel.clone()), ExecutorLimits::default()).unwrap();
    let app = App::new(executor, app);
    let router = router(app, options).fallback(unimplemented_fallback);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let channel = Channel::from_shared(address.clone())
        .unwrap()
        .connect_lazy();
    Stage {
        kernel,
        client: IpvsClient::new(channel.clone()),
        channel,
        address,
    }
}

/// Finishes what should finish, or fails.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future)
        .await
        .expect("did not happen in time")
}

pub fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub fn mask(paths: &[&str]) -> Option<FieldMask> {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    Some(FieldMask { paths })
}

/// A service by its id.
pub fn service(id: &str) -> pb::Service {
    pb::Service {
        id: id.to_owned(),
        ..pb::Service::default()
    }
}

/// A masqueraded server by its id.
pub fn server(id: &str) -> pb::Server {
    pb::Server {
        id: id.to_owned(),
        forwarding: text("masquerade"),
        ..pb::Server::default()
    }
}

impl Stage {
    /// Creates a service with masqueraded servers.
    pub async fn given(&mut self, id: &str, servers: &[&str]) -> pb::Service {
        let service = pb::Service {
            servers: servers.iter().map(|id| server(id)).collect(),
            ..service(id)
        };
        let request = pb::CreateServiceRequest {
            service: Some(service),
        };
        let created = self.client.create_service(request).await.unwrap();
        created.into_inner().service.unwrap()
    }

    /// The service as it is, with its servers.
    pub async fn service(&mut self, id: &str) -> pb::Service {
        let request = pb::GetServiceRequest {
            id: id.to_owned(),
            ..pb::GetServiceRequest::default()
        };
        let answer = self.client.get_service(request).await.unwrap();
        answer.into_inner().service.unwrap()
    }
}

/// That a call was refused with this code, for this reason, because of these fields.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(
    outcome: Result<T, Status>,
    code: Code,
    reason: &str,
    fields: &[&str],
) -> Status {
    let status = outcome.expect_err("should have been refused");
    let details = status.get_error_details();
    let info = details.error_info().expect("has an ErrorInfo");
    assert_eq!(
        (status.code(), info.reason.as_str()),
        (code, reason),
        "{status:?}"
    );
    assert_eq!(info.domain, "ipvsd");
    let told: Vec<_> = details
        .bad_request()
        .map(|bad| {
            bad.field_violations
                .iter()
                .map(|v| v.field.as_str())
                .collect()
        })
        .unwrap_or_default();
    assert_eq!(told, fields, "{status:?}");
    status
}

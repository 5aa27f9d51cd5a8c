//! Every operation of the model is available over gRPC.

use std::collections::BTreeMap;

use ipvsd::{
    model::{
        Family, Labels, Name, Op, ServerConfig, ServiceConfig, StoredFields, SyncDaemonConfig,
        SyncDaemonDraft, SyncState, Timeouts,
    },
    proto::v1 as pb,
};

use super::harness::{Daemon, server, service, some, start_daemon};

const WEB: &str = "tcp-192.0.2.1-80";
const ONE: &str = "192.168.10.1-80";

fn ops() -> [Op; 14] {
    let (key, one) = (WEB.parse().unwrap(), ONE.parse().unwrap());
    let mut config = ServiceConfig::new(Family::Ipv4);
    config.scheduler = Name::from_kernel(b"rr");
    let weighed = ServerConfig {
        weight: 7,
        ..ServerConfig::default()
    };
    let mut daemon = SyncDaemonDraft::default();
    daemon.interface = ipvsd::model::Field::Set("eth0".to_owned());
    let daemon: SyncDaemonConfig = daemon.config(SyncState::Backup).unwrap();
    let labels = [("team".to_owned(), "web".to_owned())];
    let labels = Labels::from(BTreeMap::from(labels));
    let timeouts = Timeouts {
        udp_seconds: 7,
        ..Timeouts::DEFAULT
    };
    [
        Op::CreateService(
            key,
            ServiceConfig::new(Family::Ipv4),
            StoredFields::default(),
        ),
        Op::SetService(key, config),
        Op::SetStored(key, labels.into()),
        Op::CreateServer(key, one, ServerConfig::default()),
        Op::SetServer(key, one, weighed),
        Op::ZeroService(key),
        Op::ZeroAll,
        Op::DeleteServer(key, one),
        Op::DeleteService(key),
        Op::Clear,
        Op::SetTimeouts(timeouts),
        Op::StartSyncDaemon(daemon),
        Op::StopSyncDaemon(SyncState::Backup),
        Op::SetSetting {
            name: "drop_entry",
            text: "1".to_owned(),
        },
    ]
}

/// Executes an operation over gRPC and returns the number of the kernel command that it uses, `None`
/// for a setting, which is a file. The match is exhaustive, so that a new operation must be added
/// here.
async fn perform(daemon: &mut Daemon, op: Op) -> Option<u8> {
    let client = &mut daemon.client;
    Some(match op {
        Op::CreateService(key, _, _) => {
            let request = pb::CreateServiceRequest {
                service: Some(service(&key.to_string())),
                ..pb::CreateServiceRequest::default()
            };
            client.create_service(request).await.unwrap();
            1
        }
        Op::SetStored(key, stored) => {
            let request = pb::UpdateServiceRequest {
                service: Some(pb::Service {
                    labels: stored.labels.to_map(),
                    ..service(&key.to_string())
                }),
                ..pb::UpdateServiceRequest::default()
            };
            client.update_service(request).await.unwrap();
            return None;
        }
        Op::SetService(key, config) => {
            let request = pb::UpdateServiceRequest {
                service: Some(pb::Service {
                    scheduler: Some(config.scheduler.to_string()),
                    ..service(&key.to_string())
                }),
                ..pb::UpdateServiceRequest::default()
            };
            client.update_service(request).await.unwrap();
            2
        }
        Op::DeleteService(key) => {
            let request = pb::DeleteServiceRequest {
                id: key.to_string(),
                ..pb::DeleteServiceRequest::default()
            };
            client.delete_service(request).await.unwrap();
            3
        }
        Op::CreateServer(service, key, _) => {
            let request = pb::CreateServerRequest {
                service: service.to_string(),
                server: Some(server(&key.to_string())),
                ..pb::CreateServerRequest::default()
            };
            client.create_server(request).await.unwrap();
            5
        }
        Op::SetServer(service, key, config) => {
            let request = pb::UpdateServerRequest {
                service: service.to_string(),
                server: Some(pb::Server {
                    id: key.to_string(),
                    weight: Some(config.weight),
                    ..pb::Server::default()
                }),
                ..pb::UpdateServerRequest::default()
            };
            client.update_server(request).await.unwrap();
            6
        }
        Op::DeleteServer(service, key) => {
            let request = pb::DeleteServerRequest {
                service: service.to_string(),
                id: key.to_string(),
                ..pb::DeleteServerRequest::default()
            };
            client.delete_server(request).await.unwrap();
            7
        }
        Op::Clear => {
            daemon.create_service(WEB, &[]).await;
            let request = pb::ClearServicesRequest {
                confirm: Some(1),
                ..pb::ClearServicesRequest::default()
            };
            daemon.client.clear_services(request).await.unwrap();
            17
        }
        Op::ZeroAll => {
            client
                .zero_counters(pb::ZeroCountersRequest::default())
                .await
                .unwrap();
            16
        }
        Op::ZeroService(key) => {
            let request = pb::ZeroCountersRequest {
                service: key.to_string(),
                ..pb::ZeroCountersRequest::default()
            };
            client.zero_counters(request).await.unwrap();
            16
        }
        Op::SetTimeouts(timeouts) => {
            let request = pb::SetTimeoutsRequest {
                timeouts: Some(pb::Timeouts {
                    udp_seconds: Some(timeouts.udp_seconds),
                    ..pb::Timeouts::default()
                }),
                ..pb::SetTimeoutsRequest::default()
            };
            client.set_timeouts(request).await.unwrap();
            12
        }
        Op::StartSyncDaemon(config) => {
            let request = pb::StartSyncDaemonRequest {
                sync_daemon: Some(pb::SyncDaemon {
                    state: config.state.to_string(),
                    interface: some("eth0"),
                    ..pb::SyncDaemon::default()
                }),
                ..pb::StartSyncDaemonRequest::default()
            };
            client.start_sync_daemon(request).await.unwrap();
            9
        }
        Op::StopSyncDaemon(state) => {
            let request = pb::StopSyncDaemonRequest {
                state: state.to_string(),
                ..pb::StopSyncDaemonRequest::default()
            };
            client.stop_sync_daemon(request).await.unwrap();
            10
        }
        Op::SetSetting { name, text } => {
            let value = pb::SettingValue {
                kind: Some(pb::setting_value::Kind::Integer(text.parse().unwrap())),
            };
            let settings = [(name.to_owned(), value)].into();
            let request = pb::UpdateSettingsRequest {
                settings,
                ..pb::UpdateSettingsRequest::default()
            };
            assert!(
                client
                    .update_settings(request)
                    .await
                    .unwrap()
                    .into_inner()
                    .changed
            );
            return None;
        }
    })
}

#[tokio::test]
async fn every_operation_is_reachable() {
    let mut daemon = start_daemon().await;
    for op in ops() {
        daemon.kernel.reset_counts();
        let description = format!("{op:?}");
        if let Some(command) = perform(&mut daemon, op).await {
            assert_eq!(daemon.kernel.commands(command), 1, "{description}");
        }
    }
}

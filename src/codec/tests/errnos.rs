//! The meaning of an errno depends on the operation.

use super::*;

fn service() -> (ServiceKey, ServiceConfig) {
    (
        key("tcp-192.0.2.1-80"),
        ServiceConfig {
            scheduler: name("mh"),
            persistence_engine: Some(name("sip")),
            ..ServiceConfig::new(Family::Ipv4)
        },
    )
}

fn daemon() -> SyncDaemonConfig {
    SyncDaemonConfig {
        state: SyncState::Backup,
        interface: name("eth9"),
        sync_id: 0,
        max_length: None,
        multicast_group: "224.0.0.81".parse().unwrap(),
        multicast_port: 8848,
        multicast_ttl: 1,
    }
}

#[test]
fn each_errno_has_a_reason_per_operation() {
    let (key, config) = service();
    let server = server_key("10.0.0.1-80");
    let foreign = server_key("2001:db8::1-80");
    let create = Op::CreateServer(key, server, ServerConfig::default());
    let create_foreign = Op::CreateServer(key, foreign, ServerConfig::default());
    let set = Op::SetServer(key, server, ServerConfig::default());
    let start = Op::StartSyncDaemon(daemon());
    let timeouts = Op::SetTimeouts(Timeouts::DEFAULT);
    for (op, errno, reason, field) in [
        (
            Op::CreateService(key, config, StoredFields::default()),
            17,
            Reason::ServiceExists,
            None,
        ),
        (create.clone(), 17, Reason::ServerExists, None),
        (start.clone(), 17, Reason::SyncDaemonRunning, None),
        (
            Op::StopSyncDaemon(SyncState::Backup),
            3,
            Reason::SyncDaemonNotRunning,
            None,
        ),
        (
            Op::SetService(key, config),
            3,
            Reason::ServiceNotFound,
            None,
        ),
        (Op::DeleteService(key), 3, Reason::ServiceNotFound, None),
        (Op::ZeroService(key), 3, Reason::ServiceNotFound, None),
        (create.clone(), 3, Reason::ServiceNotFound, None),
        (
            Op::DeleteServer(key, server),
            3,
            Reason::ServiceNotFound,
            None,
        ),
        (
            Op::DeleteServer(key, server),
            2,
            Reason::ServerNotFound,
            None,
        ),
        (set.clone(), 2, Reason::ServerNotFound, None),
        (
            Op::CreateService(key, config, StoredFields::default()),
            2,
            Reason::SchedulerUnavailable,
            Some("scheduler"),
        ),
        (
            Op::SetService(key, config),
            2,
            Reason::SchedulerUnavailable,
            Some("scheduler"),
        ),
        (
            start.clone(),
            19,
            Reason::InvalidArgument,
            Some("interface"),
        ),
        (
            start.clone(),
            101,
            Reason::InvalidArgument,
            Some("interface"),
        ),
        (
            start.clone(),
            99,
            Reason::InvalidArgument,
            Some("interface"),
        ),
        (start.clone(), 22, Reason::SyncDaemonConflict, None),
        (create_foreign, 22, Reason::SyncDaemonConflict, None),
        (create.clone(), 22, Reason::InvalidArgument, Some("address")),
        (timeouts, 22, Reason::InvalidArgument, None),
        (create.clone(), 34, Reason::InvalidArgument, None),
        (set, 34, Reason::InvalidArgument, None),
        (
            Op::CreateService(key, config, StoredFields::default()),
            97,
            Reason::UnsupportedByKernel,
            None,
        ),
        (Op::Clear, 95, Reason::UnsupportedByKernel, None),
        (create, 12, Reason::Internal, None),
        (Op::ZeroAll, 5, Reason::Internal, None),
        (Op::Clear, 3, Reason::Internal, None),
    ] {
        let error = rejected(&op, Errno(errno), false);
        assert_eq!(error.reason, reason, "{op:?} {errno}");
        assert_eq!(error.errno, Some(Errno(errno)));
        let violation = error.violations.first().map(|v| v.field.as_str());
        assert_eq!(violation, field, "{op:?} {errno}");
        assert!(!error.detail.is_empty());
    }
}

#[test]
fn a_missing_module_has_a_modprobe_hint() {
    let (key, config) = service();
    let op = Op::CreateService(key, config, StoredFields::default());
    let scheduler = rejected(&op, Errno::ENOENT, false);
    assert!(scheduler.hint.unwrap().ends_with("modprobe ip_vs_mh"));
    let engine = rejected(&op, Errno::ENOENT, true);
    assert_eq!(engine.reason, Reason::PersistenceEngineUnavailable);
    assert_eq!(engine.violations[0].field, "persistence_engine");
    assert!(engine.hint.unwrap().ends_with("modprobe ip_vs_pe_sip"));
    let without = ServiceConfig {
        persistence_engine: None,
        ..config
    };
    let op = Op::CreateService(key, without, StoredFields::default());
    assert_eq!(
        rejected(&op, Errno::ENOENT, true).reason,
        Reason::SchedulerUnavailable
    );
}

//! The kernel's errnos as errors, per operation. IPVS sends no extended acknowledgement.

use crate::model::{
    Errno, Error, Family, Op, Reason, ServerKey, ServiceConfig, SyncDaemonConfig, Violation,
};

/// The error for an operation that the kernel rejected. ENOENT of a service means that either the
/// scheduler or the persistence engine is missing; `scheduler_exists` says that it is the engine.
pub fn rejected(op: &Op, errno: Errno, scheduler_exists: bool) -> Error {
    let error = match (errno, op) {
        (Errno::EEXIST, Op::CreateService(key, ..)) => Error::service_exists(*key),
        (Errno::EEXIST, Op::CreateServer(key, server, _)) => Error::server_exists(*key, *server),
        (Errno::EEXIST, Op::StartSyncDaemon(config)) => Error::sync_daemon_running(config.state),
        (Errno::ESRCH, Op::StopSyncDaemon(state)) => Error::sync_daemon_not_running(*state),
        (Errno::ESRCH, op) => match op.service() {
            Some(key) => Error::service_not_found(key),
            None => unexpected(op, errno),
        },
        (Errno::ENOENT, Op::CreateService(_, config, _) | Op::SetService(_, config)) => {
            module_missing(config, scheduler_exists)
        }
        (Errno::ENOENT, Op::SetServer(key, server, _) | Op::DeleteServer(key, server)) => {
            Error::server_not_found(*key, *server)
        }
        (Errno::ENODEV | Errno(99..=101 | 113) | Errno::EINVAL, Op::StartSyncDaemon(config)) => {
            sync_daemon_failed(config, errno)
        }
        (Errno::EINVAL, Op::CreateServer(key, server, _) | Op::SetServer(key, server, _))
            if Family::of(server.address) != key.family() =>
        {
            Error::new(
                Reason::SyncDaemonConflict,
                "a real server of another address family than its service is not allowed while \
                 a sync daemon is running",
            )
            .with_hint("stop the sync daemons first")
        }
        (Errno::EINVAL, Op::CreateServer(_, server, _)) => address_not_unicast(*server),
        (Errno::EINVAL, Op::SetTimeouts(_)) => Error::new(
            Reason::InvalidArgument,
            "a timeout exceeds the maximum of this kernel, which depends on HZ",
        )
        .with_hint("all kernels accept up to 2147483 seconds (24 days)"),
        (Errno::ERANGE, Op::CreateServer(..) | Op::SetServer(..)) => Error::new(
            Reason::InvalidArgument,
            "weight is greater than 2147483647, or lower_threshold is greater than \
             upper_threshold",
        ),
        (Errno::EAFNOSUPPORT, _) => Error::new(
            Reason::UnsupportedByKernel,
            "the kernel does not support IPVS for this address family",
        )
        .with_hint("on the director: check that IPv6 is enabled (boot option ipv6.disable=1?)"),
        (Errno::EOPNOTSUPP, _) => Error::new(
            Reason::UnsupportedByKernel,
            "the kernel does not support the operation",
        ),
        (Errno::ENOMEM, _) => Error::new(Reason::Internal, "the kernel is out of memory"),
        _ => unexpected(op, errno),
    };
    error.with_errno(errno)
}

fn module_missing(config: &ServiceConfig, scheduler_exists: bool) -> Error {
    match config.persistence_engine {
        Some(engine) if scheduler_exists => Error::new(
            Reason::PersistenceEngineUnavailable,
            format!("the kernel has no persistence engine {engine}"),
        )
        .with_violation(
            "persistence_engine",
            "no such engine, or its module is not available",
        )
        .with_hint(format!("on the director: modprobe ip_vs_pe_{engine}")),
        _ => Error::new(
            Reason::SchedulerUnavailable,
            format!("the kernel has no scheduler {}", config.scheduler),
        )
        .with_violation(
            "scheduler",
            "no such scheduler, or its module is not available",
        )
        .with_hint(format!(
            "on the director: modprobe ip_vs_{}",
            config.scheduler
        )),
    }
}

fn address_not_unicast(server: ServerKey) -> Error {
    Error::invalid(
        "address",
        format!(
            "{} is not a unicast address according to the director's routes",
            server.address
        ),
    )
    .with_hint(
        "a broadcast address or a link-local address of another host cannot be a real server; \
         in a network namespace without addresses, first run: ip link set lo up",
    )
}

fn sync_daemon_failed(config: &SyncDaemonConfig, errno: Errno) -> Error {
    let SyncDaemonConfig {
        interface,
        multicast_group,
        ..
    } = config;
    match errno {
        Errno::ENODEV => Error::no_interface(*interface),
        Errno::EINVAL => Error::new(
            Reason::SyncDaemonConflict,
            "a sync daemon cannot run while a virtual service has a real server of another \
             address family",
        )
        .with_hint("delete the real servers of the other address family first"),
        _ => Error::from_violations(vec![Violation::new(
            "interface",
            format!(
                "{interface} cannot send to {multicast_group}: it is down, or has no address \
                 of that family"
            ),
        )])
        .with_hint(format!("on the director: ip link set {interface} up")),
    }
}

fn unexpected(op: &Op, errno: Errno) -> Error {
    match errno {
        Errno::EINVAL => Error::new(
            Reason::InvalidArgument,
            "the kernel rejected a value without naming it",
        ),
        _ => Error::new(
            Reason::Internal,
            format!("the kernel returned {errno} for {op:?}"),
        ),
    }
}

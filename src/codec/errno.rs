//! What the kernel's errno means for each operation, in words. It sends no words itself.

use crate::model::{Errno, Error, Family, Op, Reason, ServiceKey, SyncState, Violation};

/// The kernel's refusal of an operation as the error that a client sees. ENOENT of a service means
/// its scheduler or its engine: `scheduler_is_there` says that it is not the scheduler.
pub fn rejected(op: &Op, errno: Errno, scheduler_is_there: bool) -> Error {
    let error = match (errno, op) {
        (Errno::EEXIST, Op::CreateService(key, _)) => Error::new(
            Reason::ServiceExists,
            format!("the virtual service {key} exists already"),
        )
        .with_hint("replace or update it instead"),
        (Errno::EEXIST, Op::CreateServer(key, server, _)) => Error::new(
            Reason::ServerExists,
            format!("{key} has the real server {server} already, maybe with another forwarding"),
        )
        .with_hint("replace or update it instead"),
        (Errno::EEXIST, Op::StartSyncDaemon(config)) => sync_daemon_runs(config.state),
        (Errno::ESRCH, Op::StopSyncDaemon(state)) => no_sync_daemon(*state),
        (Errno::ESRCH, op) => match op.service() {
            Some(key) => no_service(key),
            None => unexpected(op, errno),
        },
        (Errno::ENOENT, Op::CreateService(_, config) | Op::SetService(_, config)) => {
            match config.persistence_engine {
                Some(engine) if scheduler_is_there => Error::new(
                    Reason::PersistenceEngineUnavailable,
                    format!("the kernel has no persistence engine {engine}"),
                )
                .with_violation(
                    "persistence_engine",
                    "no such engine, or its module is missing",
                )
                .with_hint(format!("check on the director: modprobe ip_vs_pe_{engine}")),
                _ => Error::new(
                    Reason::SchedulerUnavailable,
                    format!("the kernel has no scheduler {}", config.scheduler),
                )
                .with_violation("scheduler", "no such scheduler, or its module is missing")
                .with_hint(format!(
                    "check on the director: modprobe ip_vs_{}",
                    config.scheduler
                )),
            }
        }
        (Errno::ENOENT, Op::SetServer(key, server, _) | Op::DeleteServer(key, server)) => {
            Error::new(
                Reason::ServerNotFound,
                format!("{key} has no real server {server}"),
            )
        }
        (Errno::ENODEV, Op::StartSyncDaemon(config)) => {
            Error::from_violations(vec![Violation::new(
                "interface",
                format!("the director has no {}", config.interface),
            )])
        }
        (Errno(99..=101 | 113), Op::StartSyncDaemon(config)) => {
            Error::from_violations(vec![Violation::new(
                "interface",
                format!(
                    "{} cannot reach {}: it is down, or has no address of that family",
                    config.interface, config.multicast_group
                ),
            )])
            .with_hint(format!(
                "on the director: ip link set {} up",
                config.interface
            ))
        }
        (Errno::EINVAL, Op::StartSyncDaemon(_)) => Error::new(
            Reason::SyncDaemonConflict,
            "a sync daemon cannot run while a virtual service has a real server of the other \
             address family",
        )
        .with_hint("delete the servers of the other family first"),
        (Errno::EINVAL, Op::CreateServer(key, server, _) | Op::SetServer(key, server, _))
            if Family::of(server.address) != key.family() =>
        {
            Error::new(
                Reason::SyncDaemonConflict,
                "a real server of the other address family cannot be while a sync daemon runs",
            )
            .with_hint("stop the sync daemons first")
        }
        (Errno::EINVAL, Op::CreateServer(_, server, _)) => Error::invalid(
            "address",
            format!(
                "the director's routes do not have {} as a unicast address",
                server.address
            ),
        )
        .with_hint(
            "a subnet's broadcast address, or a link-local one of another host, cannot be a real \
             server; a namespace without any address (ip link set lo up) refuses all",
        ),
        (Errno::EINVAL, Op::SetTimeouts(_)) => Error::new(
            Reason::InvalidArgument,
            "a timeout is longer than this kernel's clock can count",
        )
        .with_hint("2147483 seconds (24 days) fit any kernel"),
        (Errno::ERANGE, Op::CreateServer(..) | Op::SetServer(..)) => Error::new(
            Reason::InvalidArgument,
            "the weight is above 2147483647, or the lower threshold above the upper",
        ),
        (Errno::EAFNOSUPPORT, _) => Error::new(
            Reason::UnsupportedByKernel,
            "this kernel does not do IPVS for this address family",
        )
        .with_hint("IPv6 may be switched off on the director (ipv6.disable=1)"),
        (Errno::EOPNOTSUPP, _) => Error::new(
            Reason::UnsupportedByKernel,
            "this kernel does not know the operation",
        ),
        (Errno::ENOMEM, _) => Error::new(Reason::Internal, "the kernel is out of memory"),
        _ => unexpected(op, errno),
    };
    error.with_errno(errno)
}

/// There is no such service.
fn no_service(key: ServiceKey) -> Error {
    Error::new(
        Reason::ServiceNotFound,
        format!("there is no virtual service {key}"),
    )
}

/// A daemon that does not run.
fn no_sync_daemon(state: SyncState) -> Error {
    Error::new(
        Reason::SyncDaemonNotRunning,
        format!("no {state} sync daemon runs"),
    )
}

/// A daemon that runs already.
fn sync_daemon_runs(state: SyncState) -> Error {
    Error::new(
        Reason::SyncDaemonRunning,
        format!("a {state} sync daemon runs already"),
    )
    .with_hint("stop it first, or ask for it to be replaced")
}

fn unexpected(op: &Op, errno: Errno) -> Error {
    match errno {
        Errno::EINVAL => Error::new(
            Reason::InvalidArgument,
            "the kernel refuses a value that it does not name",
        ),
        _ => Error::new(
            Reason::Internal,
            format!("the kernel refused with {errno}: {op:?}"),
        ),
    }
}

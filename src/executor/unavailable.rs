//! Errors of a kernel that is unavailable, or unavailable to this process.

use std::{io, path::Path};

use super::request::ReadError;
use crate::model::{Errno, Error, Reason, SettingSpec};

/// No socket could be opened.
pub fn no_socket(error: ReadError) -> Error {
    match error {
        ReadError::Rejected(Errno::ENOENT) => Error::new(
            Reason::KernelUnavailable,
            "the kernel has no IPVS: the module ip_vs is not loaded",
        )
        .with_errno(Errno::ENOENT)
        .with_hint("on the director, as root: modprobe ip_vs"),
        ReadError::Rejected(errno) => rejected(errno),
        error => broken(error),
    }
}

/// A file below `/proc` exists and cannot be read.
pub fn file(path: &str, error: io::Error) -> Error {
    let errno = error.raw_os_error().map(Errno);
    let unreadable = errno.and_then(no_descriptor).unwrap_or_else(|| {
        let detail = format!("the file /proc/{path} cannot be read: {error}");
        Error::new(Reason::KernelUnavailable, detail)
    });
    let unreadable = unreadable.with_source(error);
    match errno {
        Some(errno) => unreadable.with_errno(errno),
        None => unreadable,
    }
}

/// Nothing can be opened, for a reason that has nothing to do with IPVS.
fn no_descriptor(errno: Errno) -> Option<Error> {
    let (detail, hint) = match errno {
        Errno::EMFILE => (
            "ipvsd has no free file descriptor",
            "retry; if the error persists, raise its limit on open files (LimitNOFILE=, ulimit -n), \
             or lower limits.max_connections",
        ),
        Errno::ENFILE => (
            "the director has no free file descriptor",
            "retry; if the error persists, end the program that has opened too many files on the \
             director, or raise fs.file-max (sysctl)",
        ),
        _ => return None,
    };
    let error = Error::new(Reason::KernelUnavailable, detail);
    Some(error.with_errno(errno).with_hint(hint))
}

/// The managed network namespace cannot be entered.
pub fn namespace(name: &str, error: io::Error) -> Error {
    let errno = error.raw_os_error().map(Errno);
    if let Some(unavailable) = errno.and_then(no_descriptor) {
        return unavailable.with_source(error);
    }
    let (detail, hint) = match errno {
        Some(Errno::ENOENT) => (
            format!("the network namespace {name} does not exist"),
            match name.starts_with('/') {
                true => "ipvsd enters it when the file appears".to_owned(),
                false => {
                    format!("on the director, as root: ip netns add {name}; ipvsd waits for it")
                }
            },
        ),
        Some(Errno::EPERM) => (
            format!("ipvsd may not enter the network namespace {name}"),
            "run ipvsd as root, or with AmbientCapabilities=CAP_NET_ADMIN CAP_SYS_ADMIN in its \
             systemd unit"
                .to_owned(),
        ),
        _ => (
            format!("the network namespace {name} cannot be entered"),
            format!(
                "check on the director that it is one: nsenter --net={} true",
                Path::new("/run/netns").join(name).display()
            ),
        ),
    };
    let unavailable = Error::new(Reason::KernelUnavailable, detail)
        .with_hint(hint)
        .with_source(error);
    match errno {
        Some(errno) => unavailable.with_errno(errno),
        None => unavailable,
    }
}

/// Another network namespace has got the managed name since a change was planned or sent. It was not
/// changed.
pub fn namespace_replaced(name: &str, executed: bool) -> Error {
    let detail = match executed {
        true => {
            "the change was executed in the old one; the one that has the name now was not changed"
        }
        false => "nothing was changed",
    };
    Error::new(
        Reason::KernelUnavailable,
        format!("the network namespace {name} was deleted during the request: {detail}"),
    )
    .with_hint("retry; `ip netns list` shows the namespaces of the director")
}

/// The kernel rejected a request that it rejects only for lack of privilege or support.
pub fn rejected(errno: Errno) -> Error {
    match errno {
        Errno::EPERM => Error::new(
            Reason::KernelUnavailable,
            "ipvsd lacks CAP_NET_ADMIN in the initial user namespace",
        )
        .with_hint(
            "run ipvsd as root, with AmbientCapabilities=CAP_NET_ADMIN in its systemd unit, or in a \
             container with NET_ADMIN; a user namespace's root is not enough",
        ),
        Errno::ENOPROTOOPT => Error::new(
            Reason::KernelUnavailable,
            "the module ip_vs is being unloaded",
        )
        .with_hint("on the director, as root: modprobe ip_vs"),
        Errno::EOPNOTSUPP => Error::new(
            Reason::UnsupportedByKernel,
            "this kernel does not support the request",
        ),
        errno => Error::new(
            Reason::Internal,
            format!("the kernel rejected the request with {errno}"),
        ),
    }
    .with_errno(errno)
}

/// The socket failed twice in a row.
pub fn broken(error: ReadError) -> Error {
    let errno = match &error {
        ReadError::Broken(error) => error.raw_os_error().map(Errno),
        _ => None,
    };
    if let Some(unavailable) = errno.and_then(no_descriptor) {
        return unavailable.with_source(error);
    }
    let unavailable = Error::new(Reason::KernelUnavailable, "no reply from the kernel")
        .with_hint("retry; if the error persists, read the director's kernel log (dmesg)")
        .with_source(error);
    match errno {
        Some(errno) => unavailable.with_errno(errno),
        None => unavailable,
    }
}

/// A setting could not be written.
pub fn setting(name: &str, errno: Errno) -> Error {
    if let Some(unavailable) = no_descriptor(errno) {
        return unavailable;
    }
    let error = match errno {
        Errno::ENOENT => Error::new(
            Reason::UnsupportedByKernel,
            format!("this kernel has no setting {name}"),
        )
        .with_violation(name, "is not a setting of this kernel"),
        // Each parser of the kernel has its own errnos: that of est_cpulist has the first three.
        Errno::EINVAL | Errno::ERANGE | Errno(libc::EOVERFLOW | libc::E2BIG | libc::EDOM) => {
            let error = Error::invalid(name, "the kernel rejects this value");
            match SettingSpec::find(name) {
                Some(spec) => error.with_hint(spec.doc),
                None => error,
            }
        }
        Errno::EPERM | Errno(libc::EACCES) => Error::new(
            Reason::KernelUnavailable,
            format!("ipvsd has no permission to write the setting {name}"),
        )
        .with_hint(
            "run ipvsd as root: the files of the settings belong to root; a setting that all network \
             namespaces share (debug_level) is read-only in all but the first",
        ),
        Errno(libc::EROFS) => Error::new(
            Reason::KernelUnavailable,
            format!("the setting {name} was not written: /proc/sys is read-only for ipvsd"),
        )
        .with_hint(
            "remove ProtectKernelTunables= from its systemd unit, or give its container a writable \
             /proc/sys",
        ),
        Errno(libc::EBUSY | libc::EAGAIN | libc::EINTR) => Error::new(
            Reason::KernelUnavailable,
            format!("the setting {name} was not written: the kernel is busy"),
        )
        .with_hint("retry"),
        Errno::ENOMEM => Error::new(Reason::Internal, "the kernel is out of memory"),
        errno => Error::new(
            Reason::Internal,
            format!("the setting {name} was not written: {errno}"),
        ),
    };
    error.with_errno(errno)
}

/// The error for an operation whose reply is lost.
pub(super) fn lost_reply(outcome: &str) -> Error {
    Error::new(
        Reason::DeadlineExceeded,
        format!("kernel reply lost; {outcome}"),
    )
    .with_hint("read the current state before retrying")
}

//! What is said when the kernel does not answer at all, or not to us.

use std::io;

use super::link::AskError;
use crate::model::{Errno, Error, Reason};

/// No socket could be had.
pub fn no_link(error: AskError) -> Error {
    match error {
        AskError::Refused(Errno::ENOENT) => Error::new(
            Reason::KernelUnavailable,
            "the kernel has no IPVS: the module ip_vs is not loaded",
        )
        .with_errno(Errno::ENOENT)
        .with_hint("on the director, as root: modprobe ip_vs"),
        AskError::Refused(errno) => refused(errno),
        error => broken(error),
    }
}

/// The kernel refused what it refuses nobody who may ask.
pub fn refused(errno: Errno) -> Error {
    match errno {
        Errno::EPERM => Error::new(
            Reason::KernelUnavailable,
            "ipvsd may not manage IPVS: it lacks CAP_NET_ADMIN in the initial user namespace",
        )
        .with_hint(
            "run ipvsd as root, or with AmbientCapabilities=CAP_NET_ADMIN in its systemd unit; a \
             user namespace's root is not enough",
        ),
        Errno::ENOPROTOOPT => Error::new(
            Reason::KernelUnavailable,
            "the module ip_vs is being unloaded",
        )
        .with_hint("on the director, as root: modprobe ip_vs"),
        Errno::EOPNOTSUPP => Error::new(
            Reason::UnsupportedByKernel,
            "this kernel does not know the question",
        ),
        errno => Error::new(Reason::Internal, format!("the kernel refused with {errno}")),
    }
    .with_errno(errno)
}

/// The socket failed twice in a row.
pub fn broken(error: AskError) -> Error {
    let detail = format!("no answer from the kernel: {error}");
    let answer = Error::new(Reason::KernelUnavailable, detail)
        .with_hint("try again; if it lasts, look at the director's kernel log (dmesg)");
    match error {
        AskError::Broken(error) => match error.raw_os_error() {
            Some(errno) => answer.with_errno(Errno(errno)),
            None => answer,
        },
        _ => answer,
    }
}

/// A setting could not be written.
pub fn setting(path: &str, error: &io::Error) -> Error {
    let name = path.rsplit('/').next().unwrap_or(path);
    let errno = error.raw_os_error().map(Errno);
    let answer = match (error.kind(), errno) {
        (io::ErrorKind::NotFound, _) => Error::new(
            Reason::UnsupportedByKernel,
            format!("this kernel has no setting {name}"),
        )
        .with_violation(name, "this kernel does not have it"),
        (_, Some(Errno::EINVAL)) => Error::invalid(name, "the kernel refuses this value"),
        (io::ErrorKind::PermissionDenied, _) => Error::new(
            Reason::KernelUnavailable,
            format!("ipvsd may not write the setting {name}"),
        )
        .with_hint("settings belong to root: run ipvsd as root"),
        _ => Error::new(
            Reason::Internal,
            format!("the setting {name} was not written: {error}"),
        ),
    };
    match errno {
        Some(errno) => answer.with_errno(errno),
        None => answer,
    }
}

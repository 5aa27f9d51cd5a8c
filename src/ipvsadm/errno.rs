//! ipvsadm's messages for errors of the kernel.

use std::{borrow::Cow, io};

use crate::model::{Errno, Op};

/// ipvsadm's message when the kernel rejects `op` with `errno`; `None` for a listing.
pub fn errno_message(op: Option<&Op>, errno: Errno) -> Cow<'static, str> {
    let message = match (errno, op) {
        (Errno::EEXIST, Some(Op::CreateService(..))) => Some("Service already exists"),
        (Errno::EEXIST, Some(Op::CreateServer(..))) => Some("Destination already exists"),
        (Errno::EEXIST, Some(Op::StartSyncDaemon(_))) => Some("Daemon has already run"),
        (Errno::ENOENT, Some(Op::CreateService(..) | Op::SetService(..))) => {
            Some("Scheduler or persistence engine not found")
        }
        (Errno::ENOENT, Some(Op::SetServer(..) | Op::DeleteServer(..))) => {
            Some("No such destination")
        }
        (Errno::ESRCH, Some(Op::CreateServer(..) | Op::SetServer(..) | Op::DeleteServer(..))) => {
            Some("Service not defined")
        }
        (Errno::ESRCH, Some(Op::StopSyncDaemon(_))) => Some("No daemon is running"),
        (Errno::ESRCH, _) => Some("No such service"),
        (Errno::EPERM, _) => Some("Permission denied (you must be root)"),
        (Errno::EINVAL, _) => {
            Some("Invalid operation.  Possibly wrong module version, address not unicast, ...")
        }
        (Errno::ENOPROTOOPT, _) => Some("Protocol not available"),
        (Errno::ENOMEM, _) => Some("Memory allocation problem"),
        (Errno::EOPNOTSUPP, _) => Some("Operation not supported with IPv6"),
        (Errno::EAFNOSUPPORT, _) => Some("Operation not supported with specified address family"),
        (Errno(90), _) => Some("Module is wrong version"),
        _ => None,
    };
    message.map_or_else(|| Cow::Owned(strerror(errno)), Cow::Borrowed)
}

/// The text of strerror(3), without the suffix that the standard library appends.
fn strerror(errno: Errno) -> String {
    let mut text = io::Error::from_raw_os_error(errno.0).to_string();
    if let Some(end) = text.rfind(" (os error ") {
        text.truncate(end);
    }
    text
}

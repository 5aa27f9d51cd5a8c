//! The groups of the process at the other end of a unix socket.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
};

use tokio::net::UnixStream;

/// Most supplementary groups of a process (`NGROUPS_MAX`, limits.h).
const MAX_GROUPS: usize = 65_536;

/// The supplementary groups that the process had when it connected (`SO_PEERGROUPS`, Linux 4.13).
///
/// They come from the kernel, with the credentials of `SO_PEERCRED`: the account database may have
/// others by now, and asking it may take seconds.
pub(super) fn of(stream: &UnixStream) -> io::Result<Arc<[u32]>> {
    let mut groups = vec![0; 64];
    loop {
        match read(stream.as_raw_fd(), &mut groups)? {
            Ok(count) => {
                groups.truncate(count);
                return Ok(groups.into());
            }
            Err(needed) if needed <= MAX_GROUPS && needed > groups.len() => {
                groups.resize(needed, 0);
            }
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Reads the groups. Returns their number or, if they do not fit, the number that there are.
#[allow(unsafe_code)]
fn read(socket: RawFd, groups: &mut [libc::gid_t]) -> io::Result<Result<usize, usize>> {
    let size = size_of::<libc::gid_t>();
    let mut length = libc::socklen_t::try_from(size_of_val(groups)).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes to `groups`, and the number of bytes to
    // `length`.
    let status = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let count = length as usize / size;
    match status {
        0 => Ok(Ok(count)),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ERANGE) => Ok(Err(count)),
            error => Err(error),
        },
    }
}

//! The journal of systemd, by its native protocol: one datagram for each entry
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::{
    io,
    os::{fd::AsFd, unix::net::UnixDatagram},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::stat::fstat;

/// The socket of the journal.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// Time that the journal may take to receive an entry.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to the journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    socket: UnixDatagram,
}

/// An entry: fields with their values, of which `MESSAGE` and `PRIORITY` should be two.
#[derive(Debug, Default)]
pub struct Entry(Vec<u8>);

// === impl Journal ===

impl Journal {
    /// Opens a socket, and checks that the journal listens at `path`, usually [`SOCKET`].
    pub fn open(path: &Path) -> io::Result<Self> {
        UnixDatagram::unbound()?.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self {
            path: path.to_owned(),
            socket,
        })
    }

    /// Sends an entry. Waits for a second at most. Returns whether the journal takes entries of this length: if not,
    /// the next ones need not wait for it.
    ///
    /// # Errors
    /// Those of connect(2) while the journal is not running.
    pub fn send(&self, entry: &Entry) -> io::Result<bool> {
        // By the path: the journal may have been restarted.
        match self.socket.send_to(&entry.0, &self.path) {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => Ok(false),
            sent => sent.map(|_| true),
        }
    }
}

// === impl Entry ===

impl Entry {
    /// Adds a field. The name consists of capital letters, digits and underscores, and begins with a letter.
    pub fn field(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.0.extend_from_slice(name.as_bytes());
        if value.contains(&b'\n') {
            self.0.push(b'\n');
            self.0
                .extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// Its length in bytes, as it is sent.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether `file` is the stream to the journal that the variable `JOURNAL_STREAM` names: device and inode
/// (systemd.exec(5)). A process may inherit the variable, but have another standard error.
pub fn is_stream(variable: &str, file: impl AsFd) -> bool {
    fstat(file).is_ok_and(|file| variable == format!("{}:{}", file.st_dev, file.st_ino))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{fs::File, os::unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn values_of_several_lines_have_a_length() {
        let mut entry = Entry::default();
        entry.field("PRIORITY", "4");
        entry.field("MESSAGE", "a\nb");
        assert_eq!(
            entry.0, b"PRIORITY=4\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n",
            "{entry:?}"
        );
    }

    #[test]
    fn what_is_too_long_for_the_journal_is_no_error() {
        let path = std::env::temp_dir().join(format!("ipvsd-{}-journal", std::process::id()));
        let _socket = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::open(&path).unwrap();
        for (length, is_taken) in [(64 << 20, false), (1, true)] {
            let mut entry = Entry::default();
            entry.field("MESSAGE", "x".repeat(length));
            assert_eq!(journal.send(&entry).unwrap(), is_taken, "{length}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_stream_is_known_by_device_and_inode() {
        let file = File::open("/dev/null").unwrap();
        let metadata = file.metadata().unwrap();
        let (device, inode) = (metadata.dev(), metadata.ino());
        assert!(is_stream(&format!("{device}:{inode}"), &file));
        assert!(!is_stream(&format!("{device}:{}", inode + 1), &file));
        assert!(!is_stream("", &file));
    }
}

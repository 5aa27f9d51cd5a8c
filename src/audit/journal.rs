//! The journal of systemd, by its native protocol: one datagram for each record
//! (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use super::writer::{Line, Sink, Written};

/// The socket of the journal.
pub(super) struct Journal {
    path: PathBuf,
    socket: UnixDatagram,
}

/// `SYSLOG_IDENTIFIER` of the records.
const IDENTIFIER: &str = "ipvsd-audit";
/// Facility "log audit" of RFC 5424.
const FACILITY: u8 = 13;
/// Priority `notice`: normal but significant.
const PRIORITY: u8 = 5;
/// Time that the journal may take to receive a record.
const TIMEOUT: Duration = Duration::from_secs(1);

// === impl Journal ===

impl Journal {
    /// Opens a socket, and checks that the journal listens.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        UnixDatagram::unbound()?.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self {
            path: path.to_owned(),
            socket,
        })
    }

    fn send(&self, line: &Line) -> io::Result<()> {
        let mut message = format!(
            "SYSLOG_IDENTIFIER={IDENTIFIER}\nSYSLOG_FACILITY={FACILITY}\nPRIORITY={PRIORITY}\nMESSAGE="
        )
        .into_bytes();
        // The line has one line break, which ends the field.
        message.extend_from_slice(&line.text);
        // By the path: the journal may have been restarted.
        match self.socket.send_to(&message, &self.path) {
            // The others need not wait for it.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                let bytes = message.len();
                tracing::error!(bytes, %error, "the journal does not take an audit record");
                Ok(())
            }
            sent => sent.map(drop),
        }
    }
}

impl Sink for Journal {
    fn write(&mut self, lines: &[Line]) -> Written {
        for (count, line) in lines.iter().enumerate() {
            if let Err(error) = self.send(line) {
                return Written::failed(count, error);
            }
        }
        Written {
            count: lines.len(),
            error: None,
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn name(&self) -> String {
        "journal".to_owned()
    }
}

//! The file of the audit trail: lines of JSON, in files that are rotated.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    lines::BackwardLines,
    options::FileOptions,
    record::AuditRecord,
    writer::{Line, Sink, Written},
};

/// The file, and its rotation.
pub(super) struct AuditFile {
    options: FileOptions,
    open: Option<OpenFile>,
    /// When the next rotation may be tried, after one that failed.
    next_rotation: Option<Instant>,
}

/// The file while it is open.
struct OpenFile {
    file: File,
    device: u64,
    inode: u64,
    length: u64,
    /// Milliseconds from 1970 to its first record; `None` if it is empty.
    since: Option<i64>,
    /// Whether the last line has no end: something was written in part.
    torn: bool,
}

/// Permissions of a new file: only the daemon may read or write it.
const MODE: u32 = 0o600;
/// Time after which a failed rotation is tried again.
const ROTATION_RETRY: Duration = Duration::from_secs(60);
/// Bytes at the end of a file in which its last record is looked for.
const LAST_RECORD: u64 = 1 << 20;
/// Further old files that a rotation removes, of an earlier and larger `max_files`.
const MAX_REMOVED: usize = 1000;

// === impl AuditFile ===

impl AuditFile {
    /// Opens the file, and creates it if there is none.
    pub(super) fn open(options: FileOptions) -> io::Result<Self> {
        let mut file = Self {
            options,
            open: None,
            next_rotation: None,
        };
        file.current()?;
        Ok(file)
    }

    /// The number of the last record that the files have.
    pub(super) fn last_seq(options: &FileOptions) -> io::Result<Option<u64>> {
        for path in options.all() {
            let Some(file) = open_to_read(&path)? else {
                continue;
            };
            let end = file.metadata()?.len();
            let mut lines = BackwardLines::new(file, end);
            while end - lines.position() < LAST_RECORD {
                let Some(line) = lines.next()? else { break };
                if let Ok(record) = serde_json::from_slice::<AuditRecord>(&line.text) {
                    return Ok(Some(record.seq));
                }
            }
        }
        Ok(None)
    }

    /// The open file. Opens it if another program has moved it away.
    fn current(&mut self) -> io::Result<&mut OpenFile> {
        let found = fs::symlink_metadata(&self.options.path);
        let is_current = |open: &OpenFile| {
            let same =
                |found: &fs::Metadata| (found.dev(), found.ino()) == (open.device, open.inode);
            found.as_ref().is_ok_and(same)
        };
        let open = self.open.take().filter(is_current);
        let open = match open {
            Some(open) => open,
            None => OpenFile::new(&self.options)?,
        };
        Ok(self.open.insert(open))
    }

    /// Begins a new file if these lines would make the file too large, or if it is too old.
    fn rotate_if_due(&mut self, bytes: u64, now: i64) -> io::Result<()> {
        let FileOptions {
            max_bytes, max_age, ..
        } = self.options;
        let open = self.current()?;
        let Some(since) = open.since else {
            return Ok(());
        };
        let age = Duration::from_millis(u64::try_from(now - since).unwrap_or_default());
        let is_due = open.length + bytes > max_bytes || (!max_age.is_zero() && age >= max_age);
        if !is_due || self.next_rotation.is_some_and(|next| Instant::now() < next) {
            return Ok(());
        }
        self.next_rotation = None;
        if let Err(error) = self.rotate() {
            self.next_rotation = Some(Instant::now() + ROTATION_RETRY);
            let file = self.options.path.display();
            tracing::error!(%file, %error, "cannot rotate the audit file; it grows on");
        }
        self.current().map(drop)
    }

    /// Renames the files: each gets the next number, and the last one is replaced.
    fn rotate(&mut self) -> io::Result<()> {
        let options = &self.options;
        for number in (1..options.max_files).rev() {
            rename(&options.older(number), &options.older(number + 1))?;
        }
        rename(&options.path, &options.older(1))?;
        self.open = None;
        for number in (options.max_files + 1..).take(MAX_REMOVED) {
            if fs::remove_file(options.older(number)).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Writes some lines. Of those that do not fit, nothing is left.
    fn append(&mut self, lines: &[Line]) -> Written {
        let open = match self.current() {
            Ok(open) => open,
            Err(error) => return Written::failed(0, error),
        };
        let start = if open.torn { b"\n".as_slice() } else { b"" };
        let texts = lines.iter().map(|line| line.text.as_slice());
        let text: Vec<_> = std::iter::once(start).chain(texts).collect();
        let text = text.concat();
        let (written, error) = write(&mut open.file, &text);
        // The lines of which all is written.
        let mut whole = start.len();
        let mut count = 0;
        for line in lines {
            if whole + line.text.len() > written {
                break;
            }
            whole += line.text.len();
            count += 1;
        }
        if count > 0 {
            open.torn = false;
            open.length += whole as u64;
            open.since = open.since.or(lines.first().map(|line| line.time));
        }
        if written != text.len() && open.file.set_len(open.length).is_err() {
            open.torn = true;
            open.length = open
                .file
                .metadata()
                .map_or(open.length, |found| found.len());
        }
        Written { count, error }
    }

    /// Waits until the lines are on the disk, if that is wanted.
    fn sync(&self) -> io::Result<()> {
        match &self.open {
            Some(open) if self.options.fsync => open.file.sync_data(),
            _ => Ok(()),
        }
    }
}

impl Sink for AuditFile {
    fn write(&mut self, lines: &[Line]) -> Written {
        let max_bytes = self.options.max_bytes;
        let mut count = 0;
        let mut rest = lines;
        while let Some(first) = rest.first() {
            let size = first.text.len() as u64;
            let length = self.rotate_if_due(size, first.time);
            let length = length.and_then(|()| Ok(self.current()?.length));
            let length = match length {
                Ok(length) => length,
                Err(error) => return Written::failed(count, error),
            };
            // As many as fit, at least one.
            let mut end = length;
            let fitting = rest.iter().take_while(|line| {
                end += line.text.len() as u64;
                end <= max_bytes
            });
            let (these, others) = rest.split_at(fitting.count().max(1));
            let written = self.append(these);
            count += written.count;
            rest = others;
            // The lines are in the file: they are not written again.
            if let Some(error) = written.error.or_else(|| self.sync().err()) {
                return Written::failed(count, error);
            }
        }
        Written { count, error: None }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.open = None;
        self.current().map(drop)
    }

    fn name(&self) -> String {
        self.options.path.display().to_string()
    }
}

// === impl OpenFile ===

impl OpenFile {
    /// Opens a regular file to append to it. Does not follow a symbolic link, and does not wait for the
    /// reader of a pipe.
    fn new(options: &FileOptions) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(MODE)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&options.path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ));
        }
        let length = found.len();
        if length == 0 && options.fsync {
            // The name, too.
            File::open(options.directory())?.sync_all()?;
        }
        Ok(Self {
            since: first_time(&file, &found),
            torn: length > 0 && !ends_a_line(&file, length),
            device: found.dev(),
            inode: found.ino(),
            length,
            file,
        })
    }
}

/// Milliseconds from 1970 to the first record of a file; without one, to its last change.
fn first_time(file: &File, found: &fs::Metadata) -> Option<i64> {
    if found.len() == 0 {
        return None;
    }
    let first = super::lines::first_line(file).ok().flatten();
    let first = first.and_then(|text| serde_json::from_slice::<AuditRecord>(&text).ok());
    let time = first.map(|record| record.time.as_millisecond());
    let changed = || {
        let changed = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or_default()
    };
    Some(time.unwrap_or_else(changed))
}

/// Writes a text. Returns how much is written, and why not the rest.
fn write(file: &mut File, text: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while let Some(rest) = text.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

fn ends_a_line(file: &File, length: u64) -> bool {
    let mut last = [0];
    let read = file.read_exact_at(&mut last, length.saturating_sub(1));
    read.is_ok() && last == *b"\n"
}

/// Opens a regular file to read it; `None` if there is none.
pub(super) fn open_to_read(path: &Path) -> io::Result<Option<File>> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    match opened {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        // A symbolic link is none of the daemon's files.
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Renames a file if it exists.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

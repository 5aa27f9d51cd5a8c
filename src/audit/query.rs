//! Queries: records in memory and in the files, the newest first, in bounded memory.

use std::{
    fs::File, io, ops::ControlFlow, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc,
    time::Instant,
};

use jiff::Timestamp;

use super::{
    file::open_to_read,
    lines::{BackwardLines, first_line},
    queue::Entry,
    record::AuditRecord,
};

/// Which records.
#[derive(Clone, Debug)]
pub struct AuditQuery {
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Of the principal with this name.
    pub principal: Option<String>,
    /// About the service with this id, or with an operation on it.
    pub service: Option<String>,
    /// Most records.
    pub limit: usize,
    /// Where an earlier page ended.
    pub from: Option<Position>,
    /// When to end, with a page that is not full.
    pub deadline: Instant,
}

/// A page of records.
#[derive(Clone, Debug, Default)]
pub struct AuditPage {
    /// The records, the newest first.
    pub records: Vec<AuditRecord>,
    /// Where to go on; `None` if there are no further records.
    pub next: Option<Position>,
}

/// A place in the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Records with lower numbers follow.
    pub seq: u64,
    /// Number of the file in its file system; 0 for any.
    pub inode: u64,
    /// The records before this place of the file follow.
    pub offset: u64,
}

/// Largest page, as JSON in bytes: a page with fewer records than the limit.
pub const MAX_PAGE_BYTES: usize = 512 << 10;
/// Bytes of files that one query reads at most. The next page goes on from there.
const MAX_READ: u64 = 64 << 20;

/// A query that is being executed.
struct Search<'a> {
    query: &'a AuditQuery,
    page: AuditPage,
    /// Bytes of the records on the page.
    bytes: usize,
    /// The lowest number seen. A record of a higher one is there twice: the file was written or rotated
    /// meanwhile.
    bound: u64,
    /// Bytes read from files.
    read: u64,
}

/// Searches records in memory, the newest first, and those in the files, the newest file first.
pub(super) fn search(
    query: &AuditQuery,
    memory: &[Arc<Entry>],
    files: impl Iterator<Item = PathBuf>,
) -> io::Result<AuditPage> {
    let mut search = Search {
        query,
        page: AuditPage::default(),
        bytes: 0,
        bound: query.from.map_or(u64::MAX, |from| from.seq),
        read: 0,
    };
    if search.memory(memory).is_continue() {
        search.files(files)?;
    }
    Ok(search.page)
}

// === impl Search ===

impl Search<'_> {
    fn memory(&mut self, entries: &[Arc<Entry>]) -> ControlFlow<()> {
        for entry in entries {
            let record = AuditRecord::from(&**entry);
            let size = serde_json::to_vec(&record).map_or(0, |text| text.len());
            let here = Position {
                seq: entry.seq + 1,
                inode: 0,
                offset: 0,
            };
            if self.offer(record, size, here).is_break() {
                return ControlFlow::Break(());
            }
            self.bound = entry.seq;
        }
        ControlFlow::Continue(())
    }

    fn files(&mut self, paths: impl Iterator<Item = PathBuf>) -> io::Result<()> {
        let mut paths: Vec<_> = paths.collect();
        // The file in which the last page ended is looked for first.
        if let Some(from) = self.query.from.filter(|from| from.inode != 0)
            && let Some((index, file)) = find(&paths, from)?
        {
            paths.drain(..=index);
            if self.file(file, Some(from.offset))?.is_break() {
                return Ok(());
            }
        }
        for path in paths {
            let Some(file) = open_to_read(&path)? else {
                continue;
            };
            if first_seq(&file)?.is_some_and(|first| first >= self.bound) {
                continue;
            }
            if self.file(file, None)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Searches a file, before `end` if there is one.
    fn file(&mut self, file: File, end: Option<u64>) -> io::Result<ControlFlow<()>> {
        let metadata = file.metadata()?;
        let end = end.unwrap_or(metadata.len());
        let inode = metadata.ino();
        let (bound, mut lowest) = (self.bound, self.bound);
        let mut lines = BackwardLines::new(file, end);
        let mut position = lines.position();
        while let Some(line) = lines.next()? {
            self.read += position - lines.position();
            position = lines.position();
            let end = line.start + line.text.len() as u64 + 1;
            // Foreign and incomplete lines are left out.
            if let Ok(record) = serde_json::from_slice::<AuditRecord>(&line.text)
                && record.seq < bound
            {
                let seq = record.seq;
                let here = Position {
                    seq: seq.saturating_add(1),
                    inode,
                    offset: end,
                };
                if self.offer(record, line.text.len(), here).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                lowest = lowest.min(seq);
            }
            if self.read >= MAX_READ || (self.read > 0 && Instant::now() > self.query.deadline) {
                self.page.next = Some(Position {
                    seq: lowest,
                    inode,
                    offset: line.start,
                });
                return Ok(ControlFlow::Break(()));
            }
        }
        self.bound = lowest;
        Ok(ControlFlow::Continue(()))
    }

    /// Adds a record to the page if it matches; if the page is full, it ends before the record.
    fn offer(&mut self, record: AuditRecord, size: usize, here: Position) -> ControlFlow<()> {
        if !self.query.matches(&record) {
            return ControlFlow::Continue(());
        }
        let records = &mut self.page.records;
        let is_full = records.len() >= self.query.limit;
        if is_full || (self.bytes + size > MAX_PAGE_BYTES && !records.is_empty()) {
            self.page.next = Some(here);
            return ControlFlow::Break(());
        }
        self.bytes += size;
        records.push(record);
        ControlFlow::Continue(())
    }
}

/// The file in which an earlier page ended, with its index.
fn find(paths: &[PathBuf], from: Position) -> io::Result<Option<(usize, File)>> {
    for (index, path) in paths.iter().enumerate() {
        if let Some(file) = open_to_read(path)?
            && continues(&file, from)?
        {
            return Ok(Some((index, file)));
        }
    }
    Ok(None)
}

/// Whether an earlier page ended in this file. The number of a file that was deleted may be that of a
/// new one, whose records have higher numbers.
fn continues(file: &File, from: Position) -> io::Result<bool> {
    let metadata = file.metadata()?;
    let is_same = metadata.ino() == from.inode && from.offset <= metadata.len();
    Ok(is_same && first_seq(file)?.is_none_or(|first| first < from.seq))
}

/// Number of the first record of a file; `None` if its first line is none.
fn first_seq(file: &File) -> io::Result<Option<u64>> {
    let line = first_line(file)?;
    let record = line.and_then(|text| serde_json::from_slice::<AuditRecord>(&text).ok());
    Ok(record.map(|record| record.seq))
}

// === impl AuditQuery ===

impl AuditQuery {
    fn matches(&self, record: &AuditRecord) -> bool {
        let principal = self.principal.as_deref();
        let service = self.service.as_deref();
        self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
            && principal.is_none_or(|principal| record.principal == principal)
            && service.is_none_or(|service| record.is_about(service))
    }
}

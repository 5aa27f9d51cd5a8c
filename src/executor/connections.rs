//! The connection table: read line by line in a thread of its own, never held in memory.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{Executor, Kernel, unavailable};
use crate::{
    codec,
    model::{Connection, ConnectionFilter, CountBy, Errno, Error, Reason},
};

const TABLE: &str = "net/ip_vs_conn";
/// Connections handed over at a time; two such chunks wait at most.
const CHUNK: usize = 256;
const CHUNKS: usize = 2;
/// Lines between two looks whether anybody still waits.
const LOOK: usize = 1024;
/// The longest line that is taken; the kernel's are below 512 bytes.
const LINE: u64 = 4096;
/// The most groups that are counted; more is a list, not a count.
const GROUPS: usize = 100_000;

/// Connections as they are read; ends with an error where reading failed.
pub type Connections = mpsc::Receiver<Result<Vec<Connection>, Error>>;

impl Executor {
    /// Reads the connections that `filter` lets pass, at most `limit` of them. Dropping the
    /// receiver ends the reading.
    pub fn connections(
        &self,
        filter: ConnectionFilter,
        limit: Option<u64>,
    ) -> Result<Connections, Error> {
        let (chunks, receiver) = mpsc::channel(CHUNKS);
        self.read_table(move |kernel, permit| {
            let mut left = limit.unwrap_or(u64::MAX);
            let mut chunk = Vec::with_capacity(CHUNK);
            let mut lines = 0_usize;
            let read = each_connection(kernel, |connection| {
                lines += 1;
                if lines.is_multiple_of(LOOK) && chunks.is_closed() {
                    return false;
                }
                if left == 0 {
                    return false;
                }
                if filter.matches(&connection) {
                    left -= 1;
                    chunk.push(connection);
                    if chunk.len() == CHUNK {
                        let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
                        return chunks.blocking_send(Ok(full)).is_ok();
                    }
                }
                true
            });
            // Nobody may be waiting any more; there is nobody else to tell.
            drop(chunks.blocking_send(read.map(|()| chunk)));
            // Before the channel closes: who has read to the end may read again.
            drop(permit);
        })?;
        Ok(receiver)
    }

    /// Counts the connections that `filter` lets pass, in groups, most first.
    pub async fn count_connections(
        &self,
        filter: ConnectionFilter,
        by: CountBy,
    ) -> Result<Vec<(String, u64)>, Error> {
        let (reply, answer) = oneshot::channel();
        self.read_table(move |kernel, permit| {
            let mut counts: HashMap<String, u64> = HashMap::new();
            let mut too_many = false;
            let mut lines = 0_usize;
            let read = each_connection(kernel, |connection| {
                lines += 1;
                if lines.is_multiple_of(LOOK) && reply.is_closed() {
                    return false;
                }
                if filter.matches(&connection) {
                    *counts.entry(by.group(&connection)).or_default() += 1;
                    too_many = counts.len() > GROUPS;
                }
                !too_many
            });
            let counts = read.and_then(|()| {
                if too_many {
                    return Err(Error::new(
                        Reason::TooLarge,
                        format!("more than {GROUPS} groups of connections"),
                    )
                    .with_hint("narrow the filter, or count by something coarser"));
                }
                let mut counts: Vec<_> = counts.into_iter().collect();
                counts.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
                Ok(counts)
            });
            // Before the answer: who has it may count again.
            drop(permit);
            drop(reply.send(counts));
        })?;
        answer
            .await
            .map_err(|_| Error::new(Reason::Internal, "the reading thread failed"))?
    }

    /// Runs `read` in a thread that is in the kernel's namespace; refused where as many run as may.
    /// It drops the permit when it has ended.
    fn read_table(
        &self,
        read: impl FnOnce(Result<&dyn Kernel, Error>, OwnedSemaphorePermit) + Send + 'static,
    ) -> Result<(), Error> {
        let permit: OwnedSemaphorePermit =
            Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
                Error::new(
                    Reason::RateLimited,
                    "the connection table is being read by as many as may",
                )
                .with_hint("try again later; limits.max_connection_streams bounds them")
            })?;
        let kernel = Arc::clone(&self.kernel);
        thread::Builder::new()
            .name("ipvs-connections".to_owned())
            .spawn(move || {
                let entered = kernel.enter().map_err(|error| failed(&error));
                read(entered.map(|()| &*kernel), permit);
            })
            .map_err(|error| {
                Error::new(
                    Reason::Internal,
                    format!("no thread to read connections: {error}"),
                )
            })?;
        Ok(())
    }
}

/// Hands over every connection of the table until `take` has enough.
///
/// A fault in here is an error like any other: a list that just ended would look complete.
fn each_connection(
    kernel: Result<&dyn Kernel, Error>,
    take: impl FnMut(Connection) -> bool,
) -> Result<(), Error> {
    catch_unwind(AssertUnwindSafe(|| read_connections(kernel, take))).unwrap_or_else(|_| {
        Err(Error::new(
            Reason::Internal,
            "ipvsd failed on the connection table; the log has more",
        ))
    })
}

fn read_connections(
    kernel: Result<&dyn Kernel, Error>,
    mut take: impl FnMut(Connection) -> bool,
) -> Result<(), Error> {
    let table = kernel?.open(TABLE).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            unavailable::no_link(super::link::AskError::Refused(Errno::ENOENT))
        }
        _ => failed(&error),
    })?;
    let mut table = BufReader::with_capacity(64 << 10, table);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = table.by_ref().take(LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| failed(&error))? == 0 {
            return Ok(());
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        if codec::connection(line).is_some_and(|connection| !take(connection)) {
            return Ok(());
        }
    }
}

fn failed(error: &std::io::Error) -> Error {
    Error::new(
        Reason::Internal,
        format!("the connection table cannot be read: {error}"),
    )
}

//! Reads the connection table line by line, on a thread of its own, without holding it in memory.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
};

use super::{
    handle::Reader,
    proc_query::{ConnectionCountsQuery, ConnectionsQuery},
    request::ReadError,
    table_reads::Delivery,
    unavailable,
};
use crate::{
    codec,
    kernel::Kernel,
    model::{Connection, Errno, Error, Reason},
};

/// Connections in chunks; the last item is an error if reading failed. Dropping the receiver ends
/// the read.
pub type ConnectionChunks = mpsc::Receiver<Result<Vec<Connection>, Error>>;

/// The connection table below `/proc`.
const TABLE: &str = "net/ip_vs_conn";
/// Connections per chunk.
const CHUNK: usize = 256;
/// Chunks that wait for a slow receiver.
const CHUNKS: usize = 2;
/// Lines between two checks whether the receiver still exists.
const LINES_PER_CHECK: usize = 1024;
/// The longest line in bytes; those of the kernel are shorter than 512.
const MAX_LINE: u64 = 4096;
/// The most groups of a count.
const MAX_GROUPS: usize = 100_000;

// === impl Reader ===

impl Reader {
    /// Streams connections. If the receiver takes nothing for [`TableReads::patience`] while another
    /// request waits, the stream ends with an error.
    pub async fn connections(&self, query: ConnectionsQuery) -> Result<ConnectionChunks, Error> {
        let ConnectionsQuery { filter, limit } = query;
        let (chunks, receiver) = mpsc::channel(CHUNKS + 1);
        // So that the last item is never lost, and never waits.
        let last = chunks.clone().try_reserve_owned().map_err(|_| broken())?;
        let (runtime, reads) = (Handle::current(), self.table_reads.clone());
        self.read_table(move |kernel, permit| {
            let mut left = limit.unwrap_or(u64::MAX);
            let mut chunk = Vec::with_capacity(CHUNK);
            let mut lines = 0_usize;
            let mut stalled = false;
            let read = each_connection(kernel, |connection| {
                lines += 1;
                if lines.is_multiple_of(LINES_PER_CHECK) && chunks.is_closed() {
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
                        let delivered = runtime.block_on(reads.deliver(&chunks, full));
                        stalled = delivered == Delivery::Stalled;
                        return delivered == Delivery::Taken;
                    }
                }
                true
            });
            let end = match stalled {
                true => Err(Error::new(
                    Reason::RateLimited,
                    "the client did not read while other clients waited for the connection table",
                )
                .with_hint("read the response as it arrives")),
                false => read.map(|()| chunk),
            };
            last.send(end);
            // Before the channel closes, so that a client that has read to the end can read again.
            drop(permit);
        })
        .await?;
        Ok(receiver)
    }

    /// Counts connections in groups, the largest group first. Fails with `TOO_LARGE` above 100000
    /// groups.
    pub async fn count_connections(
        &self,
        query: ConnectionCountsQuery,
    ) -> Result<Vec<(String, u64)>, Error> {
        let ConnectionCountsQuery { filter, by } = query;
        let (reply, result) = oneshot::channel();
        self.read_table(move |kernel, permit| {
            let mut counts: HashMap<String, u64> = HashMap::new();
            let mut too_many = false;
            let mut lines = 0_usize;
            let read = each_connection(kernel, |connection| {
                lines += 1;
                if lines.is_multiple_of(LINES_PER_CHECK) && reply.is_closed() {
                    return false;
                }
                if filter.matches(&connection) {
                    *counts.entry(by.group(&connection)).or_default() += 1;
                    too_many = counts.len() > MAX_GROUPS;
                }
                !too_many
            });
            let counts = read.and_then(|()| {
                if too_many {
                    return Err(Error::new(
                        Reason::TooLarge,
                        format!("more than {MAX_GROUPS} groups of connections"),
                    )
                    .with_hint("narrow the filter, or count by a field with fewer values"));
                }
                let mut counts: Vec<_> = counts.into_iter().collect();
                counts.sort_unstable_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
                Ok(counts)
            });
            // Before the reply, so that a client that has it can count again.
            drop(permit);
            drop(reply.send(counts));
        })
        .await?;
        result.await.map_err(|_| broken())?
    }

    /// Runs `read` on a thread in the kernel's namespace; fails if the limit of such threads is
    /// reached, and none ends soon. `read` drops the permit when it ends.
    async fn read_table(
        &self,
        read: impl FnOnce(Result<&dyn Kernel, Error>, OwnedSemaphorePermit) + Send + 'static,
    ) -> Result<(), Error> {
        let permit = self.table_reads.permit().await?;
        let kernel = Arc::clone(&self.kernel);
        thread::Builder::new()
            .name("ipvs-connections".to_owned())
            .spawn(move || {
                let name = kernel.namespace().unwrap_or_default();
                let entered = kernel.enter();
                let entered = entered.map_err(|error| unavailable::namespace(name, error));
                read(entered.map(|_| &*kernel), permit);
            })
            .map_err(|error| {
                Error::new(
                    Reason::Internal,
                    "cannot start a thread to read connections",
                )
                .with_source(error)
            })?;
        Ok(())
    }
}

/// Passes each connection of the table to `take` until it returns false.
///
/// A panic becomes an error: a list that just ended would look complete.
fn each_connection(
    kernel: Result<&dyn Kernel, Error>,
    take: impl FnMut(Connection) -> bool,
) -> Result<(), Error> {
    catch_unwind(AssertUnwindSafe(|| read_connections(kernel, take))).unwrap_or_else(|_| {
        Err(Error::new(
            Reason::Internal,
            "ipvsd failed on the connection table; the log has details",
        ))
    })
}

fn read_connections(
    kernel: Result<&dyn Kernel, Error>,
    mut take: impl FnMut(Connection) -> bool,
) -> Result<(), Error> {
    let table = kernel?.open(TABLE).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unavailable::no_socket(ReadError::Rejected(Errno::ENOENT)),
        _ => failed(error),
    })?;
    let mut table = BufReader::with_capacity(64 << 10, table);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = table.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(failed)? == 0 {
            return Ok(());
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        if codec::connection(line).is_some_and(|connection| !take(connection)) {
            return Ok(());
        }
    }
}

fn broken() -> Error {
    Error::new(Reason::Internal, "the reading thread failed")
}

fn failed(error: io::Error) -> Error {
    unavailable::file(TABLE, error)
}

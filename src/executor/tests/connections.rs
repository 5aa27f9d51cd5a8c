//! Reads of the connection table: streaming, limits, counts.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// The most lines that are generated ahead of the receiver: three chunks of 256, the buffer of the
/// reader, a page.
const AHEAD: usize = 3000;

/// Generates connection tables. Counts the lines that were read and the tables that are open.
#[derive(Clone, Default)]
struct LineSource {
    lines: Arc<AtomicUsize>,
    open: Arc<()>,
}

impl LineSource {
    /// Sets a table of `lines` connections, each of another client.
    fn serve(&self, kernel: &FakeKernel, lines: usize) {
        let source = self.clone();
        kernel.set_connection_source(move || {
            let source = source.clone();
            Box::new((0..lines).map(move |n| {
                let _open = &source.open;
                source.lines.fetch_add(1, Ordering::Relaxed);
                let state = if n % 4 == 0 {
                    "FIN_WAIT"
                } else {
                    "ESTABLISHED"
                };
                format!(
                    "TCP {n:08X} 9C42 0A000001 0050 0A01010{} 1F90 {state:<11} {:7}",
                    n % 3,
                    895
                )
            }))
        });
    }

    /// The number of lines that were read.
    fn lines(&self) -> usize {
        self.lines.load(Ordering::Relaxed)
    }

    /// Waits until the reader makes no progress, because nobody receives what it has read.
    async fn wait_until_idle(&self) {
        let (mut before, mut still) = (0, 0);
        let deadline = deadline();
        while still < 20 {
            assert!(Instant::now() < deadline, "timeout: the reader pauses");
            tokio::time::sleep(Duration::from_millis(2)).await;
            let now = self.lines();
            still = if now == before && now > 0 {
                still + 1
            } else {
                0
            };
            before = now;
        }
    }

    /// Whether a table is open. Two references exist without one.
    fn is_open(&self) -> bool {
        Arc::strong_count(&self.open) > 2
    }
}

/// Starts to stream the connections.
async fn open_stream(
    executor: &Executor,
    filter: ConnectionFilter,
    limit: Option<u64>,
) -> Result<ConnectionChunks, Error> {
    executor
        .reader
        .connections(ConnectionsQuery { filter, limit })
        .await
}

/// Counts the connections.
async fn count_groups(
    executor: &Executor,
    filter: ConnectionFilter,
    by: CountBy,
) -> Result<Vec<(String, u64)>, Error> {
    let query = ConnectionCountsQuery { filter, by };
    executor.reader.count_connections(query).await
}

/// Receives all connections of a stream.
async fn collect(mut stream: ConnectionChunks) -> Result<Vec<Connection>, Error> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.recv().await {
        all.extend(chunk?);
    }
    Ok(all)
}

/// Chunks that wait for a receiver.
const CHUNKS_AHEAD: usize = 2;

fn no_filter() -> ConnectionFilter {
    ConnectionFilter::default()
}

/// A filter that matches connections in a state.
fn by_state(state: &str) -> ConnectionFilter {
    ConnectionFilter {
        state: Some(state.to_owned()),
        ..no_filter()
    }
}

#[tokio::test]
async fn a_large_table_is_streamed_in_bounded_memory() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let source = LineSource::default();
    source.serve(&kernel, 1_000_000);
    let mut stream = open_stream(&executor, no_filter(), None).await.unwrap();
    let mut read = 0;
    source.wait_until_idle().await;
    while let Some(chunk) = stream.recv().await {
        if read == 500 * 256 {
            source.wait_until_idle().await;
        }
        read += chunk.unwrap().len();
        assert!(
            source.lines() <= read + AHEAD,
            "{} of {read}",
            source.lines()
        );
    }
    assert_eq!(read, 1_000_000);
}

#[tokio::test]
async fn dropping_the_receiver_ends_the_read() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let source = LineSource::default();
    source.serve(&kernel, usize::MAX);
    let mut stream = open_stream(&executor, no_filter(), None).await.unwrap();
    stream.recv().await.unwrap().unwrap();
    drop(stream);
    wait_until("the table is closed", || !source.is_open()).await;
    assert!(source.lines() < 256 + AHEAD);
    // Also if no connection matches, and for a count.
    let stream = open_stream(&executor, by_state("NONE"), None)
        .await
        .unwrap();
    wait_until("some lines are read", || source.lines() > 20_000).await;
    drop(stream);
    wait_until("the table is closed", || !source.is_open()).await;
    let before = source.lines();
    let mut count = Box::pin(count_groups(&executor, by_state("NONE"), CountBy::State));
    submit(count.as_mut()).await;
    wait_until("more lines are read", || source.lines() > before + 20_000).await;
    drop(count);
    wait_until("the table is closed", || !source.is_open()).await;
}

#[tokio::test]
async fn a_limit_is_exact_and_ends_the_read() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for limit in [0, 1, 5, 255, 256, 257, 512, 1000] {
        let source = LineSource::default();
        source.serve(&kernel, usize::MAX);
        let read = collect(
            open_stream(&executor, no_filter(), Some(limit))
                .await
                .unwrap(),
        )
        .await
        .unwrap();
        assert_eq!(read.len() as u64, limit);
        let limited = open_stream(&executor, by_state("FIN_WAIT"), Some(limit))
            .await
            .unwrap();
        let limited = collect(limited).await.unwrap();
        assert_eq!(limited.len() as u64, limit);
        assert!(
            limited
                .iter()
                .all(|connection| &*connection.state == "FIN_WAIT")
        );
        assert!(source.lines() < 5 * 1000 + 2 * AHEAD);
    }
    let source = LineSource::default();
    source.serve(&kernel, 10);
    assert_eq!(
        collect(open_stream(&executor, no_filter(), Some(50)).await.unwrap())
            .await
            .unwrap()
            .len(),
        10
    );
}

#[tokio::test]
async fn malformed_lines_are_skipped() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let good = "UDP C000020A 13CE 0A000001 13C4 0A010102 13C4 UDP             295";
    kernel.set_connections(vec![
        "junk".to_owned(),
        good.to_owned(),
        String::new(),
        "x".repeat(10_000),
        format!("{good} sip a b"),
        "TCP \u{fffd}".to_owned(),
        good.to_owned(),
    ]);
    let read = collect(open_stream(&executor, no_filter(), None).await.unwrap())
        .await
        .unwrap();
    assert_eq!(read.len(), 3);
    assert_eq!(read[1].persistence_data.as_deref(), Some("a b"));
}

#[tokio::test]
async fn counts_are_sorted_by_size() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    LineSource::default().serve(&kernel, 1000);
    let count = |filter, by| count_groups(&executor, filter, by);
    let counts = |counts: &[(&str, u64)]| -> Vec<_> {
        counts
            .iter()
            .map(|(group, n)| ((*group).to_owned(), *n))
            .collect()
    };
    assert_eq!(
        count(no_filter(), CountBy::State).await.unwrap(),
        counts(&[("ESTABLISHED", 750), ("FIN_WAIT", 250)])
    );
    assert_eq!(
        count(no_filter(), CountBy::Destination).await.unwrap(),
        counts(&[
            ("10.1.1.0:8080", 334),
            ("10.1.1.1:8080", 333),
            ("10.1.1.2:8080", 333)
        ])
    );
    assert_eq!(
        count(no_filter(), CountBy::Client).await.unwrap().len(),
        1000
    );
    assert_eq!(
        count(by_state("fin_wait"), CountBy::Protocol)
            .await
            .unwrap(),
        counts(&[("tcp", 250)])
    );
    assert_eq!(
        count(by_state("NONE"), CountBy::Virtual).await.unwrap(),
        counts(&[])
    );
}

#[tokio::test]
async fn a_count_fails_above_100_000_groups() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let source = LineSource::default();
    source.serve(&kernel, 100_000);
    let counts = count_groups(&executor, no_filter(), CountBy::Client).await;
    assert_eq!(counts.unwrap().len(), 100_000);
    source.serve(&kernel, usize::MAX);
    let error = count_groups(&executor, no_filter(), CountBy::Client)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::TooLarge);
    assert!(error.hint.is_some());
}

#[tokio::test]
async fn concurrent_reads_are_limited() {
    let kernel = FakeKernel::new();
    let limits = ExecutorLimits {
        connection_streams: 2,
        stalled_read_timeout: Duration::from_millis(10),
        ..ExecutorLimits::default()
    };
    let executor = start_with(&kernel, limits);
    LineSource::default().serve(&kernel, usize::MAX);
    // They read on, because no connection matches.
    let first = open_stream(&executor, by_state("NONE"), None)
        .await
        .unwrap();
    let second = open_stream(&executor, by_state("NONE"), None)
        .await
        .unwrap();
    let error = open_stream(&executor, no_filter(), None).await.unwrap_err();
    assert_eq!(error.reason, Reason::RateLimited);
    let error = count_groups(&executor, no_filter(), CountBy::State)
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::RateLimited);
    drop(first);
    let third = tokio::time::timeout(LONG, async {
        loop {
            if let Ok(stream) = open_stream(&executor, no_filter(), Some(1)).await {
                return stream;
            }
        }
    });
    third.await.expect("the dropped read ends");
    drop(second);
}

#[tokio::test]
async fn clients_that_do_not_read_do_not_keep_others_from_the_connection_table() {
    let kernel = FakeKernel::new();
    let limits = ExecutorLimits {
        connection_streams: 2,
        stalled_read_timeout: Duration::from_millis(10),
        ..ExecutorLimits::default()
    };
    let executor = start_with(&kernel, limits);
    LineSource::default().serve(&kernel, usize::MAX);
    let mut stalled = Vec::new();
    for _ in 0..2 {
        stalled.push(open_stream(&executor, no_filter(), None).await.unwrap());
    }
    // A read is ended when it has stalled for long enough, of which its thread must get aware.
    let other = tokio::time::timeout(LONG, async {
        loop {
            if let Ok(stream) = open_stream(&executor, no_filter(), Some(300)).await {
                return stream;
            }
            tokio::task::yield_now().await;
        }
    });
    let other = other.await.expect("a stalled read ends");
    assert_eq!(collect(other).await.unwrap().len(), 300);
    // The one that was ended does not look complete.
    let mut ended = 0;
    for mut stream in stalled {
        for _ in 0..CHUNKS_AHEAD {
            stream.recv().await.unwrap().unwrap();
        }
        match stream.recv().await.unwrap() {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.reason, Reason::RateLimited);
                ended += 1;
            }
        }
    }
    assert!(ended > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequential_reads_are_never_rejected() {
    let kernel = FakeKernel::new();
    let limits = ExecutorLimits {
        connection_streams: 1,
        ..ExecutorLimits::default()
    };
    let executor = start_with(&kernel, limits);
    LineSource::default().serve(&kernel, 300);
    for _ in 0..300 {
        let count = count_groups(&executor, no_filter(), CountBy::State).await;
        assert_eq!(count.unwrap().len(), 2);
        let read = collect(open_stream(&executor, no_filter(), None).await.unwrap()).await;
        assert_eq!(read.unwrap().len(), 300);
    }
}

#[tokio::test]
async fn a_missing_table_means_a_kernel_without_ipvs() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel.faults().unload();
    let error = collect(open_stream(&executor, no_filter(), None).await.unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::KernelUnavailable);
    let count = count_groups(&executor, no_filter(), CountBy::State).await;
    assert_eq!(count.unwrap_err().reason, Reason::KernelUnavailable);
}

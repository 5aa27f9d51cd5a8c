//! The connection table: read as it is consumed, however long it is.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Lines made and not yet read at most: three chunks of 256, what the reader has buffered, a page.
const AHEAD: usize = 3000;

/// Counts the lines that were made, and the tables that are still open.
#[derive(Clone, Default)]
struct Made {
    lines: Arc<AtomicUsize>,
    open: Arc<()>,
}

impl Made {
    /// A table of so many lines, each of another client.
    fn table(&self, kernel: &FakeKernel, lines: usize) {
        let made = self.clone();
        kernel.set_connection_source(move || {
            let made = made.clone();
            Box::new((0..lines).map(move |n| {
                let _open = &made.open;
                made.lines.fetch_add(1, Ordering::Relaxed);
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

    fn lines(&self) -> usize {
        self.lines.load(Ordering::Relaxed)
    }

    /// Waits until the reader stands still, because nobody takes what it has read.
    async fn stands_still(&self) {
        let (mut before, mut still) = (0, 0);
        let deadline = later();
        while still < 20 {
            assert!(Instant::now() < deadline, "it reads on");
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

    /// Whether a reader is at work; the kernel itself has two handles.
    fn is_read(&self) -> bool {
        Arc::strong_count(&self.open) > 2
    }
}

async fn all(mut stream: ConnectionChunks) -> Result<Vec<Connection>, Error> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.recv().await {
        all.extend(chunk?);
    }
    Ok(all)
}

fn any() -> ConnectionFilter {
    ConnectionFilter::default()
}

fn by_state(state: &str) -> ConnectionFilter {
    ConnectionFilter {
        state: Some(state.to_owned()),
        ..any()
    }
}

#[tokio::test]
async fn a_million_connections_are_never_in_memory_at_once() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let made = Made::default();
    made.table(&kernel, 1_000_000);
    let mut stream = executor
        .reader
        .connections(ConnectionsQuery {
            filter: any(),
            limit: None,
        })
        .unwrap();
    let mut read = 0;
    made.stands_still().await;
    while let Some(chunk) = stream.recv().await {
        if read == 500 * 256 {
            made.stands_still().await;
        }
        read += chunk.unwrap().len();
        assert!(made.lines() <= read + AHEAD, "{} of {read}", made.lines());
    }
    assert_eq!(read, 1_000_000);
}

#[tokio::test]
async fn reading_stops_when_nobody_takes_what_is_read() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let made = Made::default();
    made.table(&kernel, usize::MAX);
    let mut stream = executor
        .reader
        .connections(ConnectionsQuery {
            filter: any(),
            limit: None,
        })
        .unwrap();
    stream.recv().await.unwrap().unwrap();
    drop(stream);
    until("the table is closed", || !made.is_read()).await;
    assert!(made.lines() < 256 + AHEAD);
    // Nor does one go on that lets nothing pass.
    let stream = executor
        .reader
        .connections(ConnectionsQuery {
            filter: by_state("NONE"),
            limit: None,
        })
        .unwrap();
    until("some lines are read", || made.lines() > 20_000).await;
    drop(stream);
    until("the table is closed", || !made.is_read()).await;
    let count = executor.reader.count_connections(ConnectionCountsQuery {
        filter: by_state("NONE"),
        by: CountBy::State,
    });
    let timeout = tokio::time::timeout(Duration::from_millis(20), count).await;
    assert!(timeout.is_err(), "there is no end to it");
    until("the table is closed", || !made.is_read()).await;
}

#[tokio::test]
async fn a_limit_is_exact_and_ends_the_reading() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    for limit in [0, 1, 5, 255, 256, 257, 512, 1000] {
        let made = Made::default();
        made.table(&kernel, usize::MAX);
        let read = all(executor
            .reader
            .connections(ConnectionsQuery {
                filter: any(),
                limit: Some(limit),
            })
            .unwrap())
        .await
        .unwrap();
        assert_eq!(read.len() as u64, limit);
        let limited = executor
            .reader
            .connections(ConnectionsQuery {
                filter: by_state("FIN_WAIT"),
                limit: Some(limit),
            })
            .unwrap();
        let limited = all(limited).await.unwrap();
        assert_eq!(limited.len() as u64, limit);
        assert!(
            limited
                .iter()
                .all(|connection| &*connection.state == "FIN_WAIT")
        );
        assert!(made.lines() < 5 * 1000 + 2 * AHEAD);
    }
    let made = Made::default();
    made.table(&kernel, 10);
    assert_eq!(
        all(executor
            .reader
            .connections(ConnectionsQuery {
                filter: any(),
                limit: Some(50)
            })
            .unwrap())
        .await
        .unwrap()
        .len(),
        10
    );
}

#[tokio::test]
async fn lines_that_are_none_are_passed_over() {
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
    let read = all(executor
        .reader
        .connections(ConnectionsQuery {
            filter: any(),
            limit: None,
        })
        .unwrap())
    .await
    .unwrap();
    assert_eq!(read.len(), 3);
    assert_eq!(read[1].persistence_data.as_deref(), Some("a b"));
}

#[tokio::test]
async fn connections_are_counted_in_groups_the_largest_first() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    Made::default().table(&kernel, 1000);
    let count = |filter, by| {
        executor.reader.count_connections(ConnectionCountsQuery {
            filter: filter,
            by: by,
        })
    };
    let counts = |counts: &[(&str, u64)]| -> Vec<_> {
        counts
            .iter()
            .map(|(group, n)| ((*group).to_owned(), *n))
            .collect()
    };
    assert_eq!(
        count(any(), CountBy::State).await.unwrap(),
        counts(&[("ESTABLISHED", 750), ("FIN_WAIT", 250)])
    );
    assert_eq!(
        count(any(), CountBy::Destination).await.unwrap(),
        counts(&[
            ("10.1.1.0:8080", 334),
            ("10.1.1.1:8080", 333),
            ("10.1.1.2:8080", 333)
        ])
    );
    assert_eq!(count(any(), CountBy::Client).await.unwrap().len(), 1000);
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
async fn more_groups_than_a_hundred_thousand_are_refused_before_all_is_read() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    let made = Made::default();
    made.table(&kernel, 100_000);
    let counts = executor
        .reader
        .count_connections(ConnectionCountsQuery {
            filter: any(),
            by: CountBy::Client,
        })
        .await;
    assert_eq!(counts.unwrap().len(), 100_000);
    made.table(&kernel, usize::MAX);
    let error = executor
        .reader
        .count_connections(ConnectionCountsQuery {
            filter: any(),
            by: CountBy::Client,
        })
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::TooLarge);
    assert!(error.hint.is_some());
}

#[tokio::test]
async fn as_many_readings_run_at_a_time_as_may() {
    let kernel = FakeKernel::new();
    let limits = ExecutorLimits {
        connection_streams: 2,
        ..ExecutorLimits::default()
    };
    let executor = start_with(&kernel, limits);
    Made::default().table(&kernel, usize::MAX);
    let first = executor
        .reader
        .connections(ConnectionsQuery {
            filter: any(),
            limit: None,
        })
        .unwrap();
    let second = executor
        .reader
        .connections(ConnectionsQuery {
            filter: any(),
            limit: None,
        })
        .unwrap();
    let error = executor
        .reader
        .connections(ConnectionsQuery {
            filter: any(),
            limit: None,
        })
        .unwrap_err();
    assert_eq!(error.reason, Reason::RateLimited);
    let error = executor
        .reader
        .count_connections(ConnectionCountsQuery {
            filter: any(),
            by: CountBy::State,
        })
        .await
        .unwrap_err();
    assert_eq!(error.reason, Reason::RateLimited);
    drop(first);
    until("one more may be read", || {
        executor
            .reader
            .connections(ConnectionsQuery {
                filter: any(),
                limit: Some(1),
            })
            .is_ok()
    })
    .await;
    drop(second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_reading_after_the_other_is_never_refused() {
    let kernel = FakeKernel::new();
    let limits = ExecutorLimits {
        connection_streams: 1,
        ..ExecutorLimits::default()
    };
    let executor = start_with(&kernel, limits);
    Made::default().table(&kernel, 300);
    for _ in 0..300 {
        let count = executor
            .reader
            .count_connections(ConnectionCountsQuery {
                filter: any(),
                by: CountBy::State,
            })
            .await;
        assert_eq!(count.unwrap().len(), 2);
        let read = all(executor
            .reader
            .connections(ConnectionsQuery {
                filter: any(),
                limit: None,
            })
            .unwrap())
        .await;
        assert_eq!(read.unwrap().len(), 300);
    }
}

#[tokio::test]
async fn a_table_that_is_not_there_is_a_kernel_without_ipvs() {
    let kernel = FakeKernel::new();
    let executor = start(&kernel);
    kernel.faults().unload();
    let error = all(executor
        .reader
        .connections(ConnectionsQuery {
            filter: any(),
            limit: None,
        })
        .unwrap())
    .await
    .unwrap_err();
    assert_eq!(error.reason, Reason::KernelUnavailable);
    let count = executor
        .reader
        .count_connections(ConnectionCountsQuery {
            filter: any(),
            by: CountBy::State,
        })
        .await;
    assert_eq!(count.unwrap_err().reason, Reason::KernelUnavailable);
}

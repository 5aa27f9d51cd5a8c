//! The progress that a watchdog asks for.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn there_is_progress_unless_a_thread_is_blocked() {
    let kernel = FakeKernel::new();
    let limits = ExecutorLimits {
        queue_length: 1,
        ..ExecutorLimits::default()
    };
    let executor = start_with(&kernel, limits);
    executor.reader.progress().await;
    for only in [0, 1] {
        let BlockedWorker {
            release,
            changes,
            reads,
        } = block_worker(&kernel, &executor).await;
        let mut full = pin!(read_fresh(&executor, TimeoutsQuery));
        submit(full.as_mut()).await;
        let mut progress = pin!(executor.reader.progress());
        submit(progress.as_mut()).await;
        release[only].send(()).unwrap();
        let blocked = Duration::from_millis(50);
        let early = tokio::time::timeout(blocked, progress.as_mut()).await;
        assert!(early.is_err(), "only thread {only} goes on");
        release[1 - only].send(()).unwrap();
        progress.await;
        changes.await.unwrap().unwrap();
        reads.await.unwrap().unwrap();
        full.await.unwrap();
    }
}

#[tokio::test]
async fn without_the_kernel_there_is_progress_too() {
    let kernel = FakeKernel::new();
    kernel.faults().unload();
    let executor = start(&kernel);
    read_fresh(&executor, InfoQuery).await.unwrap_err();
    executor.reader.progress().await;
}

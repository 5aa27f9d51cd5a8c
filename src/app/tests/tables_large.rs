//! Declared tables that take long to plan.

use std::time::Instant;

use super::{
    tables::{all, apply_with, service},
    *,
};

/// With a single worker, other requests run only if the planning leaves it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_large_table_does_not_stop_other_requests() {
    let (_, app) = setup();
    let servers: Vec<_> = (1..=200).map(|n| (n, 1)).collect();
    let services = |n: usize| {
        service(
            &format!("tcp-10.1.{}.{}-80", n / 250, n % 250 + 1),
            &servers,
        )
    };
    let services: Value = (0..250).map(services).collect();
    let apply = tokio::spawn(async move {
        let dry_run = context().clone().with_dry_run(true);
        let start = Instant::now();
        let report = apply_with(&app, &dry_run, "a", services, all()).await;
        assert_eq!(report.unwrap().operations.len(), 50_250);
        start.elapsed()
    });
    let others = tokio::spawn(async move {
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        while !apply.is_finished() {
            tokio::task::yield_now().await;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        (apply.await.unwrap(), longest)
    });
    let (took, longest) = others.await.unwrap();
    assert!(longest < took / 2, "{longest:?} of {took:?}");
}

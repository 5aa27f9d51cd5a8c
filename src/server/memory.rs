//! The memory allocator.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::budget::Budget;

/// Free memory at the top of the heap that is not returned to the system (M_TRIM_THRESHOLD):
/// enough for the largest table and a response rendered from it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRIM_THRESHOLD: libc::c_int = 64 << 20;
/// Size from which an allocation gets a mapping of its own, which is returned to the system when it
/// is freed (M_MMAP_THRESHOLD): the maximum that glibc accepts.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MMAP_THRESHOLD: libc::c_int = 32 << 20;

/// Time between the start or a large release and the return of the memory: what is released is freed by
/// then.
const RETURN_DELAY: Duration = Duration::from_millis(500);

/// Time without a further large release after which the memory of one is returned. Requests that follow each
/// other, such as the applies of a controller, use the same memory.
const LARGE_QUIET: Duration = Duration::from_secs(2);

/// The longest time for which the memory of large releases that follow each other is kept.
const LONGEST: Duration = Duration::from_secs(10);

/// Time without a further release after which the memory of a smaller one is returned.
const QUIET: Duration = Duration::from_secs(10);

/// Makes the allocator keep freed memory in the process.
///
/// Every listing allocates and frees a whole table. With glibc's defaults the memory is often
/// returned to the system, and the next listing takes one page fault per 4 KiB. Call this before
/// other threads are started. No effect unless the C library is glibc.
pub fn configure_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in [
        (libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD),
        (libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD),
        (libc::M_ARENA_MAX, heaps()),
    ] {
        #[expect(unsafe_code, reason = "the C library has no safe interface for this")]
        // SAFETY: mallopt takes two integers and does its own locking.
        let accepted = unsafe { libc::mallopt(parameter, value) };
        if accepted == 0 {
            tracing::debug!(parameter, value, "mallopt rejected the value");
        }
    }
}

/// Heaps of the process (M_ARENA_MAX): one for each processor, and two at least. Whatever takes long runs on a thread of
/// its own (`executor/offload.rs`), and each thread takes any heap: with glibc's default of 8 for each processor,
/// requests that follow each other use the memory of another heap each.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn heaps() -> libc::c_int {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    libc::c_int::try_from(processors)
        .unwrap_or(libc::c_int::MAX)
        .max(2)
}

/// Returns free memory to the system after the start, and after requests have released much of it. The
/// allocator returns only what is at the top of its heaps, and requests of many threads leave holes below
/// it.
pub async fn return_freed_memory(budget: Budget) {
    loop {
        let mut used = usize::MAX;
        // Until nothing more is released.
        while budget.used() < used {
            used = budget.used();
            sleep(RETURN_DELAY).await;
            // It walks all heaps.
            drop(tokio::task::spawn_blocking(trim).await);
        }
        tokio::select! {
            () = large(&budget) => {}
            () = quiet(&budget) => {}
        }
    }
}

/// Waits until much memory has been released, and then no more for a while.
async fn large(budget: &Budget) {
    budget.released().await;
    let repeated = async { while timeout(LARGE_QUIET, budget.released()).await.is_ok() {} };
    // At the end of either.
    let _ = timeout(LONGEST, repeated).await;
}

/// Waits until some memory has been released, and then no more for a while. Lists that follow each
/// other use the same memory, which would cost a page fault per 4 KiB each time.
async fn quiet(budget: &Budget) {
    budget.released_some().await;
    while timeout(QUIET, budget.released_some()).await.is_ok() {}
}

fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "the C library has no safe interface for this")]
        // SAFETY: malloc_trim takes an integer and does its own locking.
        let returned = unsafe { libc::malloc_trim(0) };
        tracing::debug!(returned, "returned free memory to the system");
    }
}

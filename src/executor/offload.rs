//! Work that may take long, on a thread that other tasks may be waiting for.

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::clock;

/// Reads the clock anew when dropped.
struct Blocked;

/// Whether the current task may run what [`offload`] may have to move: its runtime has other threads.
pub fn is_in_a_task() -> bool {
    let runtime = Handle::try_current();
    runtime.is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Runs something that may take longer than a task may occupy a worker of the async runtime. If this
/// is a worker, its other tasks move to another thread first. A thread of the executor just runs it.
pub fn offload<T>(work: impl FnOnce() -> T) -> T {
    match is_in_a_task() {
        true => {
            let _blocked = Blocked;
            tokio::task::block_in_place(work)
        }
        false => work(),
    }
}

/// [Offloads](offload) work that may take long.
pub fn offload_if<T>(may_take_long: bool, work: impl FnOnce() -> T) -> T {
    match may_take_long {
        true => offload(work),
        false => work(),
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        clock::has_blocked();
    }
}

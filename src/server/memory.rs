//! Configuration of the memory allocator.

/// Free memory at the top of the heap that is not returned to the system (M_TRIM_THRESHOLD):
/// enough for the largest table and a response rendered from it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRIM_THRESHOLD: libc::c_int = 64 << 20;
/// Size from which an allocation gets a mapping of its own, which is returned to the system when it
/// is freed (M_MMAP_THRESHOLD): the maximum that glibc accepts.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MMAP_THRESHOLD: libc::c_int = 32 << 20;

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
    ] {
        #[expect(unsafe_code, reason = "the C library has no safe interface for this")]
        // SAFETY: mallopt takes two integers and does its own locking.
        let accepted = unsafe { libc::mallopt(parameter, value) };
        if accepted == 0 {
            tracing::debug!(parameter, value, "mallopt rejected the value");
        }
    }
}

//! What the allocator does with memory that is given back.

/// Freed memory that stays with the process: as much as the largest table takes, with an answer made
/// of it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: libc::c_int = 64 << 20;
/// What is allocated by itself, and given back to the system when it is freed: the most that glibc
/// allows.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ALONE: libc::c_int = 32 << 20;

/// Has the allocator keep what is freed. A table is read, told and freed; by glibc's own measure it
/// often gives the memory back then, and each listing gets it anew, a page fault for every 4 KiB.
/// Best called before there are other threads; does nothing where the C library is not glibc.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in [
        (libc::M_TRIM_THRESHOLD, KEPT),
        (libc::M_MMAP_THRESHOLD, ALONE),
    ] {
        #[expect(unsafe_code, reason = "the C library has no other way to be told")]
        // SAFETY: mallopt takes two numbers and has a lock of its own.
        let taken = unsafe { libc::mallopt(parameter, value) };
        if taken == 0 {
            tracing::debug!(parameter, value, "the allocator keeps its own measure");
        }
    }
}

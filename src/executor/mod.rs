//! The only owner of sockets to the kernel.

mod fake;
mod kernel;

pub use kernel::{Kernel, Transport};

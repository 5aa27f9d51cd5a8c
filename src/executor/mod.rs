//! The only owner of sockets to the kernel.

pub mod fake;
mod kernel;

pub use fake::FakeKernel;
pub use kernel::{Kernel, Transport};

//! The transport to a kernel: netlink datagrams and files below `/proc`.
//!
//! There are two implementations of [`Kernel`]: the real one ([`NetlinkKernel`]) and an in-memory
//! simulator ([`FakeKernel`], feature `fake-kernel`). Both exchange netlink bytes, so that all code
//! above this module is the same in tests and in production.

mod buffers;
mod capability;
#[cfg(feature = "fake-kernel")]
pub mod fake;
mod netlink;
mod transport;

pub use buffers::RecvBuffers;
pub use capability::use_permitted_capability;
#[cfg(feature = "fake-kernel")]
pub use fake::FakeKernel;
pub use netlink::NetlinkKernel;
pub use transport::{Kernel, NamespaceId, Transport};

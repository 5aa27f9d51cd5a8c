//! What the tests on the host and those on a real kernel share.

pub mod exposition;
pub mod monitoring;
pub mod parity;
pub mod random;
pub mod tables;

//! Tests of the store.
#![allow(clippy::unwrap_used)]

mod crash;
mod damage;
mod failures;
mod log;
mod records;
pub(crate) mod support;

//! The module `ipvsadm` against transcripts of ipvsadm 1.31. `fixtures/cli/*.jsonl` has one step per
//! line.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::type_complexity,
    reason = "a test that panics fails"
)]

mod command_lines;
mod listings;
mod properties;
mod transcript;

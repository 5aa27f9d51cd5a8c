//! What the real ipvsadm printed, against what `ipvsd::rules` prints and refuses.
//! The transcripts were recorded with ipvsadm 1.31; `fixtures/cli/*.jsonl` has one step a line.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that panics fails"
)]

mod languages;
mod listings;
mod properties;
mod transcript;

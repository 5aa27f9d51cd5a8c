//! What the real ipvsadm printed, against what `ipvsd::ipvsadm` prints and refuses.
//! The transcripts were recorded with ipvsadm 1.31; `fixtures/cli/*.jsonl` has one step a line.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::type_complexity,
    reason = "a test that panics fails"
)]

mod languages;
mod listings;
mod properties;
mod transcript;

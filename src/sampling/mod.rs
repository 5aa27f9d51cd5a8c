//! Samples of the counters, and the rates between them, for streams and for the history.
//!
//! One sampler reads the table for all subscribers, and keeps the counters of what it has read. A frame has
//! the counters of a sample and the rates since an older one. The kernel refreshes the counters of
//! services and servers every 2 seconds, so samples are taken at multiples of that time, and a rate is never
//! over a shorter one than [`MIN_WINDOW`]. `docs/stats.md` describes what clients see. No I/O.

mod frame;
mod history;
mod interval;
mod options;
mod sample;
mod sampler;

#[cfg(test)]
mod tests;

pub use frame::{
    Frame, MeasuredRates, ServerFrame, ServiceFrame, TotalsFrame, charged_text, with_three_decimals,
};
pub use interval::Interval;
pub use options::SamplingOptions;
pub use sample::{MIN_WINDOW, Reading, Sample};
pub use sampler::{NextSample, Sampler, Subscription, Update};

//! Result lines: tab-separated, one measurement each. The unit follows from the work.

use std::{fmt::Display, time::Duration};

/// One measurement.
#[derive(Clone, Debug)]
pub struct Sample {
    pub work: String,
    pub size: String,
    pub contender: String,
    pub round: u32,
    pub value: f64,
}

/// Prints a measurement.
pub fn sample(work: &str, size: impl Display, contender: &str, round: u32, value: f64) {
    println!("sample\t{work}\t{size}\t{contender}\t{round}\t{value}");
}

/// Prints a remark for the report: on a contender that did not take part, or not fully.
pub fn remark(text: impl Display) {
    println!("remark\t{text}");
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The quantile of the values; sorts them.
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let place = (last as f64 * part).round() as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}

// === impl Sample ===

impl Sample {
    /// Parses a line; `None` for other lines.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.strip_prefix("sample\t")?.split('\t');
        Some(Self {
            work: fields.next()?.to_owned(),
            size: fields.next()?.to_owned(),
            contender: fields.next()?.to_owned(),
            round: fields.next()?.parse().ok()?,
            value: fields.next()?.parse().ok()?,
        })
    }
}

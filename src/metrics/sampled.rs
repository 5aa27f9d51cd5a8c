//! Families whose values are read when somebody scrapes.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use super::Histogram;

/// The labels of a sample. Values need no escapes: the encoder makes them.
pub type Labels = Vec<(&'static str, String)>;

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// An integer.
    Integer(u64),
    /// Any number.
    Real(f64),
}

/// What the samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Counters. The encoder appends `_total` to the name.
    Counter,
    /// Gauges.
    Gauge,
    /// The value is always 1. The encoder appends `_info` to the name.
    Info,
}

/// A family whose samples are read when it is encoded. A family without samples is not shown.
pub struct Sampled {
    /// Name without unit and without the ending of its kind.
    pub name: &'static str,
    /// Description, a sentence.
    pub help: &'static str,
    /// What the samples are.
    pub kind: Kind,
    /// Unit, which is a part of the name.
    pub unit: Option<Unit>,
    /// Reads the samples.
    pub read: Box<dyn Fn() -> Vec<(Labels, Value)> + Send + Sync>,
}

/// A family of histograms of seconds, or of numbers. Those without a value are not shown.
pub(super) struct Histograms {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    /// Calls its argument with each histogram.
    pub(super) each: Box<EachHistogram>,
}

type EachHistogram = dyn Fn(&mut dyn FnMut(Labels, &Histogram)) + Send + Sync;

// === impl Sampled ===

impl Sampled {
    /// A family with one sample without labels.
    pub fn one(
        name: &'static str,
        help: &'static str,
        kind: Kind,
        read: impl Fn() -> Value + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            help,
            kind,
            unit: None,
            read: Box::new(move || vec![(Labels::new(), read())]),
        }
    }

    /// Writes the family.
    pub(super) fn encode_into(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let samples = (self.read)();
        if samples.is_empty() {
            return Ok(());
        }
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Info => MetricType::Info,
        };
        let mut family =
            encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), kind)?;
        for (labels, value) in samples {
            if self.kind == Kind::Info {
                family.encode_info(&labels)?;
                continue;
            }
            let mut sample = family.encode_family(&labels)?;
            match (self.kind, value) {
                (Kind::Counter, Value::Integer(value)) => {
                    sample.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
                }
                (Kind::Counter, Value::Real(value)) => {
                    sample.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
                }
                (_, Value::Integer(value)) => sample.encode_gauge(&value)?,
                (_, Value::Real(value)) => sample.encode_gauge(&value)?,
            }
        }
        Ok(())
    }
}

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_into(&mut encoder)
    }
}

impl fmt::Debug for Sampled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sampled").field(&self.name).finish()
    }
}

// === impl Histograms ===

impl Collector for Histograms {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut is_empty = true;
        (self.each)(&mut |_, histogram| is_empty &= histogram.count() == 0);
        if is_empty {
            return Ok(());
        }
        let unit = self.unit.as_ref();
        let mut family =
            encoder.encode_descriptor(self.name, self.help, unit, MetricType::Histogram)?;
        let mut result = Ok(());
        (self.each)(&mut |labels, histogram| {
            if histogram.count() > 0 && result.is_ok() {
                let sample = family.encode_family(&labels);
                result = sample.and_then(|sample| histogram.encode(sample));
            }
        });
        result
    }
}

impl fmt::Debug for Histograms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Histograms").field(&self.name).finish()
    }
}

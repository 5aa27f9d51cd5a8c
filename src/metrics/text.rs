//! The text of families with very many samples. prometheus-client formats each label of each sample anew; here
//! the labels of a server are formatted once, and copied into its samples.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Format, Kind};

/// A family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// Name with its unit, without the ending of its kind.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Option<&'static str>,
}

/// Texts, one after the other.
#[derive(Debug, Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// A time in milliseconds since 1970; `None` is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Created(u64);

// === impl Family ===

impl Family {
    /// A counter.
    pub(super) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            kind: Kind::Counter,
            unit: None,
        }
    }

    /// A counter of bytes.
    pub(super) const fn bytes(name: &'static str, help: &'static str) -> Self {
        Self {
            unit: Some("bytes"),
            ..Self::counter(name, help)
        }
    }

    /// A gauge.
    pub(super) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self {
            kind: Kind::Gauge,
            ..Self::counter(name, help)
        }
    }

    /// A family of information.
    pub(super) const fn info(name: &'static str, help: &'static str) -> Self {
        Self {
            kind: Kind::Info,
            ..Self::counter(name, help)
        }
    }

    fn suffix(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "_total",
            Kind::Gauge => "",
            Kind::Info => "_info",
        }
    }

    /// Writes help, type and unit.
    pub(super) fn header(&self, format: Format, out: &mut Vec<u8>) {
        let kind = match (self.kind, format) {
            (Kind::Counter, _) => "counter",
            (Kind::Info, Format::OpenMetrics) => "info",
            (Kind::Gauge | Kind::Info, _) => "gauge",
        };
        // The samples of Prometheus' format have the name of their family.
        let suffix = match format {
            Format::OpenMetrics => "",
            Format::Prometheus => self.suffix(),
        };
        let name = [self.name, suffix];
        for (word, text) in [("# HELP ", self.help), ("# TYPE ", kind)] {
            out.extend_from_slice(word.as_bytes());
            name.iter()
                .for_each(|part| out.extend_from_slice(part.as_bytes()));
            out.push(b' ');
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        }
        if let (Some(unit), Format::OpenMetrics) = (self.unit, format) {
            let parts = ["# UNIT ", self.name, " ", unit, "\n"];
            parts
                .iter()
                .for_each(|part| out.extend_from_slice(part.as_bytes()));
        }
    }

    /// Writes a sample, and since when it is counted, if that is known and the format has it.
    pub(super) fn sample(
        &self,
        format: Format,
        out: &mut Vec<u8>,
        labels: &[u8],
        value: u64,
        created: Created,
    ) {
        let mut digits = itoa::Buffer::new();
        self.line(out, self.suffix(), labels, digits.format(value).as_bytes());
        if created != Created::default() && format == Format::OpenMetrics {
            let seconds = digits.format(created.0 / 1000).to_owned();
            let text = format!("{seconds}.{:03}", created.0 % 1000);
            self.line(out, "_created", labels, text.as_bytes());
        }
    }

    fn line(&self, out: &mut Vec<u8>, suffix: &str, labels: &[u8], value: &[u8]) {
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(suffix.as_bytes());
        if !labels.is_empty() {
            out.push(b'{');
            out.extend_from_slice(labels);
            out.push(b'}');
        }
        out.push(b' ');
        out.extend_from_slice(value);
        out.push(b'\n');
    }
}

// === impl Texts ===

impl Texts {
    /// Appends a text.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// The text with this number; empty if there is none.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let start = index
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        let end = self.ends.get(index).copied().unwrap_or_default();
        let range = start.copied().unwrap_or_default()..end;
        self.bytes.get(range).unwrap_or_default()
    }

    /// The number of texts.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Its memory in bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

// === impl Created ===

impl From<Option<SystemTime>> for Created {
    fn from(time: Option<SystemTime>) -> Self {
        let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self(since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or_default()
        }))
    }
}

/// Appends labels, separated by commas, with the escapes of their values.
pub(super) fn labels(out: &mut Vec<u8>, labels: &[(&str, &str)]) {
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        for byte in value.bytes() {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'"' => out.extend_from_slice(b"\\\""),
                b'\n' => out.extend_from_slice(b"\\n"),
                _ => out.push(byte),
            }
        }
        out.push(b'"');
    }
}

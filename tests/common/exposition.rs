//! A strict parser of the two text formats of metrics: what they forbid fails the test.

use std::collections::{BTreeMap, BTreeSet};

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus.
    Prometheus,
}

/// A parsed text.
#[derive(Debug, Default)]
pub struct Exposition {
    pub families: BTreeMap<String, Family>,
}

#[derive(Debug)]
pub struct Family {
    pub kind: String,
    pub samples: Vec<Sample>,
}

/// A sample. Labels are sorted.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
    /// The value as it was written.
    pub text: String,
}

// === impl Exposition ===

impl Exposition {
    /// Parses a text.
    #[track_caller]
    pub fn parse(text: &str, format: Format) -> Self {
        let mut lines: Vec<_> = text
            .strip_suffix('\n')
            .expect("the last line ends")
            .split('\n')
            .collect();
        if format == Format::OpenMetrics {
            assert_eq!(lines.pop(), Some("# EOF"));
        }
        let mut families = BTreeMap::new();
        let mut current: Option<(String, Family)> = None;
        let mut lines = lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                if let Some((name, family)) = current.take() {
                    check(&name, &family);
                    let before = families.insert(name.clone(), family);
                    assert!(before.is_none(), "the samples of {name} are not together");
                }
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(is_name(name), "{line}");
                assert!(help.ends_with('.') && !help.contains('\\'), "{line}");
                let kind = lines.next().expect(line);
                let kind = kind.strip_prefix(&format!("# TYPE {name} ")).expect(kind);
                if let Some(unit) = lines.next_if(|next| next.starts_with("# UNIT ")) {
                    assert_eq!(format, Format::OpenMetrics, "{unit}");
                    let unit = unit.strip_prefix(&format!("# UNIT {name} ")).expect(unit);
                    assert!(name.ends_with(&format!("_{unit}")), "{line}");
                }
                let family = Family {
                    kind: kind.to_owned(),
                    samples: Vec::new(),
                };
                current = Some((name.to_owned(), family));
                continue;
            }
            assert!(!line.starts_with('#') && !line.is_empty(), "{line:?}");
            let (name, family) = current.as_mut().expect("a family begins with # HELP");
            let sample = Sample::parse(line);
            check_name(name, &family.kind, &sample, format, family.samples.last());
            family.samples.push(sample);
        }
        if let Some((name, family)) = current {
            check(&name, &family);
            assert!(families.insert(name, family).is_none());
        }
        let exposition = Self { families };
        let mut series = BTreeSet::new();
        for sample in exposition.samples() {
            let key = (sample.name.clone(), sample.labels.clone());
            assert!(series.insert(key), "{sample:?} appears twice");
        }
        exposition
    }

    /// All samples.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.families.values().flat_map(|family| &family.samples)
    }

    /// The samples of this name.
    pub fn named(&self, name: &str) -> Vec<&Sample> {
        self.samples()
            .filter(|sample| sample.name == name)
            .collect()
    }

    /// The value of a sample, if there is one with this name and these labels among its own.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.samples().filter(|sample| {
            let has = |(label, value): &(&str, &str)| sample.label(label) == *value;
            sample.name == name && labels.iter().all(has)
        });
        let first = found.next()?;
        assert!(
            found.next().is_none(),
            "{name} {labels:?} has several samples"
        );
        Some(first.value)
    }

    /// The value of a sample that there must be.
    #[track_caller]
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.find(name, labels);
        found.unwrap_or_else(|| panic!("no sample {name} {labels:?}"))
    }
}

// === impl Sample ===

impl Sample {
    /// A label; empty if there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    fn parse(line: &str) -> Self {
        let end = line.find(['{', ' ']).expect(line);
        let (name, rest) = line.split_at(end);
        assert!(is_name(name), "{line}");
        let mut labels = BTreeMap::new();
        let value = match rest.strip_prefix('{') {
            None => rest,
            Some(inner) => {
                let mut rest = inner;
                loop {
                    let (label, after) = rest.split_once("=\"").expect(line);
                    assert!(is_name(label) && !label.contains(':'), "{line}");
                    let (value, after) = label_value(after, line);
                    let before = labels.insert(label.to_owned(), value);
                    assert!(before.is_none(), "{line}");
                    match after.strip_prefix(',') {
                        Some(next) => rest = next,
                        None => break after.strip_prefix('}').expect(line),
                    }
                }
            }
        };
        // Neither a second space nor a time stamp.
        let text = value.strip_prefix(' ').expect(line);
        assert!(!text.contains(' '), "{line}");
        let number = match text {
            "+Inf" => f64::INFINITY,
            text => text.parse().expect(line),
        };
        Self {
            name: name.to_owned(),
            labels,
            value: number,
            text: text.to_owned(),
        }
    }
}

/// A label's value without its escapes, and what follows the closing quote.
fn label_value<'a>(text: &'a str, line: &str) -> (String, &'a str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, char @ ('\\' | '"'))) => char,
                _ => panic!("an unknown escape: {line}"),
            }),
            char => value.push(char),
        }
    }
    panic!("no closing quote: {line}")
}

fn is_name(name: &str) -> bool {
    let first = name.bytes().next().unwrap_or(b'0');
    !first.is_ascii_digit() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Checks that a sample belongs to its family.
fn check_name(family: &str, kind: &str, sample: &Sample, format: Format, before: Option<&Sample>) {
    let suffix = sample.name.strip_prefix(family);
    let suffix = suffix.unwrap_or_else(|| panic!("{sample:?} is not of {family}"));
    let is_valid = match (kind, format) {
        ("counter", Format::OpenMetrics) if suffix == "_created" => {
            // Right after the value that it is about.
            let is_of = |before: &Sample| {
                before.name == format!("{family}_total") && before.labels == sample.labels
            };
            sample.value > 0.0 && before.is_some_and(is_of)
        }
        ("counter", Format::OpenMetrics) => suffix == "_total",
        ("counter", Format::Prometheus) => suffix.is_empty() && family.ends_with("_total"),
        ("info", Format::OpenMetrics) => suffix == "_info" && sample.value == 1.0,
        ("gauge", _) => suffix.is_empty(),
        ("histogram", _) => ["_bucket", "_sum", "_count"].contains(&suffix),
        _ => false,
    };
    assert!(is_valid, "{sample:?} in {family}, a {kind}");
    if matches!(kind, "counter" | "histogram") {
        assert!(sample.value >= 0.0, "{sample:?}");
    }
}

/// Checks a family as a whole: it has samples, and the buckets of histograms are complete.
fn check(name: &str, family: &Family) {
    assert!(!family.samples.is_empty(), "{name} has no samples");
    if family.kind != "histogram" {
        return;
    }
    let mut histograms: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        assert_eq!(bound.is_some(), sample.name.ends_with("_bucket"));
        histograms.entry(labels).or_default().push((bound, sample));
    }
    for samples in histograms.values() {
        let mut last = (f64::NEG_INFINITY, 0.0);
        let mut count = None;
        for (bound, sample) in samples {
            match bound {
                Some(bound) => {
                    let bound = match bound.as_str() {
                        "+Inf" => f64::INFINITY,
                        bound => bound.parse().unwrap(),
                    };
                    assert!(last.0 < bound && last.1 <= sample.value, "{sample:?}");
                    last = (bound, sample.value);
                }
                None if sample.name.ends_with("_count") => count = Some(sample.value),
                None => {}
            }
        }
        assert_eq!((last.0, Some(last.1)), (f64::INFINITY, count), "{name}");
    }
}

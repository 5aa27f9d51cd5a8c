//! The results of a part, and values with their spread.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;

use super::{
    super::{
        sample::{Sample, quantile},
        table::Size,
    },
    NOTHING, WORDS,
};

/// The results of one part: of a file, or of one file per work.
pub struct Part {
    /// `uml`, `second`, `tcg`, `transport`, `memory`, `micro`.
    pub name: String,
    pub runs: Vec<Run>,
    pub remarks: Vec<String>,
    pub samples: Vec<Sample>,
}

/// The facts about a file.
pub struct Run {
    pub work: String,
    pub facts: BTreeMap<String, String>,
}

/// Median, minimum and maximum.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
    pub count: usize,
}

/// The samples of a contender.
#[derive(Clone, Copy)]
pub struct Samples {
    pub work: &'static str,
    pub contender: &'static str,
    pub size: &'static str,
}

/// With three digits, or all digits of the integer part.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e4 => {
            let digits = format!("{value:.0}");
            let groups: Vec<_> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(String::from_utf8_lossy)
                .collect();
            groups.join(" ")
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

// === impl Samples ===

impl Samples {
    pub const fn new(work: &'static str, contender: &'static str, size: &'static str) -> Self {
        Self {
            work,
            contender,
            size,
        }
    }
}

// === impl Part ===

impl Part {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            runs: Vec::new(),
            remarks: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Adds the results of a file.
    pub fn read(&mut self, work: &str, path: &Path) -> anyhow::Result<()> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut facts = BTreeMap::new();
        for line in text.lines() {
            if let Some(sample) = Sample::parse(line) {
                self.samples.push(sample);
            } else if let Some((name, value)) =
                line.strip_prefix("fact\t").and_then(|l| l.split_once('\t'))
            {
                facts.insert(name.to_owned(), value.to_owned());
            } else if let Some(text) = line.strip_prefix("remark\t")
                && !self.remarks.iter().any(|known| known == text)
            {
                self.remarks.push(text.to_owned());
            }
        }
        self.runs.push(Run {
            work: work.to_owned(),
            facts,
        });
        Ok(())
    }

    pub fn title(&self) -> String {
        let kernel = self.runs.iter().find_map(|run| run.facts.get("kernel"));
        let kernel = kernel.map_or("", String::as_str);
        // 6.1 of 6.1.176
        let version: Vec<_> = kernel.splitn(3, '.').take(2).collect();
        let version = version.join(".");
        match self.name.as_str() {
            "second" if version.is_empty() => "UML, newer kernel".to_owned(),
            "uml" | "second" => format!("UML {version}").trim_end().to_owned(),
            "tcg" if version.is_empty() => "QEMU TCG".to_owned(),
            "tcg" => format!("QEMU TCG {version}"),
            name => name.to_owned(),
        }
    }

    pub fn of<'a>(
        &'a self,
        work: &'a str,
        size: Option<&'a str>,
        contender: &'a str,
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.work == work
                && sample.contender == contender
                && size.is_none_or(|size| sample.size == size)
        })
    }

    pub fn spread(&self, work: &str, size: Option<&str>, contender: &str) -> Option<Spread> {
        Spread::of(
            self.of(work, size, contender)
                .map(|sample| sample.value)
                .collect(),
        )
    }

    /// Ratios or differences within the rounds that both have.
    pub fn compared(
        &self,
        ours: Samples,
        base: Samples,
        how: fn(f64, f64) -> f64,
    ) -> Option<Spread> {
        let values = self
            .of(ours.work, Some(ours.size), ours.contender)
            .filter_map(|our| {
                let mut bases = self.of(base.work, Some(base.size), base.contender);
                let base = bases.find(|base| base.round == our.round)?;
                Some(how(our.value, base.value))
            });
        Spread::of(values.collect())
    }

    /// Ratios within the rounds that both have.
    pub fn ratio(
        &self,
        ours: (&str, &str),
        base: (&str, &str),
        size: Option<&str>,
    ) -> Option<Spread> {
        let ratios = self.of(ours.0, size, ours.1).filter_map(|our| {
            let mut bases = self.of(base.0, Some(&our.size), base.1);
            let base = bases.find(|base| base.round == our.round)?;
            Some(our.value / base.value)
        });
        Spread::of(ratios.collect())
    }

    /// In the order of their objects; the size of some works is a number.
    pub fn sizes(&self, work: &str) -> Vec<String> {
        let samples = self.samples.iter().filter(|sample| sample.work == work);
        let mut sizes: Vec<_> = samples.map(|sample| sample.size.clone()).collect();
        sizes.sort_by_key(|size| size.parse::<Size>().ok());
        sizes.dedup();
        sizes
    }

    /// The row of a contender: a cell for each size, and the cost per object if wanted.
    pub fn cells(
        &self,
        (work, contender): (&str, &str),
        base: Option<&str>,
        sizes: &[String],
        objects: bool,
    ) -> Vec<String> {
        let (mut cells, mut costs) = (Vec::new(), Vec::new());
        for size in sizes {
            let spread = self.spread(work, Some(size), contender);
            let base = base.filter(|base| *base != contender);
            let ratio =
                base.and_then(|base| self.ratio((work, contender), (work, base), Some(size)));
            let ratio = ratio.map_or_else(String::new, |r| format!("; {} ×", number(r.median)));
            cells.push(spread.map_or_else(|| NOTHING.to_owned(), |s| s.text() + &ratio));
            if objects {
                let count = size.parse::<Size>().map_or(1, Size::commands);
                costs.push(spread.map_or_else(
                    || NOTHING.to_owned(),
                    |s| number(s.median * 1e3 / f64::from(count)),
                ));
            }
        }
        cells.extend(costs);
        cells
    }

    /// In the order of [`WORDS`].
    pub fn contenders(&self, work: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for sample in self.samples.iter().filter(|sample| sample.work == work) {
            if !names.contains(&sample.contender) {
                names.push(sample.contender.clone());
            }
        }
        names.sort_by_key(|name| WORDS.iter().position(|(word, _)| word == name));
        names
    }
}

// === impl Spread ===

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        let median = quantile(&mut values, 0.5);
        Some(Self {
            median,
            least: *values.first()?,
            most: *values.last()?,
            count: values.len(),
        })
    }

    pub fn scaled(self, factor: f64) -> Self {
        Self {
            median: self.median * factor,
            least: self.least * factor,
            most: self.most * factor,
            ..self
        }
    }

    pub fn inverse(self) -> Self {
        Self {
            median: 1.0 / self.median,
            least: 1.0 / self.most,
            most: 1.0 / self.least,
            ..self
        }
    }

    pub fn text(self) -> String {
        if self.count == 1 {
            return number(self.median);
        }
        format!(
            "{} ({}–{})",
            number(self.median),
            number(self.least),
            number(self.most)
        )
    }
}

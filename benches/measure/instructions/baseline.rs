//! The committed counts: lines of a name and a number, separated by a tab.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use anyhow::{Context, bail};

/// Counts by scenario.
#[derive(Default)]
pub struct Baseline(BTreeMap<String, u64>);

/// The largest increase that passes, in percent. A decrease beyond it is reported.
const TOLERANCE: f64 = 3.0;

const HEAD: &str = "# Instructions of one iteration. Written by `lab/instructions update`.\n";

// === impl Baseline ===

impl Baseline {
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let counts = lines.map(|line| {
            let (name, count) = line.split_once('\t').with_context(|| line.to_owned())?;
            anyhow::Ok((name.to_owned(), count.parse()?))
        });
        Ok(Self(counts.collect::<Result<_, _>>()?))
    }

    /// Writes the counts; those of other scenarios stay, unless all were counted.
    pub fn update(
        mut self,
        path: &Path,
        counts: &[(&'static str, u64)],
        all: bool,
    ) -> anyhow::Result<()> {
        if all {
            self.0.clear();
        }
        let counts = counts
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count));
        self.0.extend(counts);
        let mut text = HEAD.to_owned();
        for (name, count) in &self.0 {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}\t{count}");
        }
        Ok(fs::write(path, text)?)
    }

    /// Prints the comparison; fails if a scenario needs more than before, or is not in the file.
    pub fn compare(&self, counts: &[(&'static str, u64)], all: bool) -> anyhow::Result<()> {
        let mut failed = Vec::new();
        let mut better = Vec::new();
        for (name, count) in counts {
            let Some(base) = self.0.get(*name) else {
                println!("{name:32} {count:>12}  not in the baseline");
                failed.push(*name);
                continue;
            };
            let change = (*count as f64 / (*base).max(1) as f64 - 1.0) * 100.0;
            let verdict = if change > TOLERANCE {
                failed.push(*name);
                "FAILED"
            } else if change < -TOLERANCE {
                better.push(*name);
                "better"
            } else {
                "ok"
            };
            println!("{name:32} {count:>12} {base:>12} {change:>+7.2} %  {verdict}");
        }
        let counted = |name: &str| counts.iter().any(|(counted, _)| *counted == name);
        let gone: Vec<_> = self.0.keys().filter(|name| all && !counted(name)).collect();
        for name in &gone {
            println!("{name:32} in the baseline, but not counted");
        }
        if !better.is_empty() {
            println!("Renew the baseline, so that this gain is kept: lab/instructions update");
        }
        let failures = failed.len() + gone.len();
        println!(
            "{} passed, {failures} failed, 0 skipped",
            counts.len() - failed.len()
        );
        if failures > 0 {
            bail!(
                "more than {TOLERANCE} % more instructions than the baseline. Profile it with valgrind \
                 --tool=callgrind; if the cost is intended, run lab/instructions update"
            );
        }
        Ok(())
    }
}

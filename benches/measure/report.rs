//! Generates the document from result files.

mod targets;

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use self::targets::targets;
use super::{
    sample::{Sample, quantile},
    table::Size,
};

/// The results of one part of a run.
struct Part {
    /// `uml`, `second`, `tcg`, `transport`, `memory`, `micro`.
    name: String,
    facts: BTreeMap<String, String>,
    remarks: Vec<String>,
    samples: Vec<Sample>,
}

/// Median, minimum and maximum.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
    count: usize,
}

/// The samples of a contender.
#[derive(Clone, Copy)]
struct Samples {
    work: &'static str,
    contender: &'static str,
    size: &'static str,
}

/// The parts that run in a kernel with IPVS.
const KERNELS: [&str; 3] = ["uml", "second", "tcg"];

/// Labels of contenders, in the order of the tables.
const WORDS: &[(&str, &str)] = &[
    ("raw", "raw netlink"),
    ("raw-packed", "raw netlink, batched"),
    ("raw-single", "raw netlink, one at a time"),
    ("ipvsadm", "`ipvsadm`"),
    ("keepalived", "keepalived"),
    ("http-rules", "`POST /v1/rules`"),
    ("grpc-rules", "`RestoreRules`"),
    ("ipvsctl", "`ipvsctl`"),
    ("http-put", "`PUT /v1/services/{id}` each"),
    ("grpc-replace", "`ReplaceService` each"),
    ("http", "HTTP"),
    ("grpc", "gRPC"),
    ("grpc-decoded", "gRPC, decoded by the generated client"),
    ("cat", "`cat /proc/net/ip_vs_conn`"),
    ("write", "a change of another service"),
    ("readyz", "`GET /readyz`"),
    ("command", "one kernel command that adds a server"),
    ("ipvsd", "ipvsd"),
    ("nothing", "static server"),
    ("idle", "ipvsd"),
    ("minute-after", "ipvsd"),
    ("nothing-http", "static HTTP server"),
    ("nothing-grpc", "static gRPC server"),
    ("rules-anew", "`POST /v1/rules?clear=true`"),
    ("http-changed", "`PUT` of the services that differ"),
    ("http-all", "`PUT` of all services"),
    ("restore", "`PUT` of all services into an empty kernel"),
    ("alone", "without other clients"),
    ("listed", "with a client that lists over HTTP"),
];

/// The document.
pub fn document(files: &[PathBuf]) -> anyhow::Result<String> {
    let parts: Vec<_> = files
        .iter()
        .map(|file| Part::read(file))
        .collect::<Result<_, _>>()?;
    let find = |name: &str| parts.iter().find(|part| part.name == name);
    let mut out = String::new();
    out.push_str(
        "# Benchmarks\n\n\
         Written by `make bench`; do not edit. Each number is the median over the rounds, with minimum and\n\
         maximum in parentheses. Each ratio is taken within a round; the order of the contenders alternates\n\
         between rounds. The kernels are described in [lab/README.md](../lab/README.md), the measurements in\n\
         [benches/measure](../benches/measure).\n\
         \n\
         UML runs user code at full speed and system calls about 50 times slower than a real machine. QEMU TCG\n\
         runs everything about 10 times slower, so its ratios are closer to those of a real machine. Times of\n\
         different kernels are not comparable.\n",
    );
    writeln!(
        out,
        "\n## Runs\n\n| part | kernel | machine | version | when | command |\n|---|---|---|---|---|---|"
    )?;
    for part in &parts {
        let fact = |name: &str| part.facts.get(name).map_or("", String::as_str);
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | `{}` |",
            part.title(),
            fact("kernel"),
            fact("machine"),
            fact("version"),
            fact("date"),
            fact("command")
        )?;
    }
    let kernels: Vec<_> = KERNELS.iter().filter_map(|name| find(name)).collect();
    let tested: Vec<_> = kernels.iter().copied().chain(find("transport")).collect();
    if !tested.is_empty() {
        reached(&mut out, &tested)?;
    }
    if let Some(part) = find("transport") {
        transport(&mut out, part)?;
    }
    if let Some(part) = find("memory") {
        memory(&mut out, part)?;
    }
    for part in kernels {
        kernel(&mut out, part)?;
    }
    if let Some(part) = find("micro") {
        micro(&mut out, part)?;
    }
    let remarks: Vec<_> = parts
        .iter()
        .flat_map(|part| {
            part.remarks
                .iter()
                .map(|text| format!("- {}: {text}\n", part.title()))
        })
        .collect();
    if !remarks.is_empty() {
        write!(out, "\n## Remarks\n\n{}", remarks.concat())?;
    }
    Ok(out)
}

fn reached(out: &mut String, tested: &[&Part]) -> anyhow::Result<()> {
    let titles: Vec<_> = tested
        .iter()
        .map(|part| match part.name.as_str() {
            "transport" => "fake kernel".to_owned(),
            _ => part.title(),
        })
        .collect();
    writeln!(out, "\n## Targets\n")?;
    writeln!(
        out,
        "| work | table | tested | baseline | {} |",
        titles.join(" | ")
    )?;
    writeln!(out, "|---|---|---|---|{}", "---|".repeat(tested.len()))?;
    for target in targets() {
        let cells: Vec<_> = tested.iter().map(|part| target.cell(part)).collect();
        if cells.iter().any(|cell| cell != "–") {
            let described = target.describe().join(" | ");
            writeln!(
                out,
                "| {} | {described} | {} |",
                target.work,
                cells.join(" | ")
            )?;
        }
    }
    Ok(())
}

fn transport(out: &mut String, part: &Part) -> anyhow::Result<()> {
    writeln!(out, "\n## Transports\n")?;
    writeln!(
        out,
        "A table of 100×10 with counters and rates, on the fake kernel; the static server is axum and\n\
         tonic with a static answer of the same length. Requests per second.\n"
    )?;
    writeln!(
        out,
        "| load | ipvsd | static server | ratio | dumps per second | p99, ms |\n|---|---|---|---|---|---|"
    )?;
    for (load, words) in [
        ("poll http", "pollers, `max-age=1`, HTTP"),
        ("poll http 304", "with `If-None-Match`, HTTP"),
        ("poll grpc", "pollers, gRPC"),
        ("get one", "one service, no caching, HTTP"),
    ] {
        let (Some(ours), Some(base)) = (
            part.spread(load, None, "ipvsd"),
            part.spread(load, None, "nothing"),
        ) else {
            continue;
        };
        let ratio = part.ratio((load, "ipvsd"), (load, "nothing"), None);
        let dumps = part.spread("dumps", None, load);
        let p99 = part.spread(&format!("{load} p99"), None, "ipvsd");
        let show = |spread: Option<Spread>| spread.map_or_else(|| "–".to_owned(), |s| s.text());
        let ratio = ratio.map_or_else(String::new, |ratio| ratio.text());
        let dumped = dumps.map_or_else(
            || "–".to_owned(),
            |dumps| format!("{}{}", dumps.text(), verdict(dumps.median <= 1.0, "≤ 1")),
        );
        writeln!(
            out,
            "| {words} | {} | {} | {ratio} | {dumped} | {} |",
            ours.text(),
            base.text(),
            show(p99)
        )?;
    }
    for (kind, words) in [("http", "JSON"), ("grpc", "protobuf")] {
        if let Some(bytes) = part.spread("answer bytes", None, kind) {
            writeln!(
                out,
                "\nOne response in {words}: {} bytes.",
                number(bytes.median)
            )?;
        }
    }
    Ok(())
}

fn memory(out: &mut String, part: &Part) -> anyhow::Result<()> {
    let size = part
        .sizes("memory")
        .pop()
        .unwrap_or_default()
        .replace('x', "×");
    writeln!(
        out,
        "\n## Memory\n\nResident memory of the daemon with a table of {size} in the kernel.\n"
    )?;
    writeln!(out, "| what | measured |\n|---|---|")?;
    for (contender, words, limit) in [
        ("idle", "idle RSS, before the first listing", Some(14.0)),
        ("http-peak", "peak while listing over HTTP", Some(60.0)),
        ("http-after", "RSS afterwards", None),
        ("grpc-peak", "peak while listing over gRPC", Some(60.0)),
        ("grpc-after", "RSS afterwards", None),
    ] {
        if let Some(kib) = part.spread("memory", None, contender) {
            let mib = kib.scaled(1.0 / 1024.0);
            let verdict =
                limit.map(|limit| verdict(mib.median <= limit, &format!("≤ {limit} MiB")));
            writeln!(
                out,
                "| {words} | {} MiB{} |",
                mib.text(),
                verdict.unwrap_or_default()
            )?;
        }
    }
    for (contender, words) in [("http", "HTTP"), ("grpc", "gRPC")] {
        if let Some(bytes) = part.spread("bytes a server", None, contender) {
            writeln!(
                out,
                "| bytes per real server, peak minus idle, {words} | {} |",
                bytes.text()
            )?;
        }
    }
    let soak: Vec<_> = part
        .samples
        .iter()
        .filter(|sample| sample.work == "soak")
        .collect();
    if let Some(first) = soak.first() {
        writeln!(
            out,
            "\nA soak test on the fake kernel, {} calls; RSS in MiB:\n",
            first.size
        )?;
        let names: Vec<_> = soak
            .iter()
            .map(|sample| sample.contender.as_str())
            .collect();
        let values: Vec<_> = soak
            .iter()
            .map(|sample| number(sample.value / 1024.0))
            .collect();
        writeln!(
            out,
            "| calls | {} |\n|---|{}\n| RSS | {} |",
            names.join(" | "),
            "---|".repeat(names.len()),
            values.join(" | ")
        )?;
    }
    Ok(())
}

fn kernel(out: &mut String, part: &Part) -> anyhow::Result<()> {
    writeln!(out, "\n## {}", part.title())?;
    for (work, title, base, unit) in [
        ("fill", "Loading a table", "raw-packed", "ms"),
        (
            "list",
            "Listing everything with counters and rates",
            "raw",
            "ms",
        ),
        (
            "replace",
            "Replacing a table by one that differs in 1 %",
            "restore",
            "ms",
        ),
        ("change p50", "One change, median", "raw", "µs"),
        ("change p99", "One change, 99th percentile", "raw", "µs"),
        (
            "beside p50",
            "One change beside a client that lists everything, median",
            "alone",
            "µs",
        ),
        ("beside p99", "The same, 99th percentile", "alone", "µs"),
        (
            "changes",
            "1000 changes: 64 concurrent clients, or one after the other",
            "raw",
            "ms",
        ),
    ] {
        let sizes = part.sizes(work);
        if sizes.is_empty() {
            continue;
        }
        writeln!(out, "\n### {title}, {unit}, and ratio to {}\n", words(base))?;
        let heads: Vec<_> = sizes.iter().map(|size| size.replace('x', "×")).collect();
        // Cost per object.
        let objects = matches!(work, "fill" | "list");
        let each: Vec<_> = heads
            .iter()
            .map(|head| format!("µs per object, {head}"))
            .collect();
        let each = if objects { each } else { Vec::new() };
        writeln!(out, "| | {} |", [heads, each.clone()].concat().join(" | "))?;
        writeln!(out, "|---|{}", "---|".repeat(sizes.len() + each.len()))?;
        for contender in part.contenders(work) {
            let mut cells = Vec::new();
            let mut costs = Vec::new();
            for size in &sizes {
                let spread = part.spread(work, Some(size), &contender);
                cells.push(spread.map_or_else(
                    || "–".to_owned(),
                    |spread| {
                        let ratio = part.ratio((work, &contender), (work, base), Some(size));
                        let ratio = ratio.filter(|_| contender != base);
                        let ratio =
                            ratio.map_or_else(String::new, |r| format!("; {} ×", number(r.median)));
                        format!("{}{ratio}", spread.text())
                    },
                ));
                if objects {
                    let count = size.parse::<Size>().map_or(1, Size::commands);
                    costs.push(spread.map_or_else(
                        || "–".to_owned(),
                        |s| number(s.median * 1e3 / f64::from(count)),
                    ));
                }
            }
            cells.extend(costs);
            writeln!(out, "| {} | {} |", words(&contender), cells.join(" | "))?;
        }
    }
    Ok(())
}

fn micro(out: &mut String, part: &Part) -> anyhow::Result<()> {
    writeln!(out, "\n## Micro-benchmarks\n")?;
    writeln!(out, "| what | time | instructions |\n|---|---|---|")?;
    let mut names = part.contenders("micro");
    names.extend(part.contenders("instructions"));
    names.sort();
    names.dedup();
    for name in names {
        let time = part.spread("micro", None, &name);
        let time = time.map_or_else(
            || "–".to_owned(),
            |s| {
                let (scale, unit) = match s.median {
                    ns if ns < 1e3 => (1.0, "ns"),
                    ns if ns < 1e6 => (1e-3, "µs"),
                    _ => (1e-6, "ms"),
                };
                format!("{} {unit}", s.scaled(scale).text())
            },
        );
        let count = part.spread("instructions", None, &name);
        let count = count.map_or_else(|| "–".to_owned(), |s| number(s.median));
        writeln!(out, "| `{name}` | {time} | {count} |")?;
    }
    Ok(())
}

fn words(contender: &str) -> &str {
    let known = WORDS.iter().find(|(name, _)| *name == contender);
    known.map_or(contender, |(_, words)| words)
}

fn verdict(met: bool, target: &str) -> String {
    format!("; {target}: {}", if met { "met" } else { "**not met**" })
}

/// With three digits, or all digits of the integer part.
fn number(value: f64) -> String {
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
    const fn new(work: &'static str, contender: &'static str, size: &'static str) -> Self {
        Self {
            work,
            contender,
            size,
        }
    }
}

// === impl Part ===

impl Part {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let mut part = Self {
            name: name.into_owned(),
            facts: BTreeMap::new(),
            remarks: Vec::new(),
            samples: Vec::new(),
        };
        for line in text.lines() {
            if let Some(sample) = Sample::parse(line) {
                part.samples.push(sample);
            } else if let Some((name, value)) =
                line.strip_prefix("fact\t").and_then(|l| l.split_once('\t'))
            {
                part.facts.insert(name.to_owned(), value.to_owned());
            } else if let Some(text) = line.strip_prefix("remark\t")
                && !part.remarks.iter().any(|known| known == text)
            {
                part.remarks.push(text.to_owned());
            }
        }
        Ok(part)
    }

    fn title(&self) -> String {
        let kernel = self.facts.get("kernel").map_or("", String::as_str);
        // 6.1 of 6.1.176
        let version: Vec<_> = kernel.splitn(3, '.').take(2).collect();
        let version = version.join(".");
        match self.name.as_str() {
            "uml" | "second" => format!("UML {version}"),
            "tcg" => format!("QEMU TCG {version}"),
            name => name.to_owned(),
        }
    }

    fn of<'a>(
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

    fn spread(&self, work: &str, size: Option<&str>, contender: &str) -> Option<Spread> {
        Spread::of(
            self.of(work, size, contender)
                .map(|sample| sample.value)
                .collect(),
        )
    }

    /// Ratios or differences within the rounds that both have.
    fn compared(&self, ours: Samples, base: Samples, how: fn(f64, f64) -> f64) -> Option<Spread> {
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
    fn ratio(&self, ours: (&str, &str), base: (&str, &str), size: Option<&str>) -> Option<Spread> {
        let ratios = self.of(ours.0, size, ours.1).filter_map(|our| {
            let mut bases = self.of(base.0, Some(&our.size), base.1);
            let base = bases.find(|base| base.round == our.round)?;
            Some(our.value / base.value)
        });
        Spread::of(ratios.collect())
    }

    fn sizes(&self, work: &str) -> Vec<String> {
        let samples = self.samples.iter().filter(|sample| sample.work == work);
        let mut sizes: Vec<Size> = samples
            .filter_map(|sample| sample.size.parse().ok())
            .collect();
        sizes.sort();
        sizes.dedup();
        sizes.iter().map(Size::to_string).collect()
    }

    /// In the order of [`WORDS`].
    fn contenders(&self, work: &str) -> Vec<String> {
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
    fn of(mut values: Vec<f64>) -> Option<Self> {
        let median = quantile(&mut values, 0.5);
        Some(Self {
            median,
            least: *values.first()?,
            most: *values.last()?,
            count: values.len(),
        })
    }

    fn scaled(self, factor: f64) -> Self {
        Self {
            median: self.median * factor,
            least: self.least * factor,
            most: self.most * factor,
            ..self
        }
    }

    fn inverse(self) -> Self {
        Self {
            median: 1.0 / self.median,
            least: 1.0 / self.most,
            most: 1.0 / self.least,
            ..self
        }
    }

    fn text(self) -> String {
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

//! Generates the document from result files.

mod part;
mod targets;

use std::{fmt::Write, path::PathBuf};

use self::{
    part::{Part, Spread, number},
    targets::targets,
};
use super::daemon::REQUEST_TIMEOUT;

/// The parts that run in a kernel with IPVS.
const KERNELS: [&str; 3] = ["uml", "second", "tcg"];
/// A cell without a value.
const NOTHING: &str = "–";

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
    ("idle", "ipvsd, idle"),
    ("minute-after", "ipvsd, a minute later"),
    ("nothing-http", "static HTTP server"),
    ("nothing-grpc", "static gRPC server"),
    ("rules-anew", "`POST /v1/rules?clear=true`"),
    ("http-changed", "`PUT` of the services that differ"),
    ("http-all", "`PUT` of all services"),
    ("restore", "`PUT` of all services into an empty kernel"),
    ("alone", "without other clients"),
    ("unchanged", "the same table again"),
    ("listed", "with a client that lists over HTTP"),
];

/// The document.
pub fn document(files: &[PathBuf]) -> anyhow::Result<String> {
    let mut parts: Vec<Part> = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let (name, work) = name.split_once('.').unwrap_or((&name, NOTHING));
        let known = parts.iter_mut().find(|part| part.name == name);
        match known {
            Some(part) => part.read(work, file)?,
            None => {
                let mut part = Part::new(name);
                part.read(work, file)?;
                parts.push(part);
            }
        }
    }
    for name in KERNELS.into_iter().chain(["transport"]) {
        if !parts.iter().any(|part| part.name == name) {
            parts.push(Part::new(name));
        }
    }
    let find = |name: &str| parts.iter().find(|part| part.name == name);
    let mut out = String::new();
    writeln!(
        out,
        "# Benchmarks\n\n\
         Written by `make bench`; do not edit. Each number is the median over the rounds, with minimum and\n\
         maximum in parentheses. Each ratio is taken within a round; the order of the contenders changes\n\
         between or within rounds. The kernels are described in [lab/README.md](../lab/README.md), the\n\
         measurements in [benches/measure](../benches/measure). ipvsd has its default configuration, except\n\
         for `limits.request_timeout = \"{REQUEST_TIMEOUT}\"` in a kernel.\n\
         \n\
         UML runs user code at full speed and system calls about 50 times slower than a real machine. QEMU TCG\n\
         runs everything about 10 times slower, so its ratios are closer to those of a real machine. Times of\n\
         different kernels are not comparable."
    )?;
    runs(&mut out, &parts)?;
    let kernels: Vec<_> = KERNELS.iter().filter_map(|name| find(name)).collect();
    let tested: Vec<_> = kernels.iter().copied().chain(find("transport")).collect();
    reached(&mut out, &tested)?;
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

fn runs(out: &mut String, parts: &[Part]) -> anyhow::Result<()> {
    writeln!(
        out,
        "\n## Runs\n\n\
         | part | work | kernel | machine | version | when | took, s | command |\n\
         |---|---|---|---|---|---|---|---|"
    )?;
    for part in parts {
        for run in &part.runs {
            let fact = |name: &str| run.facts.get(name).map_or("", String::as_str);
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | `{}` |",
                part.title(),
                run.work,
                fact("kernel"),
                fact("machine"),
                fact("version"),
                fact("date"),
                fact("seconds"),
                fact("command")
            )?;
        }
    }
    Ok(())
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
        let described = target.describe().join(" | ");
        writeln!(
            out,
            "| {} | {described} | {} |",
            target.work,
            cells.join(" | ")
        )?;
    }
    Ok(())
}

fn transport(out: &mut String, part: &Part) -> anyhow::Result<()> {
    if part.samples.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Transports\n")?;
    writeln!(
        out,
        "A table of 100×10 with counters and rates, on the fake kernel; the static server is axum and\n\
         tonic with a static answer of the same length. The counters of the fake kernel never change, so\n\
         each request with `If-None-Match` after the first gets 304. Requests per second.\n"
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
        let show = |spread: Option<Spread>| spread.map_or_else(|| NOTHING.to_owned(), |s| s.text());
        let ratio = ratio.map_or_else(String::new, |ratio| ratio.text());
        let dumped = dumps.map_or_else(
            || NOTHING.to_owned(),
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

/// The tables of a kernel: the work, its title, its baseline, and the unit.
const TABLES: [(&str, &str, Option<&str>, &str); 13] = [
    ("fill", "Loading a table", Some("raw-packed"), "ms"),
    (
        "list",
        "Listing everything with counters and rates",
        Some("raw"),
        "ms",
    ),
    (
        "replace",
        "Replacing a table by one that differs in 1 %",
        Some("restore"),
        "ms",
    ),
    (
        "apply",
        "Applying a declared table that differs in 1 %, and dumping it",
        Some("raw"),
        "ms",
    ),
    ("change p50", "One change, median", Some("raw"), "µs"),
    (
        "change p99",
        "One change, 99th percentile",
        Some("raw"),
        "µs",
    ),
    (
        "beside p50",
        "One change beside a client that lists everything, median",
        Some("alone"),
        "µs",
    ),
    (
        "beside p99",
        "The same, 99th percentile",
        Some("alone"),
        "µs",
    ),
    (
        "changes",
        "1000 changes: 64 concurrent clients, or one after the other",
        Some("raw"),
        "ms",
    ),
    (
        "connections",
        "Listing the connection table, by the number of connections",
        Some("cat"),
        "ms",
    ),
    (
        "contended p99",
        "Requests during a restore of one service, 99th percentile",
        Some("command"),
        "ms",
    ),
    ("rss", "RSS", None, "KiB"),
    ("rss over idle", "RSS beyond that of idle", None, "KiB"),
];

fn kernel(out: &mut String, part: &Part) -> anyhow::Result<()> {
    if part.samples.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## {}", part.title())?;
    for (work, title, base, unit) in TABLES {
        let sizes = part.sizes(work);
        if sizes.is_empty() {
            continue;
        }
        let compared = base.map_or_else(String::new, |base| {
            format!(", and ratio to {}", words(base))
        });
        writeln!(out, "\n### {title}, {unit}{compared}\n")?;
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
            let cells = part.cells((work, &contender), base, &sizes, objects);
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
            || NOTHING.to_owned(),
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
        let count = count.map_or_else(|| NOTHING.to_owned(), |s| number(s.median));
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
